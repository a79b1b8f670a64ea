"""What the audit says of each claim of the paper."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from markupsafe import Markup

from grokinterp.circuits.document import render
from grokinterp.report.interval_plot import interval_plot
from grokinterp.reproduction.verdict_text import ABOUT, NAMES, numbers, summary
from grokinterp.reproduction.verdicts import Judged


def claims_section(judged: Sequence[Judged] | str) -> Markup:
    """A verdict for each claim; the sentence that came in place of the audit, if one did."""
    if isinstance(judged, str):
        return render("report/claims_section.html", about=ABOUT, trouble=judged)
    return render(
        "report/claims_section.html",
        about=ABOUT,
        trouble=None,
        counts=Counter(one.verdict for one in judged),
        summary=summary(judged),
        judged=[(_anchor(one), one) for one in judged],
    )


def claim_card(judged: Judged, experiment: str) -> Markup:
    """A claim with its findings, in the section of an experiment that tests it."""
    return render(
        "report/claim_card.html",
        judged=judged,
        anchor=_anchor(judged) if experiment == judged.experiments[0] else None,
        findings=[
            (finding, NAMES[finding.group], numbers(finding), interval_plot(finding))
            for finding in judged.findings
            if finding.n or finding.group == "confirmatory"
        ],
        missing=judged.missing,
        commands=judged.command.split("; ") if judged.command else [],
    )


def _anchor(judged: Judged) -> str:
    return "-".join(filter(None, ("claim", judged.claim.name, judged.convention)))
