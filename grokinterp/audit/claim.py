"""A claim of the paper: a conjunction of findings, judged together.

It is supported where all of its findings are: an intersection-union test, which needs no
correction. It is contradicted where one of them is after Holm's correction over all of them. Where
a finding has fewer than six seeds the claim is undecided, whatever the others say: a part that was
run does not stand for one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from grokinterp.audit.finding import Estimand, Finding, Group, Value, Verdict
from grokinterp.audit.statistics import Runs
from grokinterp.confidence_interval import FEWEST_SEEDS, LEVEL


class Measured(NamedTuple):
    """An estimand, and its value in each seed that has the runs it needs."""

    estimand: Estimand
    by_seed: Mapping[int, Value]
    labels: Sequence[str]
    """The runs that it needs of each seed."""


@dataclass(frozen=True)
class Claim:
    """A claim, and the rule that judges it: which findings, of which runs."""

    name: str
    statement: str
    written: str
    """The date of the rule."""
    known: str
    """The runs that existed then."""
    seen: tuple[int, ...]
    """Their seeds, which can explore the claim and not confirm it."""
    measure: Callable[[Runs], list[Measured]]

    def findings(self, runs: Runs, group: Group = "all") -> list[Finding]:
        """Of the seeds of a group: those that were seen when the rule was written (exploratory),
        those that were not (confirmatory), or all."""
        chosen = {
            seed: labels
            for seed, labels in runs.items()
            if group == "all" or (seed in self.seen) == (group == "exploratory")
        }
        return [
            Finding(estimand, values, group, _absent(chosen, labels))
            for estimand, values, labels in self.measure(chosen)
        ]


def verdict_of(findings: Sequence[Finding]) -> Verdict:
    """Of a claim, by its findings of one group."""
    if not findings or any(finding.n < FEWEST_SEEDS for finding in findings):
        return "undecided"
    if all(finding.verdict == "supported" for finding in findings):
        return "supported"
    rejected = holm([finding.p_against for finding in findings])
    return "contradicted" if any(rejected) else "undecided"


def holm(p_values: Sequence[float], level: float = 1 - LEVEL) -> list[bool]:
    """Which hypotheses Holm's step-down procedure rejects at a family-wise level.

    >>> holm([0.01, 0.04, 0.03]), holm([0.01, 0.02, 0.03])
    ([True, False, False], [True, True, True])
    """
    rejected = [False] * len(p_values)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    for step, i in enumerate(order):
        # Less a rounding of 1 - 0.95.
        if p_values[i] > level / (len(p_values) - step) + 1e-12:
            break
        rejected[i] = True
    return rejected


def _absent(runs: Runs, labels: Sequence[str]) -> tuple[str, ...]:
    """The labels that not every seed has; all of them where there is no seed."""
    return tuple(
        label for label in labels if not runs or any(label not in of for of in runs.values())
    )
