"""The rules of our own claims, on recipes and tasks that the paper has not.

As in `rules`, each was fixed before the runs that judge it were there.
"""

from __future__ import annotations

from collections.abc import Sequence

from grokinterp.audit.claim import Claim, Measured
from grokinterp.audit.finding import Value, above
from grokinterp.audit.rules import SEEN, position_order
from grokinterp.audit.statistics import Runs, quotient, ratios, with_all

WRITTEN = "2026-11-30"


def optimizer_order(optimizers: Sequence[str]) -> Claim:
    """`optimizers`: the names that follow the placement in the runs' labels."""
    return Claim(
        "optimizer_order",
        "our own: the LN-position order of generalisation, M < M+A* < A* <= No LN, holds with "
        f"{' and with '.join(optimizers)} in place of AdamW",
        WRITTEN,
        "none but those of AdamW",
        SEEN,
        lambda runs: [
            one
            for optimizer in optimizers
            for one in position_order(f"{optimizer}: ", _of(runs, optimizer))
        ],
    )


def softmax_collapse(usual: str, remedies: Sequence[str], plain: str, normed: str) -> Claim:
    """What LN before the MLP does, a remedy of collapse does: where it acts, less is left for LN.

    Args:
        usual: The loss that the remedies are held against.
        remedies: A loss or a gradient filter each.
        plain: The placement without LN.
        normed: That with LN before the MLP.
    """

    def measure(runs: Runs) -> list[Measured]:
        found = []
        for remedy in remedies:
            labels = [f"{one}, {loss}" for one in (plain, normed) for loss in (usual, remedy)]
            found += [
                Measured(
                    above(f"generalisation epoch without LN, {usual} / {remedy}", 1.0),
                    ratios(runs, labels[0], labels[1]),
                    labels[:2],
                ),
                Measured(
                    above(f"the same over that with LN before the MLP, {remedy}", 1.0),
                    _more(runs, labels),
                    labels,
                ),
            ]
        return found

    return Claim(
        "softmax_collapse",
        "our own: without LN before the MLP, StableMax and ⊥Grad, which cannot collapse, make a "
        "model generalise earlier, and by a larger factor than with LN",
        WRITTEN,
        "those of cross-entropy with the paper's seeds and six more; none of a remedy",
        SEEN,
        measure,
    )


def norm_clamp(free: str, clamped: str, plain: str, normed: str) -> Claim:
    """Whether a bound on the weight norm does what LN before the MLP does.

    Args:
        free: The recipe without the bound.
        clamped: That with it.
        plain: The placement without LN.
        normed: That with LN before the MLP.
    """
    labels = [f"{one}, {recipe}" for one in (plain, normed) for recipe in (free, clamped)]

    def measure(runs: Runs) -> list[Measured]:
        return [
            Measured(
                above(f"generalisation epoch without LN, {free} / {clamped}", 1.0),
                ratios(runs, labels[0], labels[1]),
                labels[:2],
            ),
            Measured(
                above("the same over that with LN before the MLP", 1.0),
                _more(runs, labels),
                labels,
            ),
        ]

    return Claim(
        "norm_clamp",
        "our own: without LN a bound on the weight norm makes a model generalise earlier, and by "
        "a larger factor than with LN before the MLP",
        WRITTEN,
        "those without the bound; none with it",
        SEEN,
        measure,
    )


def beyond_addition(tasks: Sequence[str], plain: str, normed: str) -> Claim:
    """`tasks`: the names that follow the placement in the runs' labels."""
    return Claim(
        "beyond_addition",
        "our own: LN before the MLP makes a model generalise earlier on other tasks too: "
        f"{', '.join(tasks)}",
        WRITTEN,
        "none",
        SEEN,
        lambda runs: [
            Measured(
                above(f"{task}: generalisation epoch, {plain} / {normed}", 1.0),
                ratios(runs, f"{plain}, {task}", f"{normed}, {task}"),
                (f"{plain}, {task}", f"{normed}, {task}"),
            )
            for task in tasks
        ],
    )


def _of(runs: Runs, suffix: str) -> Runs:
    """The runs with this suffix, by the rest of their labels."""
    return {
        seed: {
            label.removesuffix(f", {suffix}"): run
            for label, run in of.items()
            if label.endswith(f", {suffix}")
        }
        for seed, of in runs.items()
    }


def _more(runs: Runs, labels: Sequence[str]) -> dict[int, Value]:
    """The first over the second, over the third over the fourth."""
    complete, (a, b, c, d) = with_all(runs, labels), labels
    one, other = ratios(complete, a, b), ratios(complete, c, d)
    return {seed: quotient(one[seed], other[seed]) for seed in one}
