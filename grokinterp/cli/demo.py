"""Train LN before the MLP until it groks, and draw it."""

from __future__ import annotations

from pathlib import Path

from grokinterp.cli.selection import STORE
from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.task import ModularTask


def demo(
    seed: int = 456,
    store: Path = Path(STORE),
    figure: Path = Path("grokking.png"),
    p: int = 113,
    epochs: int = 3000,
    device: str = "cpu",
) -> None:
    """Train LN before the MLP until it groks, and draw what happened.

    Args:
        seed: Drives the split and the initial weights.
        store: Where the run is kept; a second demo finds it there.
        figure: Where the picture is saved.
        p: The modulus.
        epochs: Give up after so many.
        device: cpu, cuda, cuda:N or mps.
    """
    from grokinterp.figures.learning import learning_curves
    from grokinterp.store.files import check_output
    from grokinterp.store.progress import Bar
    from grokinterp.training.train import train as train_runs

    check_output(figure)
    config = RunConfig(
        task=ModularTask(p=p),
        model=ModelConfig(placement="mlp-pre"),
        train=TrainConfig(epochs=epochs, stop_when="test_accuracy >= 0.995 for 200", device=device),
        seed=seed,
    )
    print(
        f"Training a one-layer transformer on {config.task.n_train:,} of {config.task.n_pairs:,} "
        f"sums (a + b) mod {p}, LN before the MLP, until it generalises.",
        flush=True,
    )
    [run] = train_runs([config], store=store, observer=Bar())
    times, last = run.grokking, run.metrics.iloc[-1]
    picture = learning_curves(
        run.metrics,
        times.memorised.by,
        times.generalised.by,
        title=f"Grokking: (a + b) mod {p}, LN before the MLP, seed {seed}",
    )
    picture.savefig(figure, dpi=200)
    print(
        f"\nIt knew its training pairs by epoch {times.memorised}, and pairs it had never seen "
        f"by epoch {times.generalised}.\n"
        f"At epoch {int(last['epoch']):,}: train accuracy {last['train_accuracy']:.2%}, "
        f"test accuracy {last['test_accuracy']:.2%}.\n\n"
        f"Picture: {figure.resolve()}\n"
        f"Run:     {run.path.resolve()}\n\n"
        "Next:\n"
        f"  grokinterp runs --id {run.id[:6]}"
        "                       this run in detail\n"
        "  grokinterp train --placements off pre --seeds 456 789   other placements and seeds\n"
        "  python -c \"import grokinterp as gi; print(gi.open_store('runs').select()[0].model())\""
    )
