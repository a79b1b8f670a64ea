"""What the audit says of each claim of the paper: a card with its verdict and its seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from grokinterp.audit.finding import Finding
from grokinterp.circuits.document import render
from grokinterp.report.dot_plot import dot_plot
from grokinterp.reproduction.verdict_text import (
    ABOUT,
    AGAINST_PAPER,
    NAMES,
    by_estimand,
    sentence,
    summary,
)
from grokinterp.reproduction.verdicts import Judged


def claims_section(judged: Sequence[Judged] | str, titles: Mapping[str, str]) -> Markup:
    """A card for each claim; the sentence that came in place of the audit, if one did.

    Args:
        judged: The claims.
        titles: Of the experiments that test them, by name.
    """
    if isinstance(judged, str):
        return render("report/claims_section.html", about=ABOUT, trouble=judged)
    return render(
        "report/claims_section.html",
        about=ABOUT,
        against_paper=AGAINST_PAPER,
        trouble=None,
        counts=Counter(one.verdict for one in judged),
        summary=summary(judged),
        claims=[(anchor(one), one) for one in judged],
        cards=[_card(one, titles) for one in judged],
    )


def anchor(judged: Judged) -> str:
    """The id of a claim's card."""
    return "-".join(filter(None, ("claim", judged.claim.name, judged.convention))).replace(" ", "-")


def _card(judged: Judged, titles: Mapping[str, str]) -> Markup:
    return render(
        "report/claim_card.html",
        judged=judged,
        anchor=anchor(judged),
        findings=[_finding(group) for group in by_estimand(judged)],
        missing=judged.missing,
        commands=judged.command.split("; ") if judged.command else [],
        experiments=[(name, titles[name]) for name in judged.experiments if name in titles],
    )


def _finding(groups: Sequence[Finding]) -> Markup:
    """What one estimand is in the fresh seeds, in the paper's, and in all."""
    both = sorted((one for one in groups if one.group != "all"), key=lambda one: one.group)
    words = [f"{NAMES[one.group]}: {sentence(one)}" for one in both]
    strips, axis = dot_plot(both, words)
    return render(
        "report/claim_finding.html",
        estimand=groups[0].estimand,
        rows=[
            (NAMES[one.group], sentence(one), strip)
            for one, strip in zip(both, strips, strict=True)
        ],
        axis=axis,
        together=[sentence(one) for one in groups if one.group == "all" and one.n],
    )
