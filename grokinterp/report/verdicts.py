"""What the audit says of each claim of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from grokinterp.audit.claim import INTERVALS, WRITTEN
from grokinterp.circuits.document import element
from grokinterp.experiments.verdicts import Audited, numbers, summary
from grokinterp.report.intervals import interval
from grokinterp.report.tables import html_table

ABOUT = (
    "Each claim of the paper, judged by rules that stand in the code: supported where the whole "
    "interval of the seeds' median lies on the claimed side of a threshold, contradicted where "
    "all of it lies on the other, undecided otherwise, or with fewer than two seeds. A verdict "
    f"leads to its numbers. {INTERVALS} {WRITTEN}"
)


def claims_section(judged: Sequence[Audited] | str) -> str:
    """A verdict for each claim; the sentence that came in place of the audit, if one did."""
    if isinstance(judged, str):
        content = f'<p class="trouble">The claims were not judged: {escape(judged)}.</p>'
    else:
        content = f'{_counts(judged)}<ul class="claims">{"".join(map(_line, judged))}</ul>'
    return f'<section id="claims"><h2>Claims</h2>{element("p", ABOUT)}{content}</section>'


def badge(verdict: str) -> str:
    return f'<b class="verdict {verdict}">{verdict}</b>'


def claim(one: Audited, experiment: str) -> str:
    """A claim with its findings, in the section of an experiment that tests it."""
    head = (
        "statistic",
        "verdict",
        "median [interval]",
        "each seed",
        "seeds",
        "supported if",
        "paper",
    )
    rows = [
        [
            escape(finding.what),
            badge(finding.verdict),
            numbers(finding),
            interval(finding),
            str(len(finding.values)),
            escape(finding.rule),
            escape(finding.published or "–"),
        ]
        for finding in one.findings
    ]
    anchor = f' id="{_anchor(one)}"' if experiment == one.experiments[0] else ""
    return (
        f'<div class="claim"{anchor}>{badge(one.verdict)} <code>{escape(one.name)}</code>'
        f"{element('p', one.claim.statement)}{html_table(head, rows) if rows else ''}"
        f"{_missing(one)}</div>"
    )


def _counts(judged: Sequence[Audited]) -> str:
    verdicts = [one.verdict for one in judged]
    counts = " ".join(
        f"{badge(verdict)} {verdicts.count(verdict)}"
        for verdict in ("supported", "contradicted", "undecided")
        if verdict in verdicts
    )
    return f'<p class="counts">{counts} · {escape(summary(judged))}</p>'


def _line(one: Audited) -> str:
    return (
        f'<li><a class="to" href="#{_anchor(one)}">{badge(one.verdict)}</a>'
        f"<div><code>{escape(one.name)}</code> {escape(one.claim.statement)}</div></li>"
    )


def _missing(one: Audited) -> str:
    if not one.command:
        return ""
    commands = "; ".join(f"<code>{escape(part)}</code>" for part in one.command.split("; "))
    return f'<p class="note">Not all of its runs are here: {commands}</p>'


def _anchor(one: Audited) -> str:
    return "claim-" + "-".join(filter(None, (one.claim.name, one.convention)))
