"""The paper's statistics of five seeds, over all sets of five of ours: against brute force."""

from itertools import product

import numpy as np
import pandas as pd
import pytest

from grokinterp.reproduction.against_paper import (
    accurate,
    compare,
    near_minimum,
    of_best,
    of_mean,
    quantile,
    sets_of,
)

EPOCHS = np.arange(10, 310, 10)


def curves(seeds, slowest=290):
    """Accuracies that rise to 1 at random epochs."""
    rng = np.random.default_rng(seeds)
    at = rng.integers(50, slowest, size=seeds)
    return [
        pd.Series(np.clip(EPOCHS / when, 0, 1) ** 3, index=EPOCHS, name="accuracy") for when in at
    ]


def mean_epoch(chosen):
    mean = np.mean([curve.to_numpy() for curve in chosen], axis=0)
    return EPOCHS[np.argmax(mean >= 0.995)] if (mean >= 0.995).any() else np.inf


def best_epoch(chosen):
    return min(EPOCHS[np.argmax(curve >= 1)] if (curve >= 1).any() else np.inf for curve in chosen)


@pytest.mark.parametrize(
    ("statistic", "naive"), [(of_mean(accurate), mean_epoch), (of_best(1.0), best_epoch)]
)
@pytest.mark.parametrize("slowest", [290, 900])
def test_it_is_every_draw_with_replacement(statistic, naive, slowest):
    ours = curves(6, slowest)
    found = compare("claim", "what", 100, ours, statistic)
    every = np.sort([naive(draw) for draw in product(ours, repeat=5)])
    expected = [every[int(np.ceil(q * len(every))) - 1] for q in (0.025, 0.5, 0.975)]
    assert [found.interval[0], found.estimate, found.interval[1]] == expected
    assert found.inside == (expected[0] <= 100 <= expected[2])
    assert found.seen == np.isfinite(expected[1])


@pytest.mark.parametrize("seeds", [5, 8, 11])
def test_sets_have_the_probabilities_of_a_multinomial(seeds):
    weights, chance = sets_of(seeds)
    assert (weights.sum(axis=1) == 5).all()
    assert chance.sum() == pytest.approx(1)
    # Each seed is drawn as often as another.
    assert chance @ weights == pytest.approx(5 / seeds)


def test_near_the_minimum_is_after_the_maximum():
    mean = np.array([[1.0, 5.0, 9.0, 4.0, 2.1, 2.0, 2.5], [9.0, 8.0, 7.0, 6.0, 5.2, 5.0, 5.1]])
    assert near_minimum(mean).argmax(axis=1).tolist() == [4, 4]


def test_fewer_than_five_seeds_and_runs_that_ended_early_are_not_compared():
    assert compare("claim", "what", 100, curves(4), of_best(1.0)).inside is None
    short = [*curves(4), curves(5)[-1].iloc[:9]]
    found = compare("claim", "what", 100, short, of_best(1.0))
    assert (found.seeds, found.interval) == (4, None)
    assert "4 of the 5 seeds" in str(found)
    assert compare("claim", "what", 100, [], of_best(1.0)).seeds == 0


def test_a_quantile_is_the_least_value_not_exceeded_so_often():
    values, chance = np.array([3.0, 1.0, 2.0]), np.array([0.2, 0.5, 0.3])
    assert [quantile(values, chance, q) for q in (0.1, 0.5, 0.6, 0.9)] == [1.0, 1.0, 2.0, 3.0]
