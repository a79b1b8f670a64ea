"""Carry experiments of the paper out."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from grokinterp.cli.selection import STORE, Load, say_left_out


def reproduce(
    name: str,
    /,
    seeds: int | None = None,
    epochs: int | None = None,
    train: bool = True,
    executor: str = "local",
    workers: int | None = None,
    send_back: bool = False,
    track: tuple[Literal["wandb", "tensorboard"], ...] = (),
    store: Path = Path(STORE),
    results: Path = Path("results"),
    load: Load = (),
) -> None:
    """Carry out an experiment of the paper, or all: plan, train what is missing, draw.

    What the store holds, or ships with the package, is drawn at once and not trained again. The
    same command goes on where it was interrupted.

    Args:
        name: An experiment, such as ln-position, or all.
        seeds: So many of the paper's five seeds, in place of the experiment's own number.
        epochs: Train no longer than this; what a run is forked from is trained as it is.
        train: Train what is missing; --no-train draws what is there.
        executor: local (processes), ray (started here), ray:auto or ray:HOST:PORT.
        workers: How many at once; by default one a core, or one a GPU.
        send_back: The workers do not see the store, and send it their runs.
        track: Write the metrics to these services too, in STORE/tracking.
        store: The folder that holds the runs.
        results: Figures (PNG, PDF) and tables (CSV) go to a folder of the experiment's name here.
    """
    from grokinterp.experiments import EXPERIMENTS
    from grokinterp.reproduction.output import plan_table, save
    from grokinterp.reproduction.plan import make_plan
    from grokinterp.reproduction.recipe import first_seeds
    from grokinterp.reproduction.train_plan import carry_out
    from grokinterp.store.files import check_output
    from grokinterp.store.progress import Bar
    from grokinterp.sweep.train_over import train_over
    from grokinterp.tracking import observers

    if name != "all" and name not in EXPERIMENTS:
        close = get_close_matches(name, EXPERIMENTS)
        hint = f"did you mean {' or '.join(close)}? " if close else ""
        raise ValueError(
            f"unknown experiment {name!r}; {hint}choose one of {', '.join(EXPERIMENTS)}, or all"
        )
    check_output(results / "runs.csv")
    chosen = None if seeds is None else first_seeds(seeds)
    names = list(EXPERIMENTS) if name == "all" else [name]

    told: set[str] = set()

    def draw(name: str) -> list[Any]:
        plan = make_plan(EXPERIMENTS[name], str(store), chosen, epochs)
        say_left_out({one: why for one, why in plan.problems.items() if one not in told})
        told.update(plan.problems)
        for one, run in plan.diverged_at_once:
            print(f"\nnot drawn: {one.label}, seed {run.config.seed} {run.message}")
        if plan.done:
            found = plan.experiment.results(plan.done)
            save(found, results / name)
            print(f"\n{plan.experiment.title}. {plan.experiment.question}")
            print(f"{len(plan.found)} of {len(plan.planned)} runs: {(results / name).resolve()}")
            for table in found.tables.values():
                print(table.to_string(index=False, float_format="{:.4g}".format))
        elif not train:
            print(f"\n{plan.experiment.title}: none of its runs is there, so nothing is drawn")
        return plan.missing

    plans = {one: make_plan(EXPERIMENTS[one], str(store), chosen, epochs) for one in names}
    if train and any(plan.missing for plan in plans.values()):
        print("Measuring what an epoch costs on this machine.", flush=True)
        print(plan_table(plans).to_string(index=False), flush=True)
    missing = {one: draw(one) for one in names}
    if train and any(missing.values()):
        carry_out(
            [one for some in missing.values() for one in some],
            str(store),
            observers(track, Bar()),
            lambda configs, store, observer: train_over(
                configs, store, executor, workers, observer, not send_back, load
            ),
        )
        still = sum(len(draw(one)) for one in names if missing[one])
        if still:
            raise ValueError(
                f"{still} runs or their probes did not come to their ends; grokinterp runs "
                f"--store {store} says why, and the same command goes on"
            )
