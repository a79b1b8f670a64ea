"""The rules: what each claim of the paper says of the runs of an experiment, as numbers.

A rule is fixed before the runs that confirm it are seen: each claim has the date of its rule, and
which runs existed then. One that changes afterwards loses the seeds that it had seen.

The experiments bind each rule to the labels of their runs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from grokinterp.audit.claim import Claim, Measured
from grokinterp.audit.finding import UNKNOWN, Convention, Value, above, below, in_every_seed
from grokinterp.audit.statistics import (
    Runs,
    agreements,
    difference,
    generalised,
    least,
    mean_between,
    mean_while,
    memorised,
    movement,
    not_within,
    probed,
    ratios,
    rule_met,
    spearman,
    trends,
    while_memorising,
    with_all,
)
from grokinterp.store.run import Run

WRITTEN = "2026-11-26"
SEEN = (456, 789, 111, 222, 333)
"""The paper's seeds. None of the fresh ones had been trained when these rules were written."""

FAR = 2.0
"""Far earlier: twice as early."""
CLEAR = 0.5
"""A rank correlation that the claim of an order asks for: of Kendall's τ, three of four pairs."""
MEANINGFUL = 0.1
"""Nats: a smaller rise of the train loss is no dependence."""
LONG = 10_000
"""Epochs."""

# Feature evolution: early on, orders of magnitude, and a kernel that stands still.
EARLY = 1000
ORDERS = 100.0
"""Orders of magnitude: two."""
STILL = {"relative_distance": 0.05, "kernel_distance": 0.05**2 / 2}
"""A kernel that changes by less over STEP epochs stands still: by 5 %, the width of a plateau.
1 - cos of a kernel that turns without growing is half the square of that."""
STEP = 500
"""Epochs that a kernel's movement is measured over."""

NTK = "ntk"
ENTROPIES: Mapping[Convention, str] = {
    "paper": "attention_entropy:convention=paper",
    "per head": "attention_entropy",
}
SHORTCUTS: Mapping[Convention, str] = {
    "paper": "shortcut:convention=paper,split=train",
    "isolated": "shortcut:split=train",
}
SHUFFLED = "shortcut:kind=shuffle_norm,split=train"
RISE = "train_loss_rise"


def position_order(
    of: str, runs: Runs, published: Mapping[str, int] | None = None
) -> list[Measured]:
    """M < M+A* < A* <= No LN in generalisation epochs; `of` begins what each finding is called."""
    return [
        Measured(
            above(
                f"{of}generalisation epoch, {later} / {earlier}",
                null=1.0,
                published=f"{published[later] / published[earlier]:.2g}" if published else "",
            ),
            ratios(runs, later, earlier),
            (later, earlier),
        )
        for later, earlier in (("pre", "mlp-pre"), ("attn-pre", "pre"), ("off", "attn-pre"))
    ]


def ln_position(published: Mapping[str, int]) -> Claim:
    return Claim(
        "ln_position_modulates_grokking",
        "generalisation epoch: M < M+A* < A* <= No LN",
        WRITTEN,
        "five seeds of each placement",
        SEEN,
        lambda runs: position_order("", runs, published),
    )


def fourier(labels: Sequence[str]) -> Claim:
    concentrated = rule_met("fourier_concentration", "value")
    what = "Kendall's τ over placements, epoch of concentration 1 and generalisation epoch"
    return Claim(
        "fourier",
        "the epoch at which the Fourier concentration of the embedding reaches 1 orders like the "
        "generalisation epoch",
        WRITTEN,
        "five seeds of each placement",
        SEEN,
        lambda runs: [
            Measured(above(what, 0.0, CLEAR), agreements(runs, labels, concentrated), labels)
        ],
    )


def attention_pathways() -> Claim:
    def measure(runs: Runs) -> list[Measured]:
        far, near = ("off", "attn-pre-v"), ("attn-pre-v", "mlp-pre")
        return [
            Measured(
                above(f"generalisation epoch, {far[0]} / {far[1]}", 1.0, FAR),
                ratios(runs, *far),
                far,
            ),
            Measured(
                above(f"generalisation epoch, {near[0]} / {near[1]}", 1.0),
                ratios(runs, *near),
                near,
            ),
            Measured(
                in_every_seed(f"attn-pre-qk not within {LONG:,} epochs"),
                not_within(runs, "attn-pre-qk", LONG),
                ("attn-pre-qk",),
            ),
        ]

    return Claim(
        "attention_pathways",
        "A^v generalises far earlier than No LN, M earlier still; A^qk does not generalise within "
        "10,000 epochs",
        WRITTEN,
        "five seeds of each placement",
        SEEN,
        measure,
    )


def attention_entropy(order: Sequence[str], lowest: str, every: Sequence[str]) -> Claim:
    """Means over the epochs from when all of `order` and `lowest` have memorised until before one
    of them generalises.

    Args:
        order: The claimed order, the highest first.
        lowest: The one that must be lower than all of these.
        every: The placements over which entropy and generalisation epoch are correlated.
    """
    compared = (*order, lowest)

    def measure(runs: Runs) -> list[Measured]:
        found = []
        for convention, probe in ENTROPIES.items():
            entropies = {
                seed: _entropies(of, compared, probe)
                for seed, of in with_all(runs, compared).items()
            }
            differences = {
                f"{higher} - {lower}": {
                    seed: difference(of[higher], of[lower]) for seed, of in entropies.items()
                }
                for higher, lower in itertools.pairwise(order)
            }
            differences[f"least of these - {lowest}"] = {
                seed: least([difference(of[one], of[lowest]) for one in order])
                for seed, of in entropies.items()
            }
            found += [
                Measured(
                    above(
                        f"entropy while memorising, {what}",
                        0.0,
                        unit="nats",
                        convention=convention,
                    ),
                    values,
                    compared,
                )
                for what, values in differences.items()
            ]
            found.append(
                Measured(
                    below(
                        "Spearman's ρ over placements, entropy and generalisation epoch",
                        0.0,
                        -CLEAR,
                        convention=convention,
                    ),
                    {
                        seed: _correlation(of, every, probe)
                        for seed, of in with_all(runs, every).items()
                    },
                    every,
                )
            )
        return found

    return Claim(
        "attention_entropy",
        "while memorising, entropy orders M > A^v > A* > No LN and A^qk stays lowest; low entropy "
        "goes with late generalisation",
        WRITTEN,
        "five seeds of each placement",
        SEEN,
        measure,
    )


def _entropies(of: Mapping[str, Run], compared: Sequence[str], probe: str) -> dict[str, Value]:
    """By placement, over the same epochs; unknown where there are no such epochs, and NaN where
    it was never recorded."""
    epochs = while_memorising(of[name] for name in compared)
    found: dict[str, Value] = {}
    for name in compared:
        mean = math.nan if epochs is None else mean_between(of[name], probe, "mean", *epochs)
        recorded = not probed(of[name], probe, "mean").empty
        found[name] = UNKNOWN if recorded and math.isnan(mean) else mean
    return found


def _correlation(of: Mapping[str, Run], every: Sequence[str], probe: str) -> Value:
    """Over the epochs that all of these memorise in and none has generalised in."""
    entropies = [*_entropies(of, every, probe).values()]
    return spearman(entropies, [generalised(of[name]) for name in every])


def norm_shortcut(plain: str, short: str) -> Claim:
    """Of the model without LN: with x/‖x‖, in the paper's convention and isolated.

    And with another example's norm (shuffled), which tells what the norm says of the example from
    the scale that the MLP reads.

    Args:
        plain: The label of the runs to 10,000 epochs.
        short: Of those that end when they have memorised.
    """

    def measure(runs: Runs) -> list[Measured]:
        of_plain = {seed: of[plain] for seed, of in with_all(runs, (plain,)).items()}
        found = []
        for convention, probe in SHORTCUTS.items():
            before = {
                seed: mean_while(run, probe, RISE, memorised(run), generalised(run))
                for seed, run in of_plain.items()
            }
            after = {
                seed: mean_while(run, probe, RISE, generalised(run))
                for seed, run in of_plain.items()
            }
            found += [
                Measured(
                    above(
                        "rise of the train loss with x/‖x‖, memorised and not yet general",
                        0.0,
                        MEANINGFUL,
                        "nats",
                        convention=convention,
                    ),
                    before,
                    (plain,),
                ),
                Measured(
                    above(
                        "the same less that after generalising",
                        0.0,
                        unit="nats",
                        convention=convention,
                    ),
                    {seed: difference(before[seed], after[seed]) for seed in before},
                    (plain,),
                ),
            ]
        rises = {
            seed: probed(of[short], SHUFFLED, RISE) for seed, of in with_all(runs, (short,)).items()
        }
        found.append(
            Measured(
                above(
                    "rise of the train loss with another example's norm, when memorised",
                    0.0,
                    MEANINGFUL,
                    "nats",
                    convention="shuffled",
                ),
                {seed: float(rise.iloc[-1]) for seed, rise in rises.items() if len(rise)},
                (short,),
            )
        )
        return found

    return Claim(
        "norm_shortcut",
        "without LN the memorised solution depends on the norm of the MLP's input: removing it "
        "raises the train loss, most before generalising",
        WRITTEN,
        "five seeds of No LN, three of them with the norms shuffled",
        SEEN,
        measure,
    )


def compressibility(labels: Sequence[str], published: Mapping[str, float]) -> Claim:
    """`published`: the same τ of the epochs that the paper reports, by value."""
    names = {"effective_rank": "effective rank", "alpha": "power-law α"}

    def measure(runs: Runs) -> list[Measured]:
        return [
            Measured(
                above(
                    f"Kendall's τ over placements, epoch near the least {name} and generalisation "
                    "epoch",
                    0.0,
                    CLEAR,
                    published=f"{published[value]:.2g}",
                ),
                agreements(runs, labels, rule_met("compressibility", value)),
                labels,
            )
            for value, name in names.items()
        ]

    return Claim(
        "compressibility_predicts_generalisation",
        "the epoch at which effective rank and power-law alpha come within 10 percent of their "
        "minimum orders like the generalisation epoch",
        WRITTEN,
        "five seeds of each placement",
        SEEN,
        measure,
    )


def continuous_feature_evolution(labels: Sequence[str]) -> Claim:
    """How far the NTK is from its start does not say whether it moves: a kernel that turns back
    comes nearer. So its movement is measured over 500 epochs, from epoch 1,000 to the first
    measurement at which the model has generalised, in size and in direction: the least of these
    must be more than that of a kernel that stands still, which is the null here, for no movement
    is less than 0."""

    def measure(runs: Runs) -> list[Measured]:
        found = []
        for label in labels:
            of_label = {seed: of[label] for seed, of in with_all(runs, (label,)).items()}
            found += [
                Measured(
                    above(f"{label}: ‖K_t - K_0‖/‖K_0‖, largest by epoch {EARLY:,}", 1.0, ORDERS),
                    {seed: _largest(run) for seed, run in of_label.items()},
                    (label,),
                ),
                *(
                    Measured(
                        above(
                            f"{label}: {said} over {STEP} epochs, least from epoch {EARLY:,} until "
                            "general",
                            STILL[value],
                        ),
                        {seed: _least_movement(run, value) for seed, run in of_label.items()},
                        (label,),
                    )
                    for value, said in (
                        ("relative_distance", "‖K_t - K_s‖/‖K_s‖"),
                        ("kernel_distance", "1 - cos(K_t, K_s)"),
                    )
                ),
            ]
        return found

    return Claim(
        "continuous_feature_evolution",
        "the NTK moves by orders of magnitude from its start early on and keeps moving: no lazy "
        "phase",
        WRITTEN,
        "the distance from the start in two seeds of each placement; no movement over 500 epochs",
        SEEN,
        measure,
    )


def moved(epoch: int) -> str:
    """The probe that holds the NTK at an epoch against that of STEP epochs before."""
    return f"{NTK}:other={epoch - STEP}"


def _largest(run: Run) -> float:
    values = probed(run, NTK, "relative_distance")
    return float(values[values.index <= EARLY].max())


def _least_movement(run: Run, value: str) -> float:
    values = movement(run, STEP, value)
    values = values[values.index >= EARLY]
    by = generalised(run).by
    later = [] if by is None else [epoch for epoch in values.index if epoch >= by]
    return float((values.loc[: later[0]] if later else values).min())


def readout_scale_confound(fixed: Mapping[str, float], coupled: Mapping[str, float]) -> Claim:
    """By label, the scale of each run: with the learning rate fixed, and with lr/α²."""

    def measure(runs: Runs) -> list[Measured]:
        what = "Kendall's τ of α and generalisation epoch"
        return [
            Measured(below(f"{what}, lr fixed", 0.0, -CLEAR), trends(runs, fixed), [*fixed]),
            Measured(above(f"{what}, lr/α²", 0.0, CLEAR), trends(runs, coupled), [*coupled]),
        ]

    return Claim(
        "readout_scale_confound",
        "with a fixed learning rate a larger readout scale generalises earlier; with lr/alpha^2 "
        "the order reverses",
        WRITTEN,
        "two seeds of four of the five scales with the rate fixed, and of three with lr/alpha^2",
        SEEN,
        measure,
    )


def learning_rate(rates: Mapping[str, float]) -> Claim:
    what = "Kendall's τ of lr and generalisation epoch"
    return Claim(
        "learning_rate",
        "with lr*wd fixed, a larger learning rate generalises earlier",
        WRITTEN,
        "two seeds of each rate",
        SEEN,
        lambda runs: [Measured(below(what, 0.0, -CLEAR), trends(runs, rates), [*rates])],
    )


def weight_decay(decays: Mapping[str, float]) -> Claim:
    weak = [label for label, decay in decays.items() if decay <= 0.5]

    def measure(runs: Runs) -> list[Measured]:
        what = "Kendall's τ of weight decay and generalisation epoch"
        return [
            Measured(below(what, 0.0, -CLEAR), trends(runs, decays), [*decays]),
            *(
                Measured(
                    in_every_seed(f"{label}: not within {LONG:,} epochs"),
                    not_within(runs, label, LONG),
                    (label,),
                )
                for label in weak
            ),
        ]

    return Claim(
        "weight_decay",
        "a larger weight decay generalises earlier; at or below 0.5 not within 10,000 epochs",
        WRITTEN,
        "two seeds of each decay",
        SEEN,
        measure,
    )


def robustness(of: str, known: str) -> Claim:
    """A part of one claim, for RMSNorm or for three layers; the parts are judged together."""
    return Claim(
        "robustness",
        "the LN-position order holds with RMSNorm and with 3 layers",
        WRITTEN,
        known,
        SEEN,
        lambda runs: position_order(f"{of}: ", runs),
    )
