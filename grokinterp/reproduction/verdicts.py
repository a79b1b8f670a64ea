"""Every claim that experiments test, what the runs that are there say of it, and a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, get_args

from grokinterp.audit.claim import Claim, verdict_of
from grokinterp.audit.finding import Convention, Finding, Group, Verdict
from grokinterp.confidence_interval import LEVEL, at_least
from grokinterp.reproduction.against_paper import Comparison
from grokinterp.reproduction.cached_run import CachedRun
from grokinterp.reproduction.experiment import Done, Experiment, by_seed
from grokinterp.reproduction.plan import make_plan

MOST_SEEDS = 100
"""More are not asked for."""


@dataclass(frozen=True)
class Judged:
    """A claim under one convention, with its verdict."""

    claim: Claim
    convention: str
    """paper, isolated, shuffled or per head where these differ; empty otherwise."""
    experiments: tuple[str, ...]
    findings: tuple[Finding, ...]
    """Each once for every group of seeds."""
    comparisons: tuple[Comparison, ...]
    """Of our values with the paper's, where it reports a statistic of five seeds."""
    command: str
    """What trains the runs that are not there; empty where every planned run is."""

    @property
    def name(self) -> str:
        return f"{self.claim.name} ({self.convention})" if self.convention else self.claim.name

    def of(self, group: Group) -> list[Finding]:
        return [finding for finding in self.findings if finding.group == group]

    def verdict_of(self, group: Group) -> Verdict:
        return verdict_of(self.of(group))

    @property
    def verdict(self) -> Verdict:
        """Of the fresh seeds."""
        return self.verdict_of("confirmatory")

    def lean(self, group: Group) -> str:
        """What the findings of a group point to together, in words; empty where to neither.

        To support where each does or is; to contradiction where one is, or does so clearly.
        """
        findings = self.of(group)
        if any(
            one.leaning == "contradicted" and at_least(one.opposed, one.n) <= 1 - LEVEL
            for one in findings
        ):
            return "contradicted"
        return "supported" if {one.leaning for one in findings} == {"supported"} else ""

    @property
    def missing(self) -> str | None:
        """What would decide an undecided claim: fresh seeds, each as they lean so far."""
        if self.verdict != "undecided":
            return None
        findings = self.of("confirmatory")
        absent = dict.fromkeys(label for finding in findings for label in finding.absent)
        runs = f"; not run: {', '.join(absent)}" if absent else ""
        for count in range(1, MOST_SEEDS):
            more = [finding.with_more(count, finding.leaning) for finding in findings]
            if verdict_of(more) != "undecided":
                return f"{count} more fresh seed{'s' if count > 1 else ''} on the same side{runs}"
        return f"no number of seeds on the same side decides it{runs}"


def judge(
    experiments: Mapping[str, Experiment],
    store: str,
    read: dict[str, CachedRun] | None = None,
    problems: dict[str, str] | None = None,
) -> list[Judged]:
    """Judge each claim by the runs that a store, or the package, holds; nothing is trained.

    Args:
        experiments: By name. A claim that several test is judged by the runs of all.
        store: The folder that holds the runs; it need not exist.
        read: Runs by path that plans have looked at already, as of `make_plan`.
        problems: Takes, by folder, why a run of the store is left out that cannot be read.
    """
    read = {} if read is None else read
    problems = {} if problems is None else problems
    claims: dict[str, list[Part]] = {}
    missing: dict[str, str] = {}
    for name, experiment in experiments.items():
        if not experiment.claims:
            continue
        plan = make_plan(experiment, store, read=read)
        problems |= plan.problems
        if plan.missing:
            missing[name] = f"grokinterp reproduce {name}"
        for claim in experiment.claims:
            claims.setdefault(claim.name, []).append(Part(name, experiment, claim, plan.done))
    return [
        judged
        for parts in claims.values()
        for judged in _judge(parts, [missing[part.name] for part in parts if part.name in missing])
    ]


class Part(NamedTuple):
    """What an experiment has of a claim."""

    name: str
    experiment: Experiment
    claim: Claim
    done: Done


def _judge(parts: Sequence[Part], commands: Sequence[str]) -> list[Judged]:
    """A claim, whose parts several experiments test, under each of its conventions."""
    findings = [
        finding
        for group in get_args(Group)
        for part in parts
        for finding in part.claim.findings(by_seed(part.done), group)
    ]
    comparisons = [
        comparison
        for part in parts
        for comparison in part.experiment.compare(part.done)
        if comparison.claim == part.claim.name
    ]
    conventions = dict.fromkeys(finding.estimand.convention for finding in findings)
    named: list[Convention] = [one for one in conventions if one] or [""]
    return [
        Judged(
            parts[0].claim,
            convention,
            tuple(part.name for part in parts),
            tuple(one for one in findings if one.estimand.convention in ("", convention)),
            tuple(comparisons),
            "; ".join(commands),
        )
        for convention in named
    ]
