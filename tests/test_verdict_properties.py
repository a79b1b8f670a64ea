"""What a verdict must be worth, whatever the numbers: properties that any rule must have."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from grokinterp.audit.claim import verdict_of
from grokinterp.audit.finding import Bounds, Estimand, Finding
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


@settings(deadline=None, max_examples=12)
@given(st.integers(2, 10), st.sampled_from([4, 5, 6]), st.sampled_from([None, 0.5]))
def test_no_effect_is_decided_in_at_most_one_draw_of_twenty(seeds, labels, margin):
    rng = np.random.default_rng(seeds * 100 + labels)
    draws = 200
    places = [float(place) for place in range(labels)]
    decided = 0
    for _ in range(draws):
        taus = [kendall(places, rng.permutation(places).tolist()) for _ in range(seeds)]
        found = judged(taus, 0.0, "above", margin)
        decided += found.verdict != "undecided"
    # Three standard errors of a share of 5 %.
    assert decided / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


@given(VALUES, NUMBERS, DIRECTIONS, MARGINS)
def test_fewer_than_six_seeds_decide_nothing(values, null, direction, margin):
    if judged(values, null, direction, sized(null, direction, margin)).verdict != "undecided":
        assert len(values) >= 6


@given(VALUES, NUMBERS, DIRECTIONS)
def test_what_would_decide_it_decides_it(values, null, direction):
    found = judged(values, null, direction)
    if found.missing is not None:
        count = int(found.missing.split()[0])
        contradicting = (found.lean or "").startswith("contradicted")
        side = SIDES[direction] * (-1 if contradicting else 1)
        more = [null + side] * count
        assert judged([*values, *more], null, direction).verdict != "undecided"
        assert judged([*values, *more[1:]], null, direction).verdict == "undecided"


@settings(deadline=None, max_examples=12)
@given(st.integers(6, 10), st.integers(1, 6))
def test_a_claim_without_effect_is_decided_in_at_most_one_draw_of_twenty(seeds, parts):
    rng = np.random.default_rng(seeds * 10 + parts)
    draws = 200
    decided = 0
    for _ in range(draws):
        findings = [judged(rng.normal(size=seeds), 0.0, "above") for _ in range(parts)]
        decided += verdict_of(findings) != "undecided"
    assert decided / draws <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)


@given(st.lists(st.lists(NUMBERS, max_size=9), min_size=1, max_size=4), DIRECTIONS)
def test_a_claim_is_decided_only_where_every_part_has_six_seeds(parts, direction):
    findings = [judged(values, 0.0, direction) for values in parts]
    verdict = verdict_of(findings)
    if verdict != "undecided":
        assert all(len(values) >= 6 for values in parts)
    if verdict == "contradicted":
        assert any(finding.verdict == "contradicted" for finding in findings)
