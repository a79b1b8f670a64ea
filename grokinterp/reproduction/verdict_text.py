"""Verdicts for people and programs: a terminal, Markdown, JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

from grokinterp.audit.finding import UNKNOWN, Finding, Group, Verdict
from grokinterp.confidence_interval import FEWEST_SEEDS, percent
from grokinterp.reproduction.verdicts import Judged

ABOUT = (
    "A verdict is that of the fresh seeds. When its rule was written none of their runs had been "
    "seen, but for those that it names as known; the paper's own seeds explored it. Supported: "
    "of every finding the interval of the median over seeds lies beyond what the claim asks for. "
    "Contradicted: of one it lies wholly on the other side of the null, after Holm's correction "
    "over the claim's findings, which asks for seven seeds of seven where there are two or "
    "three, and eight where there are four to six. Undecided otherwise, and where a finding has "
    f"fewer than {FEWEST_SEEDS} seeds. Intervals are exact, from order statistics, with their "
    "coverage: 95 % or more of six seeds, 93.8 % of five, 75 % of three; a share of seeds has "
    "Clopper and Pearson's. A claim leans to support where each finding has most of its seeds "
    "there, and to contradiction where one has so many on the other side that P < 0.05, one-sided."
)
AGAINST_PAPER = (
    "The paper reports one set of five seeds. Beside it stands what sets of five of ours, drawn "
    "with replacement, give. Such sets reach no further than our own seeds, so that outside is no "
    "test: of two sets of five from one law the best of the one is earlier than all of the other "
    "half of the time."
)
NAMES: dict[Group, str] = {
    "exploratory": "paper's seeds",
    "confirmatory": "fresh seeds",
    "all": "all seeds",
}


def summary(judged: Sequence[Judged]) -> str:
    """How many verdicts there are of each kind."""
    of = [one.verdict for one in judged]
    counts = ", ".join(f"{of.count(verdict)} {verdict}" for verdict in get_args(Verdict))
    claims = len({one.claim.name for one in judged})
    return f"{len(judged)} verdicts on {claims} claims, some under several conventions: {counts}"


def text(judged: Sequence[Judged]) -> str:
    """For a terminal."""
    lines = []
    for one in judged:
        lines += [
            f"{one.verdict.upper():<13} {one.name}",
            f"{'':<14}{one.claim.statement}",
            f"{'':<14}by fresh seeds: {tally(one.of('confirmatory'))}",
        ]
        for of_groups in by_estimand(one):
            estimand = of_groups[0].estimand
            unit = f" ({estimand.unit})" if estimand.unit else ""
            paper = f"; paper {estimand.published}" if estimand.published else ""
            lines.append(f"{'':<14}· {estimand.what}{unit}: {estimand.asks}{paper}")
            lines += [
                f"{'':<16}{NAMES[finding.group]:<14}{sentence(finding)}"
                for finding in of_groups
                if finding.n or finding.group == "confirmatory"
            ]
        lines += [f"{'':<14}· {comparison}" for comparison in one.comparisons]
        if one.missing:
            lines.append(f"{'':<14}to decide: {one.missing}")
        lines.append(f"{'':<14}rule of {one.claim.written}, when there were {one.claim.known}")
        if one.command:
            lines.append(f"{'':<14}not all runs are there: {one.command}")
        lines.append("")
    return "\n".join([*lines, ABOUT, AGAINST_PAPER, "", summary(judged)])


def tally(findings: Sequence[Finding]) -> str:
    """How many findings there are of each verdict, such as "5 findings, 4 supported, 1 undecided":
    a claim is undecided while one of its findings is."""
    of = [finding.verdict for finding in findings]
    parts = [f"{of.count(one)} {one}" for one in get_args(Verdict) if one in of]
    return ", ".join([f"{len(of)} finding{'s' * (len(of) != 1)}", *parts])


def overview(judged: Sequence[Judged]) -> str:
    """A Markdown table, a row for each verdict."""
    lines = [
        "| claim | verdict | fresh seeds | the paper's seeds, which explored it |",
        "| --- | --- | --- | --- |",
    ]
    for one in judged:
        said = one.claim.statement.replace("<=", "≤").replace("^2", "²").replace("alpha", "α")
        said = said[0].upper() + said[1:] + (f" ({one.convention})" if one.convention else "")
        lean = one.lean("exploratory")
        explored = f"{_counted(one, 'exploratory')}{f': leans {lean}' if lean else ''}"
        lines.append(
            f"| {said} | **{one.verdict}** | {_counted(one, 'confirmatory')} | {explored} |"
        )
    return "\n".join([*lines, "", f"{summary(judged).capitalize()}."])


def _counted(one: Judged, group: Group) -> str:
    """How many seeds the findings have, from the one with the fewest to that with the most."""
    counts = sorted(finding.n for finding in one.of(group))
    return " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))


def markdown(judged: Sequence[Judged]) -> str:
    """The overview; a table, a row for each finding; and our numbers beside the paper's."""
    lines = [
        overview(judged),
        "",
        f"| claim | verdict | finding | asks for | {' | '.join(NAMES.values())} | paper |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in judged:
        convention = f" ({one.convention})" if one.convention else ""
        head = f"`{one.claim.name}`{convention} | **{one.verdict}**"
        for of_groups in by_estimand(one):
            estimand = of_groups[0].estimand
            unit = f" ({estimand.unit})" if estimand.unit else ""
            cells = [estimand.what + unit, estimand.asks, *map(sentence, of_groups)]
            lines.append(f"| {head} | {' | '.join(cells)} | {estimand.published or '–'} |")
            head = " | "
    compared = [str(comparison) for one in judged for comparison in one.comparisons]
    compared = [f"- {one}" for one in dict.fromkeys(compared)]
    return "\n".join([*lines, "", *compared, "", ABOUT, "", AGAINST_PAPER])


def data(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """For JSON: numbers that there are none of, and infinite ones, are null."""
    return [
        {
            "claim": one.claim.name,
            "statement": one.claim.statement,
            "convention": one.convention,
            "verdict": one.verdict,
            "missing": one.missing,
            "verdict_exploratory": one.verdict_of("exploratory"),
            "verdict_all": one.verdict_of("all"),
            "written": one.claim.written,
            "known": one.claim.known,
            "seen": list(one.claim.seen),
            "experiments": list(one.experiments),
            "findings": [_finding(finding) for finding in one.findings],
            "comparisons": [
                _plain(asdict(comparison) | {"inside": comparison.inside, "seen": comparison.seen})
                for comparison in one.comparisons
            ],
            "command": one.command,
        }
        for one in judged
    ]


def _finding(finding: Finding) -> dict[str, Any]:
    """A value that is known is a number; one that is not, its bounds."""
    estimand = finding.estimand
    values = [low if low == high else [low, high] for low, high in finding.known.values()]
    found = {
        "what": estimand.what,
        "unit": estimand.unit,
        "values": values,
        "seeds": list(finding.known),
        "group": finding.group,
        "estimate": finding.estimate,
        "interval": finding.interval,
        "coverage": finding.coverage,
        "null": estimand.null,
        "direction": estimand.direction,
        "size": estimand.size,
        "n": finding.n,
        "verdict": finding.verdict,
        "lean": finding.lean,
        "missing": finding.missing,
        "published": estimand.published,
    }
    # The median of known values is one number.
    if finding.estimate is not None and finding.estimate.low == finding.estimate.high:
        found["estimate"] = finding.estimate.low
    return _plain(found)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def by_estimand(one: Judged) -> list[tuple[Finding, ...]]:
    """The findings of each estimand, a group after the other."""
    return list(zip(*(one.of(group) for group in get_args(Group)), strict=True))


def numbers(finding: Finding) -> str:
    """Median and interval with its coverage, or in how many seeds it happened; a bound where no
    more is known."""
    if finding.estimate is None:
        return "–"
    if finding.estimand.direction == "all":
        return f"in {finding.agreeing} of {finding.n}"
    median = _number(*finding.estimate)
    if finding.interval is None or finding.coverage is None:
        return median
    low, high = finding.interval
    return f"{median} [{_end(low)}, {_end(high)}], {percent(finding.coverage)} %"


def _number(low: float, high: float) -> str:
    if low == high:
        return f"{low:.3g}"
    if math.isinf(high):
        return f"≥ {low:.3g}"
    return f"≤ {high:.3g}" if math.isinf(low) else f"{low:.3g} to {high:.3g}"


def _end(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else "?"


def sentence(finding: Finding) -> str:
    """Numbers, seeds, and the verdict or what they lean to."""
    without = [str(seed) for seed, ends in finding.known.items() if ends == UNKNOWN]
    unknown = f"; no value in seeds {', '.join(without)}" if without else ""
    if not finding.n:
        absent = f"not run: {', '.join(finding.absent)}" if finding.absent else "not measured"
        return f"none; {absent}"
    seeds = f"{finding.n} seed{'s' if finding.n != 1 else ''}{unknown}"
    if finding.verdict != "undecided":
        return f"{numbers(finding)}, {seeds}: {finding.verdict}"
    lean = f"leans {finding.lean}" if finding.lean else "leans to neither side"
    if finding.short:
        lean = "beyond the null, and short of the size"
    return f"{numbers(finding)}, {seeds}: {lean}"
