"""Runs as people read them: a table of many, one in detail."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from grokinterp.config import RunConfig
from grokinterp.grokking import grokking_times
from grokinterp.hooks import UnknownIntervention
from grokinterp.probes.calls import expand, is_current
from grokinterp.store.files import StoreError
from grokinterp.store.provenance import Provenance
from grokinterp.store.run import Run
from grokinterp.store.run_names import TASK, cell, varying

STATE = ("status", "epoch", "test accuracy", "memorised", "generalised")


def table(runs: Sequence[Run], tell: Callable[[str], None]) -> pd.DataFrame:
    """A row a run: identity, whatever varies of how they train, how far it is, when it grokked.

    A cell is "?" where its file cannot be read. `tell` takes a sentence for each such run, for
    each that is left out because its config cannot be read, and for what is unknown here.
    """
    read: list[Run] = []
    for run in runs:
        try:
            for reason in unknown(run):
                tell(f"{run.id[:8]}: {reason}")
            read.append(run)
        except StoreError as error:
            tell(f"{run.id[:8]} is left out: {error}")
    return _table(read, tell) if read else pd.DataFrame()


def unknown(run: Run) -> list[str]:
    """What its config names and is not known here: interventions, and probes that it records."""
    train = run.config.train
    reasons = [one.reason for one in train.interventions if isinstance(one, UnknownIntervention)]
    for name in train.probes:
        try:
            expand([name])
        except ValueError as error:
            reasons.append(f"it records what is unknown here: {error}")
    return reasons


def _table(runs: Sequence[Run], tell: Callable[[str], None]) -> pd.DataFrame:
    flats = [run.config.flat() for run in runs]
    shown = ["placement", "seed"]
    differing = varying([run.config for run in runs], but=(*shown, *TASK))
    rows = []
    for run, flat in zip(runs, flats, strict=True):
        state = dict.fromkeys(STATE, "?")
        try:
            state |= _state(run)
        except StoreError as error:
            tell(f"{run.id[:8]}: {error}")
        config = {name: flat[name] for name in shown}
        config |= {name: cell(flat.get(name)) for name in differing}
        rows.append({"id": run.id[:8], "task": str(run.config.task), **config, **state})
    # As they are: of whole numbers and none, pandas makes fractions and NaN.
    return pd.DataFrame(rows, dtype=object).sort_values(shown, kind="stable")


def _state(run: Run) -> dict[str, str]:
    metrics = run.metrics
    times = grokking_times(metrics)
    accuracy = f"{metrics['test_accuracy'].iloc[-1]:.1%}" if len(metrics) else "–"
    cells = (
        run.state,
        f"{run.epoch:,}",
        accuracy,
        str(times.memorised),
        str(times.generalised),
    )
    return dict(zip(STATE, cells, strict=True))


def probe_table(values: pd.DataFrame) -> pd.DataFrame:
    """A row for each value of each probe, a column for each epoch (at most twelve, spread)."""
    wide = values.assign(value=values["value"].map("{:.4g}".format)).pivot(
        index=["probe", "name"], columns="epoch", values="value"
    )
    epochs = wide.columns
    if len(epochs) > 12:
        wide = wide[[epochs[round(i * (len(epochs) - 1) / 11)] for i in range(12)]]
    wide.columns = [f"{epoch:,}" for epoch in wide.columns]
    return wide


def details(run: Run) -> str:
    """Events, where it was trained, last metrics, checkpoints; its config beside the defaults."""
    default, flat = RunConfig().flat(), run.config.flat()
    epochs = run.checkpoint_epochs
    lines = [
        f"run {run.id}: {run.config.name}, {run.config.task}",
        f"  folder       {run.path}",
        *(f"  unknown      {reason}" for reason in unknown(run)),
    ]
    try:
        lines += _events(run)
    except StoreError as error:
        lines.append(f"  trouble      {error}")
    if epochs:
        lines.append(f"  checkpoints  {len(epochs)}, from epoch {epochs[0]} to {epochs[-1]:,}")
    lines += ["  config", *(f"    {_field(name, flat, default)}" for name in flat)]
    return "\n".join(lines)


def _events(run: Run) -> list[str]:
    metrics = run.metrics
    times = grokking_times(metrics)
    lines = [
        f"  status       {run.state} at epoch {run.epoch:,}"
        + (f" ({run.message})" if run.message else ""),
        *([f"  to go on     {run.how_to_go_on}"] if run.is_interrupted else []),
        f"  memorised    {times.memorised}   (train accuracy >= 0.99)",
        f"  generalised  {times.generalised}   (test accuracy >= 0.995)",
        f"  … for good   {times.generalised_for_good}   (and stays there for 200 epochs)",
        f"  … by loss    {times.generalised_by_loss}   (test loss <= 0.01)",
        *(
            f"  from epoch   {stretch['from_epoch']:,}: {Provenance.from_dict(stretch)}"
            for stretch in run.provenance
        ),
    ]
    stale = [probe for probe, known in run.definitions.items() if not is_current(probe, known)]
    if stale:
        lines.append(f"  left out     {', '.join(stale)}: recorded before its present definition")
    if len(metrics):
        last = metrics.iloc[-1]
        lines += [f"  {name:<15}{last[name]:.6g}" for name in metrics.columns if name != "epoch"]
    return lines


def _field(name: str, flat: dict[str, object], default: dict[str, object]) -> str:
    same = name not in default or flat[name] == default[name]
    changed = "" if same else f"   (default {default[name]!r})"
    return f"{name} = {flat[name]!r}{changed}"
