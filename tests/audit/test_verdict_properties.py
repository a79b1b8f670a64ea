"""What a verdict must be worth, whatever the numbers: properties that any rule must have."""

from itertools import permutations, product
from math import comb, factorial, prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grokinterp.audit.claim import verdict_of
from grokinterp.audit.finding import Bounds, Estimand, Finding, in_every_seed
from grokinterp.audit.statistics import kendall

SIDES = {"above": 1.0, "below": -1.0}


def judged(values, null, direction, size=None):
    """A finding that asks for a value beyond `size`, where there is one, or else beyond `null`."""
    return Finding(Estimand("made", "", direction, null, size), dict(enumerate(values)))


# Of few different values, because ties are where a rule goes wrong.
NUMBERS = st.integers(-8, 8).map(lambda n: n / 4)
VALUES = st.lists(
    st.one_of(NUMBERS, st.tuples(NUMBERS, NUMBERS).map(lambda ends: Bounds(*sorted(ends)))),
    max_size=14,
)
DIRECTIONS = st.sampled_from(["above", "below"])
MARGINS = st.sampled_from([None, 0.0, 0.5, 1.0])


def sized(null, direction, margin):
    return None if margin is None else null + SIDES[direction] * margin


@given(VALUES, NUMBERS, DIRECTIONS, MARGINS)
def test_a_contradiction_has_its_whole_interval_beyond_the_null(values, null, direction, margin):
    found = judged(values, null, direction, sized(null, direction, margin))
    if found.verdict == "contradicted":
        low, high = found.interval
        assert high < null if direction == "above" else low > null


@given(VALUES, NUMBERS, DIRECTIONS, MARGINS)
def test_support_has_its_whole_interval_beyond_the_size(values, null, direction, margin):
    size = sized(null, direction, margin)
    found = judged(values, null, direction, size)
    if found.verdict == "supported":
        low, high = found.interval
        bar = null if size is None else size
        assert low > bar if direction == "above" else high < bar


@given(VALUES, NUMBERS, DIRECTIONS, MARGINS, st.lists(NUMBERS.map(abs), min_size=1, max_size=6))
def test_seeds_that_agree_never_undo_support(values, null, direction, margin, further):
    size = sized(null, direction, margin)
    bar = null if size is None else size
    agreeing = [bar + SIDES[direction] * (0.25 + more) for more in further]
    if judged(values, null, direction, size).verdict == "supported":
        assert judged([*values, *agreeing], null, direction, size).verdict == "supported"


@given(VALUES, NUMBERS, DIRECTIONS, MARGINS)
def test_mirrored_data_has_the_mirrored_verdict(values, null, direction, margin):
    mirrored = [Bounds(-v.high, -v.low) if isinstance(v, Bounds) else -v for v in values]
    other = "below" if direction == "above" else "above"
    size = sized(null, direction, margin)
    one = judged(values, null, direction, size)
    two = judged(mirrored, -null, other, None if size is None else -size)
    assert one.verdict == two.verdict


@given(VALUES, NUMBERS)
def test_what_supports_one_direction_contradicts_the_other(values, null):
    opposite = {"supported": "contradicted", "contradicted": "supported", "undecided": "undecided"}
    one, two = (judged(values, null, direction).verdict for direction in ("above", "below"))
    assert one == opposite[two]


def level(seeds, up, down, size=None):
    """The exact probability that a finding without effect is decided, where a seed's value is above
    the null (and the size) with a probability of `up`, below with `down`, and else at it."""
    found = 0.0
    for a, b in product(range(seeds + 1), repeat=2):
        if a + b <= seeds:
            values = [2.0] * a + [-2.0] * b + [0.0] * (seeds - a - b)
            ways = factorial(seeds) // (factorial(a) * factorial(b) * factorial(seeds - a - b))
            chance = ways * up**a * down**b * (1 - up - down) ** (seeds - a - b)
            found += chance * (judged(values, 0.0, "above", size).verdict != "undecided")
    return found


@pytest.mark.parametrize("seeds", range(2, 25))
def test_no_effect_is_decided_in_at_most_one_draw_of_twenty(seeds):
    assert level(seeds, 0.5, 0.5) <= 0.05
    assert level(seeds, 0.4, 0.4) <= 0.05


@pytest.mark.parametrize("labels", [3, 4, 5, 6])
@pytest.mark.parametrize("seeds", range(2, 11))
def test_random_permutations_are_decided_in_at_most_one_draw_of_twenty(seeds, labels):
    places = [float(place) for place in range(labels)]
    taus = np.array([kendall(places, [*order]) for order in permutations(places)])
    assert level(seeds, np.mean(taus > 1e-9), np.mean(taus < -1e-9)) <= 0.05


@given(VALUES, NUMBERS, DIRECTIONS, MARGINS)
def test_fewer_than_six_seeds_decide_nothing(values, null, direction, margin):
    if judged(values, null, direction, sized(null, direction, margin)).verdict != "undecided":
        assert len(values) >= 6


@given(VALUES, NUMBERS, DIRECTIONS, MARGINS)
def test_what_would_decide_it_decides_it(values, null, direction, margin):
    size = sized(null, direction, margin)
    found = judged(values, null, direction, size)
    if found.missing is not None:
        count = int(found.missing.split()[0])
        bar = null if size is None else size
        agreeing, opposed = bar + SIDES[direction], null - SIDES[direction]
        more = [opposed if found.leaning == "contradicted" else agreeing] * count
        assert judged([*values, *more], null, direction, size).verdict != "undecided"
        assert judged([*values, *more[1:]], null, direction, size).verdict == "undecided"


@given(st.lists(st.sampled_from([0.0, 1.0, Bounds(0.0, 1.0)]), max_size=12))
def test_what_is_in_every_seed_has_an_end(values):
    found = Finding(in_every_seed("made"), dict(enumerate(values)))
    assert (found.missing is None) == (found.verdict != "undecided")
    if found.verdict == "contradicted":
        assert found.interval.high < 0.5
    if found.verdict == "supported":
        assert found.interval.low > 0.5
        assert set(values) == {1.0}


@pytest.mark.parametrize("parts", [1, 2, 3])
@pytest.mark.parametrize("seeds", range(6, 11))
def test_a_claim_without_effect_is_decided_in_at_most_one_draw_of_twenty(seeds, parts):
    """Exactly, for parts that are independent: over how many seeds of each are above the null."""
    found = 0.0
    of = [judged([1.0] * k + [-1.0] * (seeds - k), 0.0, "above") for k in range(seeds + 1)]
    for counts in product(range(seeds + 1), repeat=parts):
        chance = prod(comb(seeds, k) for k in counts) / 2 ** (seeds * parts)
        found += chance * (verdict_of([of[k] for k in counts]) != "undecided")
    assert found <= 0.05


@given(st.lists(st.lists(NUMBERS, max_size=9), min_size=1, max_size=4), DIRECTIONS)
def test_a_claim_is_decided_only_where_every_part_has_six_seeds(parts, direction):
    findings = [judged(values, 0.0, direction) for values in parts]
    verdict = verdict_of(findings)
    if verdict != "undecided":
        assert all(len(values) >= 6 for values in parts)
    if verdict == "contradicted":
        assert any(finding.verdict == "contradicted" for finding in findings)
