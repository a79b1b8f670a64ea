"""Plans to their end: train what is missing, parents of forks first, and probe it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from grokinterp.config import RunConfig
from grokinterp.reproduction.experiment import Planned
from grokinterp.store.files import StoreError
from grokinterp.store.probe import probe
from grokinterp.store.progress import Observer
from grokinterp.store.run import Run
from grokinterp.store.store import open_store
from grokinterp.training.start import Derived
from grokinterp.training.train import train

Train = Callable[[Sequence[RunConfig], str, Observer | None], list[Run]]


def train_missing(
    missing: Sequence[Planned],
    store: str,
    observer: Observer | None = None,
    train_all: Train | None = None,
) -> None:
    """Train and probe these runs; each once, whichever experiments ask for it.

    Args:
        missing: Of one plan, or of several.
        store: Where what is trained goes.
        observer: Told of progress.
        train_all: How runs that start from their seeds are trained; here, side by side, when not
            given.
    """
    parents = [one.fork.parent for one in missing if one.fork is not None]
    configs = list(dict.fromkeys([*parents, *(one.config for one in missing if not one.fork)]))
    if configs:
        (train_all or _train_here)(configs, store, observer)
    for one in missing:
        if one.fork is not None:  # One that is there already is not trained again.
            train([one.config], store=store, init=_derived(one, store), observer=observer)
    for one in missing:
        run = _trained(one.config, store)
        if run is None:
            continue
        for wanted in one.afterwards:
            # No epochs would mean all of them.
            if epochs := wanted.epochs(run):
                probe([run], wanted.probes, epochs, observer=observer)


def _train_here(configs: Sequence[RunConfig], store: str, observer: Observer | None) -> list[Run]:
    return train(configs, store=store, observer=observer)


def _derived(planned: Planned, store: str) -> Derived:
    fork = planned.fork
    assert fork is not None
    parent = _trained(fork.parent, store)
    if parent is None:
        raise StoreError("; ".join(open_store(store).problems(id=fork.parent.id).values()))
    return Derived(fork.name, lambda: fork.change(parent.snapshot(fork.epoch)))


def _trained(config: RunConfig, store: str) -> Run | None:
    return open_store(store).find(config)
