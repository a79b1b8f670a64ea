"""The audit: every claim of the paper, what the runs that are there say of it, and a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from grokinterp.audit.claim import INTERVALS, WRITTEN, Claim, Finding, Verdict, verdict_of
from grokinterp.experiments import EXPERIMENTS
from grokinterp.experiments.plan import make_plan
from grokinterp.runs import Run


@dataclass(frozen=True)
class Audited:
    """A claim under one convention, and its verdict."""

    claim: Claim
    convention: str
    """paper, isolated or shuffled where they differ; empty otherwise."""
    experiments: tuple[str, ...]
    findings: tuple[Finding, ...]
    verdict: Verdict
    command: str
    """What would decide it, or say more; empty where every planned run is there."""

    @property
    def name(self) -> str:
        return f"{self.claim.name} ({self.convention})" if self.convention else self.claim.name


def verdicts(store: str = "runs", read: dict[str, Run] | None = None) -> list[Audited]:
    """Judge each claim by the runs that a store, or the package, holds; nothing is trained.

    A claim whose runs are not all there is judged by those that are, and says what is missing.

    Args:
        store: The folder that holds the runs; it need not exist.
        read: Runs by path that plans have found already, as of `make_plan`.
    """
    read = {} if read is None else read
    claims: dict[str, Claim] = {}
    of: dict[str, list[str]] = {}
    findings: dict[str, list[Finding]] = {}
    missing: dict[str, list[str]] = {}
    for name, experiment in EXPERIMENTS.items():
        if not experiment.claims:
            continue
        plan = make_plan(experiment, store, read=read)
        for claim in experiment.claims:
            claims.setdefault(claim.name, claim)
            of.setdefault(claim.name, []).append(name)
            findings.setdefault(claim.name, []).extend(claim.test(plan.done))
            if plan.missing:
                missing.setdefault(claim.name, []).append(f"grokinterp reproduce {name}")
    return [
        _judge(claim, convention, of[name], findings[name], missing.get(name, []))
        for name, claim in claims.items()
        for convention in _conventions(findings[name])
    ]


def _conventions(findings: Sequence[Finding]) -> list[str]:
    return list(dict.fromkeys(f.convention for f in findings if f.convention)) or [""]


def _judge(
    claim: Claim,
    convention: str,
    experiments: Sequence[str],
    findings: Sequence[Finding],
    commands: Sequence[str],
) -> Audited:
    chosen = tuple(f for f in findings if f.convention in ("", convention))
    command = "; ".join(commands)
    return Audited(claim, convention, tuple(experiments), chosen, verdict_of(chosen), command)


def text(audited: Sequence[Audited]) -> str:
    """For a terminal."""
    lines = []
    for one in audited:
        lines += [f"{one.verdict.upper():<13} {one.name}", f"{'':<14}{one.claim.statement}"]
        lines += [f"{'':<14}· {_sentence(finding)}" for finding in one.findings]
        if one.command:
            lines.append(f"{'':<14}not all runs are there: {one.command}")
        lines.append("")
    return "\n".join([*lines, INTERVALS, WRITTEN, "", summary(audited)])


def summary(audited: Sequence[Audited]) -> str:
    """How many claims are decided; one with two conventions is where either is."""
    names = {one.claim.name for one in audited}
    decided = {one.claim.name for one in audited if one.verdict != "undecided"}
    return f"{len(decided)} of {len(names)} claims decided"


def markdown(audited: Sequence[Audited]) -> str:
    """A table, a row for each finding."""
    lines = [
        "| claim | verdict | statistic | here: median [interval] | seeds | rule | paper |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in audited:
        head = f"`{one.claim.name}`" + (f" ({one.convention})" if one.convention else "")
        for i, finding in enumerate(one.findings):
            first = f"{head} | **{one.verdict}**" if i == 0 else " | "
            cells = (finding.what, numbers(finding), str(len(finding.values)), finding.rule)
            lines.append(f"| {first} | {' | '.join(cells)} | {finding.published or '–'} |")
    return "\n".join([*lines, "", INTERVALS, WRITTEN])


def data(audited: Sequence[Audited]) -> list[dict[str, Any]]:
    """For JSON: numbers that there are none of are null."""
    return [
        {
            "claim": one.claim.name,
            "statement": one.claim.statement,
            "convention": one.convention,
            "verdict": one.verdict,
            "experiments": list(one.experiments),
            "findings": [
                {key: _plain(value) for key, value in asdict(finding).items()}
                | {"estimate": _plain(finding.estimate), "interval": _plain(finding.interval)}
                for finding in one.findings
            ],
            "command": one.command,
        }
        for one in audited
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def numbers(finding: Finding) -> str:
    """Median and interval, or in how many seeds it happened; a bound where no more is known."""
    if not finding.values:
        return "–"
    if finding.rule == "in all":
        return f"in {sum(low for low, _ in finding.values):g} of {len(finding.values)}"
    median = _number(*finding.estimate)
    if len(finding.values) == 1:
        return median
    low, high = finding.interval
    return f"{median} [{low:.3g}, {high:.3g}]"


def _number(low: float, high: float) -> str:
    if low == high:
        return f"{low:.3g}"
    if math.isinf(high):
        return f"≥ {low:.3g}"
    return f"≤ {high:.3g}" if math.isinf(low) else f"{low:.3g} to {high:.3g}"


def _sentence(finding: Finding) -> str:
    seeds = f"{len(finding.values)} seed{'s' if len(finding.values) != 1 else ''}"
    paper = f"; paper {finding.published}" if finding.published else ""
    return (
        f"{finding.what}: {numbers(finding)}, {seeds} (supported if {finding.rule}{paper}): "
        f"{finding.verdict}"
    )
