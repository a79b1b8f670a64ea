"""Several probes on one snapshot, and what came of each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from grokinterp.checks import check_kind
from grokinterp.failure import failure_of
from grokinterp.probes import PROBES
from grokinterp.probes.calls import ProbeCall, expand
from grokinterp.snapshot import NotApplicable, Snapshot


@dataclass(frozen=True)
class Measurement:
    """What a call found: by probe and value name; and why the probes that failed did."""

    scalars: dict[tuple[str, str], float]
    arrays: dict[tuple[str, str], np.ndarray]
    failures: dict[str, str]
    inapplicable: set[str]
    """Those that fail for what the model, task or training has not, whatever the weights."""
    tracebacks: dict[str, str] = field(default_factory=dict)
    """Of those that fail by a bug, in the probe or in what it calls."""
    definitions: dict[str, str] = field(default_factory=dict)
    """Of each probe that was asked for."""

    @property
    def columns(self) -> dict[str, float]:
        """The scalars by column name, `probe.value`."""
        return {f"{probe}.{name}": value for (probe, name), value in self.scalars.items()}


def measure(snapshot: Snapshot, probes: str | Iterable[str | ProbeCall]) -> Measurement:
    """Run these probes; one that does not apply to the snapshot does not keep others from it.

    Args:
        snapshot: The model, its task and split.
        probes: One or several names, with options as `shortcut:convention=paper`; `cheap`, `all`.

    Returns:
        What they found, by probe and value name, and why the others failed.

    Raises:
        ValueError: A name is unknown, or an argument is not what it must be.
    """
    check_kind("snapshot", snapshot, Snapshot, "run.snapshot()")
    probes = [probes] if isinstance(probes, str) else list(probes)
    chosen = [one for one in probes if isinstance(one, ProbeCall)]
    chosen += expand(one for one in probes if isinstance(one, str))
    found = Measurement({}, {}, {}, set())
    for probing in chosen:
        probe = str(probing)
        found.definitions[probe] = probing.definition
        try:
            values = probing(snapshot)
        except Exception as error:  # One probe's trouble must not keep the others from running.
            failure = failure_of(error, PROBES[probing.name].__module__)
            found.failures[probe] = failure.reason
            if failure.traceback:
                found.tracebacks[probe] = failure.traceback
            if isinstance(error, NotApplicable):
                found.inapplicable.add(probe)
            continue
        for name, value in values.items():
            if isinstance(value, np.ndarray):
                found.arrays[probe, name] = value
            else:
                found.scalars[probe, name] = value
    return found
