"""Train LN before the MLP until it groks, and draw it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from grokinterp.cli.selection import STORE
from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.task import ModularTask

if TYPE_CHECKING:
    from grokinterp.grokking import GrokkingTimes


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
    from grokinterp.cli.cost import say_cost
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
    say_cost([config], store)
    [run] = train_runs([config], store=store, observer=Bar())
    times, last = run.grokking, run.metrics.iloc[-1]
    picture = learning_curves(
        run.metrics,
        times.memorised.by,
        times.generalised.by,
        title=f"Grokking: (a + b) mod {p}, LN before the MLP, seed {seed}",
    )
    picture.savefig(figure, dpi=200)
    here = "" if str(store) == STORE else f" --store {store}"
    print(
        f"\n{_what_happened(times, run.epoch)}\n"
        f"At epoch {int(last['epoch']):,}: train accuracy {last['train_accuracy']:.2%}, "
        f"test accuracy {last['test_accuracy']:.2%}.\n\n"
        f"Picture: {figure.resolve()}\n"
        f"Run:     {run.path.resolve()}\n"
    )
    if times.generalised.by is None:
        print(_advice(config))
    print(
        "Next:\n"
        f"  grokinterp runs --id {run.id[:6]}{here}\n"
        "      this run in detail\n"
        f"  grokinterp train --placements off pre --seeds 456 789{here}\n"
        "      other placements and seeds\n"
        f'  python -c "import grokinterp as gi; '
        f"print(gi.open_store({str(store)!r}).select(id='{run.id[:6]}')[0].model())\"\n"
        "      the model"
    )


def _what_happened(times: GrokkingTimes, epochs: int) -> str:
    if times.memorised.by is None:
        return f"It did not learn its training pairs within {epochs:,} epochs."
    memorised = f"It knew its training pairs by epoch {times.memorised.by:,}"
    if times.generalised.by is None:
        return f"{memorised}, and did not generalise within {epochs:,} epochs."
    return f"{memorised}, and pairs it had never seen by epoch {times.generalised.by:,}."


def _advice(config: RunConfig) -> str:
    """What to try where nothing generalised."""
    p, epochs, seed = config.task.n_elements, config.train.epochs, config.seed
    default = RunConfig().task
    lines = ["What may help:"]
    if config.task.n_train < default.n_train:
        lines += [
            f"  grokinterp train --p {p} --seeds {seed} --epochs {epochs} --test-fraction 0.5",
            f"      more to learn from: {config.task.n_train:,} pairs are few, and a small p needs "
            "a larger share of its pairs",
            "  grokinterp demo",
            f"      p = {default.n_elements}, with {default.n_train:,} pairs to train on",
        ]
    lines += [
        f"  grokinterp demo --p {p} --seed {seed} --epochs {2 * epochs}",
        "      more time: another run, from its start",
        f"  grokinterp demo --p {p} --seed {seed + 1} --epochs {epochs}",
        "      another split, and other initial weights",
    ]
    return "\n".join([*lines, ""])
