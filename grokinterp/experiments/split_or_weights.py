"""Which draw sets the generalisation epoch, the split or the initial weights? Each varied alone.

The spread is that of the logarithm of the epoch, by half the mean square of what two runs differ by
(a semivariance): of two that share their split and not their weights it is the variance that the
weights make, and what is left. The three parts follow from the three kinds of pairs, whichever runs
are there; of a full square they are those of the analysis of variance. The estimate of a variance
that is small may come out below 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import pandas as pd

from grokinterp.confidence_interval import LEVEL, coverage, rank
from grokinterp.config import ModelConfig, RunConfig
from grokinterp.figures.strip import Beyond, Number, strip
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results
from grokinterp.reproduction.recipe import FRESH_SEEDS, PAPER_RECIPE, UNTIL_GENERALISED, seeded

PLACEMENTS = ("off", "attn-pre", "mlp-pre")
LATER, EARLIER = "off", "attn-pre"
POWER = 0.8

Square = Mapping[tuple[int, int], float]
"""A value for each pair of seeds: the split's and the weights'."""


def plan(seeds: Sequence[int]) -> list[Planned]:
    """Every split with every draw; where both have one seed, the run of LN position."""
    planned = []
    for placement in PLACEMENTS:
        for split in seeds:
            for weights in seeds:
                train = PAPER_RECIPE if split == weights else UNTIL_GENERALISED
                config = seeded(RunConfig(model=ModelConfig(placement), train=train), split)
                planned.append(Planned(placement, replace(config, weights_seed=weights)))
    return planned


def semivariances(values: Square) -> dict[str, float]:
    """Half the mean square difference of two runs, by what differs: their `weights` alone, their
    `split` alone, or `both`. NaN where there is no such pair."""
    found: dict[str, list[float]] = {"weights": [], "split": [], "both": []}
    for (one, first), (other, second) in combinations(values.items(), 2):
        kind = "weights" if one[0] == other[0] else "split" if one[1] == other[1] else "both"
        found[kind].append((first - second) ** 2 / 2)
    return {kind: sum(of) / len(of) if of else math.nan for kind, of in found.items()}


def components(values: Square) -> dict[str, float]:
    """The variance that the split makes, that the weights make, and the rest: what the two make
    together, and the rounding that a long training amplifies. Their sum is the variance of runs
    that share neither.

    >>> components({(s, w): 10.0 * s + w for s in (0, 1) for w in (0, 1)})
    {'split': 50.0, 'weights': 0.5, 'rest': 0.0}
    """
    of = semivariances(values)
    return {
        "split": of["both"] - of["weights"],
        "weights": of["both"] - of["split"],
        "rest": of["weights"] + of["split"] - of["both"],
    }


def seeds_needed(share: float, power: float = POWER, most: int = 2000) -> int | None:
    """The fewest seeds of which the interval of the median lies wholly on one side of the null with
    this probability, where a share of all seeds are on that side; None if more than `most`.

    >>> seeds_needed(1.0), seeds_needed(0.9), seeds_needed(0.5)
    (6, 12, None)
    """
    from scipy.stats import binom

    for seeds in range(2, most + 1):
        # Fewer seeds on the other side than the interval's rank leave all of it on this one.
        decided = binom.cdf(rank(seeds) - 1, seeds, 1 - share)
        if coverage(seeds) >= LEVEL and decided >= power:
            return seeds
    return None


def results(done: Done) -> Results:
    epochs: dict[str, dict[tuple[int, int], Number]] = {}
    for planned, run in done:
        seen = run.grokking.generalised
        found = Beyond(seen.after) if seen.by is None else seen.by
        epochs.setdefault(planned.label, {})[run.config.seed, run.config.drawn_by] = found
    tables = {"epochs": _epochs(epochs), "spread": _spread(epochs), "order": _order(epochs)}
    figures = {
        f"by_{draw}": strip(
            {placement: _grouped(of, position, draw) for placement, of in epochs.items()},
            "generalisation epoch",
            log=True,
            title=f"Runs that share their {draw}",
        )
        for position, draw in enumerate(("split", "weights"))
    }
    return Results({**figures}, {name: table for name, table in tables.items() if len(table)})


def _grouped(
    of: Mapping[tuple[int, int], Number], position: int, draw: str
) -> dict[str, list[Number]]:
    found: dict[str, list[Number]] = {}
    for pair, epoch in of.items():
        found.setdefault(f"{draw} of seed {pair[position]}", []).append(epoch)
    return found


def _epochs(epochs: Mapping[str, Mapping[tuple[int, int], Number]]) -> pd.DataFrame:
    weights = sorted({pair[1] for of in epochs.values() for pair in of})
    return pd.DataFrame(
        [
            {"placement": placement, "split of seed": split}
            | {f"weights of seed {one}": _text(of.get((split, one))) for one in weights}
            for placement, of in epochs.items()
            for split in sorted({pair[0] for pair in of})
        ]
    )


def _text(epoch: Number | None) -> str:
    if epoch is None:
        return "–"
    return f"not within {epoch.least:,}" if isinstance(epoch, Beyond) else f"{epoch:,}"


def _spread(epochs: Mapping[str, Mapping[tuple[int, int], Number]]) -> pd.DataFrame:
    """Of the placements whose runs all generalised: the logarithm of an epoch beyond is unknown."""
    rows = []
    for placement, of in epochs.items():
        known = {pair: math.log(e) for pair, e in of.items() if not isinstance(e, Beyond)}
        if len(known) < len(of) or len(known) < 2:
            continue
        between = {kind: math.sqrt(value) for kind, value in semivariances(known).items()}
        rows.append(
            {
                "placement": placement,
                "runs": len(known),
                "median epoch": float(pd.Series([*known.values()]).apply(math.exp).median()),
                "SD of ln epoch": between["both"],
                "same split": between["weights"],
                "same weights": between["split"],
            }
            | {f"variance of the {part}": value for part, value in components(known).items()}
        )
    return pd.DataFrame(rows)


def _order(epochs: Mapping[str, Mapping[tuple[int, int], Number]]) -> pd.DataFrame:
    """How often one placement generalises after another under the same draws."""
    later, earlier = epochs.get(LATER, {}), epochs.get(EARLIER, {})
    after = [_is_after(later[pair], earlier[pair]) for pair in later if pair in earlier]
    known = [one for one in after if one is not None]
    if not known:
        return pd.DataFrame()
    share = sum(known) / len(known)
    needed = seeds_needed(max(share, 1 - share))
    row = {
        "of the draws": len(known),
        f"{LATER} generalises after {EARLIER} in": sum(known),
        f"seeds that tell it with a probability of {POWER:g}": "–" if needed is None else needed,
    }
    return pd.DataFrame([row])


def _is_after(one: Number, other: Number) -> bool | None:
    """None where it is not known."""
    if isinstance(one, Beyond):
        return True if not isinstance(other, Beyond) and one.least >= other else None
    if isinstance(other, Beyond):
        return False if other.least >= one else None
    return one > other


SPLIT_OR_WEIGHTS = Experiment(
    title="Split or weights",
    question=(
        "Does the draw of the split or that of the initial weights decide when a run generalises, "
        "and how many seeds does it take to order A* and No LN?"
    ),
    plan=plan,
    results=results,
    seeds=FRESH_SEEDS[:4],
)
