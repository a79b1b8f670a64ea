"""What the audit says of each claim of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from grokinterp.circuits.document import element
from grokinterp.report.interval_plot import interval
from grokinterp.report.table_cells import html_table
from grokinterp.reproduction.verdict_text import ABOUT, NAMES, numbers, summary
from grokinterp.reproduction.verdicts import Judged


def claims_section(judged: Sequence[Judged] | str) -> str:
    """A verdict for each claim; the sentence that came in place of the audit, if one did."""
    if isinstance(judged, str):
        content = f'<p class="trouble">The claims were not judged: {escape(judged)}.</p>'
    else:
        content = f'{_counts(judged)}<ul class="claims">{"".join(map(_line, judged))}</ul>'
    return f'<section id="claims"><h2>Claims</h2>{element("p", ABOUT)}{content}</section>'


def badge(verdict: str) -> str:
    return f'<b class="verdict {verdict}">{verdict}</b>'


def claim(one: Judged, experiment: str) -> str:
    """A claim with its findings, in the section of an experiment that tests it."""
    head = (
        "finding",
        "asks for",
        "seeds",
        "n",
        "median [interval], coverage",
        "each seed",
        "verdict",
        "paper",
    )
    rows = [
        [
            escape(finding.estimand.what),
            escape(finding.estimand.asks),
            NAMES[finding.group],
            str(finding.n),
            numbers(finding),
            interval(finding),
            badge(finding.verdict) + escape(f" leans {finding.lean}" if finding.lean else ""),
            escape(finding.estimand.published or "–"),
        ]
        for finding in one.findings
        if finding.n or finding.group == "confirmatory"
    ]
    anchor = f' id="{_anchor(one)}"' if experiment == one.experiments[0] else ""
    return (
        f'<div class="claim"{anchor}>{badge(one.verdict)} <code>{escape(one.name)}</code>'
        f"{element('p', one.claim.statement)}{html_table(head, rows) if rows else ''}"
        f"{_comparisons(one)}{_missing(one)}</div>"
    )


def _counts(judged: Sequence[Judged]) -> str:
    verdicts = [one.verdict for one in judged]
    counts = " ".join(
        f"{badge(verdict)} {verdicts.count(verdict)}"
        for verdict in ("supported", "contradicted", "undecided")
        if verdict in verdicts
    )
    return f'<p class="counts">{counts} · {escape(summary(judged))}</p>'


def _line(one: Judged) -> str:
    return (
        f'<li><a class="to" href="#{_anchor(one)}">{badge(one.verdict)}</a>'
        f"<div><code>{escape(one.name)}</code> {escape(one.claim.statement)}</div></li>"
    )


def _comparisons(one: Judged) -> str:
    if not one.comparisons:
        return ""
    rows = "".join(element("li", str(comparison)) for comparison in one.comparisons)
    return f'<ul class="note">{rows}</ul>'


def _missing(one: Judged) -> str:
    decides = element("p", f"To decide: {one.missing}.") if one.missing else ""
    if not one.command:
        return decides
    commands = "; ".join(f"<code>{escape(part)}</code>" for part in one.command.split("; "))
    return f'{decides}<p class="note">Not all of its runs are here: {commands}</p>'


def _anchor(one: Judged) -> str:
    return "claim-" + "-".join(filter(None, (one.claim.name, one.convention)))
