"""The command line: thin functions whose options come from the configs' own fields."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.task import ModularTask

COMMANDS = {
    "demo": "train LN before the MLP until it groks (about a minute), and draw what happened",
    "train": "train runs: any placement, task, seed and recipe; resumes what was interrupted",
    "runs": "list the runs of a store, filter them, show one in detail",
    "probe": "compute probes on the checkpoints of runs, and keep them in the store",
    "reproduce": "carry out an experiment: train what is missing, draw its figures and tables",
    "ablate": "take a pathway, head, cluster or frequency away from a run, beside a random control",
}

STORE = "runs"


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: `grokinterp COMMAND [options]`."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return
    if arguments[0] == "--version":
        import grokinterp

        print(f"grokinterp {grokinterp.__version__}")
        return
    command, options = arguments[0], arguments[1:]
    if command not in COMMANDS:
        _fail(f"unknown command {command!r}; choose one of {', '.join(COMMANDS)}")
    import tyro

    functions: dict[str, Callable[..., None]] = {
        "demo": demo,
        "train": train,
        "runs": runs,
        "probe": probe,
        "ablate": ablate,
        "reproduce": reproduce,
    }
    try:
        tyro.cli(
            functions[command],
            prog=f"grokinterp {command}",
            args=options,
            config=(tyro.conf.OmitArgPrefixes,),
        )
    except (ValueError, OSError) as error:
        _fail(str(error))
    except RuntimeError as error:
        from grokinterp.files import StoreError

        if not isinstance(error, StoreError):
            raise
        _fail(str(error))
    except KeyboardInterrupt:
        _fail("interrupted; the same command goes on from the last save", code=130)


def _overview() -> str:
    lines = [f"  {name:<7}{what}" for name, what in COMMANDS.items()]
    return "\n".join(
        [
            "usage: grokinterp COMMAND [options]",
            "",
            "Mechanistic interpretability of grokking, on TransformerLens.",
            "",
            *lines,
            "",
            "grokinterp COMMAND --help lists a command's options.",
        ]
    )


def _fail(message: str, code: int = 2) -> None:
    print(f"grokinterp: {message}", file=sys.stderr)
    raise SystemExit(code)


def demo(
    seed: int = 456,
    store: Path = Path(STORE),
    figure: Path = Path("grokking.png"),
    p: int = 113,
    epochs: int = 3000,
) -> None:
    """Train LN before the MLP until it groks, and draw what happened.

    Args:
        seed: Drives the split and the initial weights.
        store: Where the run is kept; a second demo finds it there.
        figure: Where the picture is saved.
        p: The modulus.
        epochs: Give up after so many.
    """
    from grokinterp.figures.learning import learning_curves
    from grokinterp.progress import Bar
    from grokinterp.training import train as train_runs

    config = RunConfig(
        task=ModularTask(p=p),
        model=ModelConfig(placement="mlp-pre"),
        train=TrainConfig(epochs=epochs, stop_when="test_accuracy >= 0.995 for 200"),
        seed=seed,
    )
    print(
        f"Training a one-layer transformer on {config.task.n_train:,} of {config.task.n_pairs:,} "
        f"sums (a + b) mod {config.task.p}, LN before the MLP, until it generalises.",
        flush=True,
    )
    [run] = train_runs([config], store=store, observer=Bar())
    times, last = run.grokking, run.metrics.iloc[-1]
    picture = learning_curves(
        run.metrics,
        times.memorised.by,
        times.generalised.by,
        title=f"Grokking: (a + b) mod {config.task.p}, LN before the MLP, seed {seed}",
    )
    figure.parent.mkdir(parents=True, exist_ok=True)
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


def train(
    task: ModularTask,
    model: ModelConfig,
    recipe: TrainConfig,
    placements: tuple[str, ...] = (),
    seeds: tuple[int, ...] = (456,),
    intervene: tuple[str, ...] = (),
    store: Path = Path(STORE),
) -> None:
    """Train runs, together where they share an architecture, and keep them in a store.

    The same command again finishes what is missing and repeats nothing.

    Args:
        task: What to learn.
        model: The architecture.
        recipe: How to train.
        placements: Train each of these placements (in place of --placement).
        seeds: Train each of these seeds; a seed drives the split and the initial weights.
        intervene: Train under these interventions, such as UniformAttention or
            UnitNorm:mlp,from_epoch=100,until_epoch=500.
        store: The folder that holds the runs.
    """
    from grokinterp.listing import table
    from grokinterp.progress import Bar
    from grokinterp.training import train as train_runs

    if intervene:
        from grokinterp.hooks import parse_intervention

        recipe = replace(recipe, interventions=tuple(map(parse_intervention, intervene)))
    models = [replace(model, placement=name) for name in placements] or [model]
    configs = [RunConfig(task, one, recipe, seed) for one in models for seed in seeds]
    trained = train_runs(configs, store=store, observer=Bar())
    print(table(trained).to_string(index=False))


def runs(
    store: Path = Path(STORE),
    id: str = "",
    where: tuple[str, ...] = (),
) -> None:
    """List the runs of a store as a table; with --id, show one in detail.

    Args:
        store: The folder that holds the runs.
        id: Show the run whose id begins so.
        where: Keep the runs with these config values, such as placement=mlp-pre seed=456.
    """
    from grokinterp.listing import details, table
    from grokinterp.runs import open_store

    found = open_store(store).select(id=id, **dict(_condition(text) for text in where))
    if id and len(found) == 1:
        print(details(found[0]))
    elif found:
        print(table(found).to_string(index=False))
    else:
        print(f"no run of {store} fits; grokinterp runs --store {store} lists them all")


def probe(
    run: tuple[str, ...] = (),
    /,
    where: tuple[str, ...] = (),
    probes: tuple[str, ...] = ("cheap",),
    epochs: tuple[int, ...] = (),
    leads: bool = False,
    again: bool = False,
    store: Path = Path(STORE),
) -> None:
    """Compute probes on the checkpoints of runs, keep them in the store, and print them.

    What the store holds already is not computed again.

    Args:
        run: Beginnings of run ids; every run of the store when none is given.
        where: Keep the runs with these config values, such as placement=mlp-pre seed=456.
        probes: Names, with options as in shortcut:convention=paper; or cheap, or all.
        epochs: Epochs that have a checkpoint; every checkpoint when not given.
        leads: Print how long before generalising each value crossed its threshold, or came
            within 10 % of its extreme, in place of the values.
        again: Compute what is there too, and replace it.
        store: The folder that holds the runs.
    """
    import pandas as pd

    from grokinterp.leads import lead_times
    from grokinterp.listing import probe_table
    from grokinterp.probing import probe as probe_runs
    from grokinterp.progress import Bar
    from grokinterp.runs import open_store

    opened = open_store(store)
    conditions = dict(_condition(text) for text in where)
    chosen = [found for start in run or ("",) for found in opened.select(id=start, **conditions)]
    chosen = list({found.id: found for found in chosen}.values())
    if not chosen:
        raise ValueError(f"no run of {store} fits; grokinterp runs --store {store} lists them all")
    found = probe_runs(chosen, probes, epochs or None, again=again, observer=Bar())
    for one in chosen:
        print(f"\n{one.id[:8]}  {one.config.name}: generalised {one.grokking.generalised}")
        if leads:
            table = lead_times(one)
            table = table[table["probe"].isin(found["probe"])]
            print(table.drop(columns="after").to_string(index=False, na_rep="–"))
        else:
            with pd.option_context("display.width", None):
                print(probe_table(found[found["run"] == one.id]).to_string(na_rep="–"))


def ablate(
    run: str,
    /,
    hook: tuple[str, ...],
    epoch: int | None = None,
    controls: int = 20,
    seed: int = 0,
    store: Path = Path(STORE),
) -> None:
    """Print loss and accuracy, intact and under interventions, and keep them in the store.

    Args:
        run: The beginning of a run's id.
        hook: Interventions, all attached at once: UnitNorm:mlp, AblateHead:2,kind=mean,
            AblateNeurons:neurons=(1,2), or cluster:5 for the neurons of a frequency.
        epoch: An epoch that has a checkpoint; the last when not given.
        controls: Random controls of the same size, where something was chosen among several.
        seed: Drives them.
        store: The folder that holds the runs.
    """
    from grokinterp.ablation import ablate as measure_ablation
    from grokinterp.ablation import parse, scalars, summarise
    from grokinterp.runs import open_store

    found = open_store(store).select(id=run)
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} runs of {store} begin with {run!r}, and one must; grokinterp runs "
            f"--store {store} lists them all"
        )
    snapshot = found[0].snapshot(epoch)
    interventions = [parse(snapshot, text) for text in hook]
    table = measure_ablation(snapshot, interventions, controls, seed)
    name = f"ablation:{'+'.join(hook)}"
    assert snapshot.epoch is not None
    found[0].records.add(snapshot.epoch, {(name, k): v for k, v in scalars(table).items()}, {})
    print(f"{found[0].config.name}, epoch {snapshot.epoch:,}: {', '.join(map(str, hook))}")
    print(summarise(table).to_string(float_format="{:.4f}".format, na_rep="–"))
    if "control" not in set(table["condition"]):
        print("A whole pathway has no random control of its size.")


def reproduce(
    name: str,
    /,
    seeds: tuple[int, ...] = (456, 789, 111),
    store: Path = Path(STORE),
    results: Path = Path("results"),
) -> None:
    """Carry out an experiment: train what the store misses, and save figures and tables.

    The same command goes on where it was interrupted.

    Args:
        name: direction-or-norm, transplant or uniform-attention.
        seeds: Each drives a split and initial weights.
        store: The folder that holds the runs.
        results: Figures (PNG, PDF) and tables (CSV) go to a folder of the experiment's name here.
    """
    from grokinterp.experiments import EXPERIMENTS
    from grokinterp.experiments.experiment import carry_out
    from grokinterp.progress import Bar

    if name not in EXPERIMENTS:
        raise ValueError(f"unknown experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}")
    experiment = EXPERIMENTS[name]
    print(f"{experiment.title}. {experiment.question}\n", flush=True)
    found = carry_out(experiment, seeds, str(store), observer=Bar())
    folder = results / name
    folder.mkdir(parents=True, exist_ok=True)
    for title, figure in found.figures.items():
        figure.savefig(folder / f"{title}.png", dpi=200)
        figure.savefig(folder / f"{title}.pdf")
    for title, table in found.tables.items():
        table.to_csv(folder / f"{title}.csv", index=False)
        print(table.to_string(index=False, float_format="{:.4g}".format))
    print(f"\nSaved to {folder.resolve()}")


def _condition(text: str) -> tuple[str, Any]:
    """`seed=456` as ("seed", 456)."""
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--where takes field=value, such as placement=mlp-pre; got {text!r}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value
