"""Reproduce experiments of the paper."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import tyro

from grokinterp.checks import did_you_mean
from grokinterp.cli.selection import STORE, Load, say_left_out


def reproduce(
    name: Annotated[str, tyro.conf.arg(metavar="NAME")],
    /,
    seeds: int | None = None,
    epochs: int | None = None,
    train: bool = True,
    yes: bool = False,
    device: str = "cpu",
    executor: str = "local",
    workers: int | None = None,
    send_back: bool = False,
    track: tuple[Literal["wandb", "tensorboard"], ...] = (),
    store: Path = Path(STORE),
    results: Path = Path("results"),
    load: Load = (),
) -> None:
    """Reproduce an experiment of the paper, or all: draw what is there, train what is missing.

    What the store holds, or ships with the package, is drawn at once and not trained again. The
    same command goes on where it was interrupted.

    Args:
        name: An experiment, such as ln-position, or all.
        seeds: So many of the paper's five seeds, in place of the experiment's own number.
        epochs: Train no longer than this; what a run is forked from is trained as it is.
        train: Train what is missing; --no-train draws what is there.
        yes: Do not ask before training. Where nobody can be asked, it is not asked.
        device: Where to train: cpu, cuda, cuda:N or mps. It is no part of what a run is.
        executor: local (processes), ray (started here), ray:auto or ray:HOST:PORT.
        workers: How many at once; by default one a core, or one a GPU.
        send_back: The workers do not see the store, and send it their runs.
        track: Write the metrics to these services too, in STORE/tracking.
        store: The folder that holds the runs.
        results: Figures (PNG, PDF) and tables (CSV) go to a folder of the experiment's name here.
    """
    from grokinterp.experiments import EXPERIMENTS

    if name != "all" and name not in EXPERIMENTS:
        hint = did_you_mean(name, EXPERIMENTS)
        raise ValueError(
            f"unknown experiment {name!r}; {hint}choose one of {', '.join(EXPERIMENTS)}, or all"
        )
    from grokinterp.cli.terminal import show
    from grokinterp.reproduction.experiment import Planned, on_device
    from grokinterp.reproduction.recipe import first_seeds
    from grokinterp.reproduction.reproduce import reproduce
    from grokinterp.reproduction.train_missing import train_missing
    from grokinterp.store.files import check_output
    from grokinterp.store.progress import Bar
    from grokinterp.sweep.train_over import train_over
    from grokinterp.tracking import observers

    check_output(results / "runs.csv")
    names = list(EXPERIMENTS) if name == "all" else [name]

    def train_these(missing: Sequence[Planned]) -> None:
        train_missing(
            missing,
            str(store),
            observers(track, Bar()),
            lambda configs, store, observer: train_over(
                configs, store, executor, workers, observer, not send_back, load
            ),
        )

    still = reproduce(
        {one: on_device(EXPERIMENTS[one], device) for one in names},
        str(store),
        results,
        train_these if train else None,
        _ask if sys.stdin.isatty() and not yes else lambda question: True,
        partial(print, flush=True),
        say_left_out,
        None if seeds is None else first_seeds(seeds),
        epochs,
        show,
    )
    if still:
        raise ValueError(
            f"{still} runs or their probes did not come to their ends; grokinterp runs "
            f"--store {store} says why, and the same command goes on"
        )


def _ask(question: str) -> bool:
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
