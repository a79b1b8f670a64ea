"""Verdicts follow their rules: known numbers, bounds of what was not seen, and too few seeds."""

from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from grokinterp.audit import statistics
from grokinterp.audit.claim import Claim, Measured, holm, verdict_of
from grokinterp.audit.finding import Bounds, Finding, Group, above, below, in_every_seed
from grokinterp.audit.interval import at_least, coverage, median_interval
from grokinterp.config import RunConfig
from grokinterp.experiments import EXPERIMENTS
from grokinterp.experiments.experiment import Planned, by_seed
from grokinterp.experiments.verdicts import numbers
from grokinterp.grokking import Crossing
from grokinterp.runs import Run


class MadeRun(Run):
    """A run whose test accuracy reaches 1 at an epoch, or not within its 1,000 statistics."""

    config = None  # In place of what reads it from a file.

    def __init__(self, seed, generalises):
        super().__init__(Path("made"))
        self.config = RunConfig(seed=seed)
        at = np.arange(10, 1001, 10)
        general = at >= (generalises or np.inf)
        self.table = pd.DataFrame(
            {
                "epoch": at,
                "train_accuracy": (at >= 100).astype(float),
                "test_accuracy": general.astype(float),
                "test_loss": 1.0 - general,
                "made.value": at / 100.0,
            }
        )

    @property
    def metrics(self):
        return self.table

    @property
    def probes(self):
        return pd.DataFrame(columns=["epoch", "probe", "name", "value"])


def done(**labels):
    """`label=[epoch of each seed]`."""
    return [
        (Planned(label, RunConfig(seed=seed)), MadeRun(seed, epoch))
        for label, seeds in labels.items()
        for seed, epoch in enumerate(seeds)
    ]


def finding(values, estimand=None):
    return Finding(estimand or above("ratio", 1.0), dict(enumerate(values)))


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([2.0, 3.0, 2.5, 4.0, 2.2, 1.1], "supported"),
        ([0.2, 0.3, 0.5, 0.4, 0.1, 0.9], "contradicted"),
        ([2.0, 3.0, 0.5, 0.4, 2.2, 1.5], "undecided"),
        ([2.0, 3.0, 2.5, 4.0, 2.2], "undecided"),
        ([1.0] * 9, "undecided"),
        ([2.0] * 5 + [float("nan")], "undecided"),
        # Of nine, the second least: one seed may differ.
        ([0.5, *[2.0] * 8], "supported"),
        ([0.5, 0.6, *[2.0] * 7], "undecided"),
        ([], "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval_and_six_seeds(values, verdict):
    assert finding(values).verdict == verdict


def test_short_of_the_size_is_no_contradiction():
    twice = above("ratio", 1.0, size=2.0)
    assert finding([1.5] * 9, twice).verdict == "undecided"
    assert finding([1.5] * 9, twice).short
    assert finding([2.5] * 9, twice).verdict == "supported"
    assert finding([0.5] * 9, twice).verdict == "contradicted"
    earlier = below("τ", 0.0, size=-0.5)
    # What was once called a contradiction: two seeds of either sign, both short of -0.5.
    assert finding([-0.33, 0.33], earlier).verdict == "undecided"
    assert finding([-0.33] * 8, earlier).verdict == "undecided"
    assert finding([0.33] * 8, earlier).verdict == "contradicted"


@pytest.mark.parametrize("n", range(2, 40))
def test_the_interval_covers_the_median_as_it_says(n):
    # Ranks as values: the interval names its order statistics.
    low, high = finding([float(i) for i in range(1, n + 1)], above("rank", 0.0)).interval
    k = int(low)
    assert high == n + 1 - k
    # The chance that fewer than k of n lie below the median, or above it.
    outside = 2 * binomtest(k - 1, n, 0.5, alternative="less").pvalue
    assert coverage(n) == pytest.approx(1 - outside)
    assert coverage(n) >= 0.95 or k == 1
    assert n < 6 or 2 * binomtest(k, n, 0.5, alternative="less").pvalue > 0.05


@pytest.mark.parametrize("seeds", [3, 5, 6, 9, 20])
def test_the_coverage_is_that_of_a_simulation(seeds):
    made = np.random.default_rng(0).exponential(size=(seeds, 20_000))
    low, high = median_interval(made)
    holds = np.mean((low < np.log(2)) & (np.log(2) < high))
    assert holds == pytest.approx(coverage(seeds), abs=0.01)


def test_one_seed_has_a_value_and_no_interval():
    one = finding([2.0])
    assert (one.n, one.estimate, one.interval, one.coverage) == (1, (2.0, 2.0), None, None)
    none = finding([])
    assert (none.n, none.estimate, none.interval, none.lean) == (0, None, None, None)


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_sign_test_is_scipy_s(successes, more):
    n = successes + more
    expected = binomtest(successes, n, 0.5, alternative="greater").pvalue if n else 1.0
    assert at_least(successes, n) == pytest.approx(expected)


def test_an_undecided_one_says_where_it_leans_and_what_would_decide_it():
    five = finding([2.0, 3.0, 2.5, 4.0, 2.2])
    assert five.lean == "supported, 5 of 5 seeds, P = 0.031 one-sided"
    assert five.missing == "1 more seed that agrees"
    assert finding([2.0, 3.0]).missing == "4 more seeds that agree"
    assert finding([0.5, 0.4, 0.3]).lean == "contradicted, 3 of 3 seeds, P = 0.12 one-sided"
    assert finding([2.0, 0.5]).lean is None
    assert finding([2.0] * 6).lean is finding([2.0] * 6).missing is None
    without = Finding(above("ratio", 1.0), {}, absent=("pre", "off"))
    assert without.missing == "6 seeds; not run: pre, off"


def test_every_seed_must_agree():
    seen = in_every_seed("seen")
    assert finding([1.0] * 6, seen).verdict == "supported"
    assert finding([0.0] * 6, seen).verdict == "contradicted"
    # The interval of nine leaves one out; every seed does not.
    most = finding([1.0] * 8 + [0.0], seen)
    assert most.verdict == "undecided"
    assert most.missing == "nothing supports it any more: not so in 1 of 9 seeds"
    assert finding([1.0] * 5 + [Bounds(0.0, 1.0)], seen).verdict == "undecided"
    assert finding([1.0] * 5, seen).verdict == "undecided"
    assert numbers(finding([1.0, 1.0, 0.0], seen)) == "in 2 of 3"


def test_a_claim_stands_with_all_of_its_findings_and_falls_with_one_after_holm():
    yes, no = [1.0] * 6, [-1.0] * 6
    of = {
        "yes": finding(yes, above("a", 0.0)),
        "no": finding(no, above("a", 0.0)),
        "clear no": finding([-1.0] * 8, above("a", 0.0)),
        "open": finding([1.0, -1.0] * 3, above("a", 0.0)),
        "few": finding([1.0] * 5, above("a", 0.0)),
    }
    for names, verdict in [
        (["yes", "yes"], "supported"),
        (["yes", "open"], "undecided"),
        (["no"], "contradicted"),
        # Six seeds of six have P = 0.031 two-sided, which is not enough twice over.
        (["yes", "no"], "undecided"),
        (["yes", "clear no"], "contradicted"),
        (["open", "clear no", "yes"], "contradicted"),
        # The part that was run does not stand for the one that was not.
        (["clear no", "few"], "undecided"),
        (["yes", "few"], "undecided"),
        ([], "undecided"),
    ]:
        assert verdict_of([of[name] for name in names]) == verdict, names


def test_holm_is_the_textbook_s():
    assert holm([0.01, 0.04, 0.03, 0.005]) == [True, False, False, True]
    assert holm([0.05]) == [True]
    assert holm([0.03, 0.03]) == [False, False]
    assert holm([]) == []


def test_what_was_seen_explores_and_what_is_fresh_confirms():
    runs = {seed: {"a": MadeRun(seed, None)} for seed in (456, 789, 444, 555)}

    def measure(of):
        return [Measured(above("a", 0.0), dict.fromkeys(of, 1.0), ("a",))]

    claim = Claim("made", "it is", "2026-11-26", "two seeds", (456, 789), measure)
    found = {group: claim.findings(runs, group)[0] for group in get_args(Group)}
    assert {group: [*one.by_seed] for group, one in found.items()} == {
        "exploratory": [456, 789],
        "confirmatory": [444, 555],
        "all": [456, 789, 444, 555],
    }
    assert found["confirmatory"].absent == ()
    assert claim.findings({}, "all")[0].absent == ("a",)


def test_ratios_are_paired_by_seed_and_bounded_where_nothing_was_seen():
    runs = by_seed(done(off=[800, None, None, 400], pre=[200, 250, None, None]))
    found = statistics.ratios(runs, "off", "pre")
    assert [*found.values()] == [4.0, Bounds(4.0, np.inf), Bounds(0.0, np.inf), Bounds(0.0, 0.4)]
    assert statistics.ratios(by_seed(done(off=[800])), "off", "pre") == {}


def test_a_bound_is_judged_by_its_farther_end():
    inf = np.inf
    twice = above("ratio", 1.0, 2.0)
    assert finding([Bounds(3.0, inf), *[4.0] * 5], twice).verdict == "supported"
    assert finding([Bounds(1.5, inf)] * 8, twice).verdict == "undecided"
    assert finding([Bounds(0, 10.0)] * 8, twice).verdict == "undecided"
    assert finding([Bounds(0, 0.5)] * 8, twice).verdict == "contradicted"
    assert finding([Bounds(0, 1.5)] * 8, twice).verdict == "undecided"
    earlier = below("ratio", 2.0)
    assert finding([Bounds(3.0, inf)] * 8, earlier).verdict == "contradicted"
    assert finding([Bounds(0, 3.0)] * 8, earlier).verdict == "undecided"


def test_a_bound_is_not_printed_as_a_number():
    assert numbers(finding([Bounds(1.5, np.inf)])) == "≥ 1.5"
    assert numbers(finding([2.0, Bounds(4.0, np.inf)])) == "≥ 3 [2, ?], 50 %"
    assert numbers(finding([Bounds(-1.0, 1.0)])) == "-1 to 1"
    assert numbers(finding([2.0, 3.0, 4.0])) == "3 [2, 4], 75 %"


def test_places_of_what_was_not_looked_for_so_long_are_unknown():
    seen, later, short = Crossing(90, 100), Crossing(1000, None), Crossing(50, None)
    assert statistics.places([seen, later]) == [100.0, np.inf]
    assert np.isnan(statistics.places([seen, short])[1])


def test_trends_order_what_was_not_seen_last():
    settings = {"a": 0.1, "b": 0.5, "c": 1.0}
    runs = by_seed(done(a=[None, 300, None], b=[900, 500, None], c=[400, 700, None]))
    assert [*statistics.trends(runs, settings).values()] == [-1.0, 1.0, Bounds(-1.0, 1.0)]


def test_a_trend_needs_every_setting():
    settings = {"a": 0.1, "b": 0.5, "c": 1.0, "d": 2.0}
    runs = by_seed(done(a=[100, 300], b=[200, 500], c=[400, 700], d=[500]))
    assert statistics.trends(runs, settings) == {0: 1.0}


def test_agreements_compare_two_orders():
    runs = by_seed(done(a=[100, 300], b=[200, 200], c=[None, 100]))

    def same(run):
        return run.grokking.generalised

    def reverse(run):
        by = run.grokking.generalised.by
        return Crossing(0, 1) if by is None else Crossing(0, 2000 - by)

    assert statistics.agreements(runs, "abc", same) == {0: 1.0, 1: 1.0}
    assert statistics.agreements(runs, "abc", reverse) == {0: -1.0, 1: -1.0}
    assert statistics.agreements(runs, "abcd", same) == {}


def test_not_within_is_unknown_of_a_run_that_is_too_short():
    runs = by_seed(done(a=[None, 500, 990]))
    assert [*statistics.not_within(runs, "a", 600).values()] == [1.0, 0.0, 1.0]
    assert [*statistics.not_within(runs, "a", 10_000).values()] == [Bounds(0.0, 1.0), 0.0, 0.0]


def test_a_mean_between_events_ends_before_the_second():
    run = MadeRun(0, 200)
    # The epochs 100, 110, … 190: at 200 it has generalised.
    mean = statistics.mean_while(run, "made", "value", Crossing(90, 100), Crossing(190, 200))
    assert mean == pytest.approx(1.45)
    to_end = statistics.mean_while(run, "made", "value", Crossing(980, 990))
    assert to_end == pytest.approx(9.95)
    assert np.isnan(statistics.mean_while(run, "made", "value", Crossing(1000, None)))


def test_while_memorising_all_know_the_pairs_and_none_is_general():
    first, second, third = MadeRun(0, 200), MadeRun(0, None), MadeRun(0, 500)
    assert statistics.while_memorising([first, second, third]) == (100, 200)
    # Where none is seen to generalise: to the end, whose epoch is in.
    assert statistics.while_memorising([second]) == (100, 1001)
    third.table["train_accuracy"] = 0.0
    assert statistics.while_memorising([first, third]) is None


CLAIMS = {
    "ln_position_modulates_grokking",
    "attention_pathways",
    "attention_entropy",
    "norm_shortcut",
    "fourier",
    "readout_scale_confound",
    "learning_rate",
    "weight_decay",
    "continuous_feature_evolution",
    "compressibility_predicts_generalisation",
    "robustness",
}


def test_every_claim_of_the_paper_is_tested_by_an_experiment():
    assert {claim.name for one in EXPERIMENTS.values() for claim in one.claims} == CLAIMS


CLAIMED = [claim for one in EXPERIMENTS.values() for claim in one.claims]


@pytest.mark.parametrize("claim", CLAIMED, ids=lambda claim: claim.name)
def test_without_runs_a_claim_is_undecided_and_names_them(claim):
    findings = claim.findings({})
    assert findings
    assert verdict_of(findings) == "undecided"
    assert all(finding.absent for finding in findings)
    assert claim.known
    assert claim.seen


@pytest.mark.parametrize(
    ("epochs_of", "verdict"),
    [
        ({"off": 900, "attn-pre": 800, "pre": 300, "mlp-pre": 100}, "supported"),
        ({"off": 100, "attn-pre": 800, "pre": 300, "mlp-pre": 100}, "contradicted"),
        ({"off": 900, "attn-pre": 800, "pre": 300, "mlp-pre": 500}, "contradicted"),
    ],
)
def test_the_claimed_order_is_judged_by_made_runs(epochs_of, verdict):
    [order, _] = EXPERIMENTS["ln-position"].claims
    # Three findings: Holm asks for eight seeds of eight against one of them.
    made = by_seed(done(**{label: [epoch] * 8 for label, epoch in epochs_of.items()}))
    assert verdict_of(order.findings(made)) == verdict


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "supported"), (-1.0, "contradicted"), (0.0, "undecided")]
)
def test_learning_rates_are_judged_by_made_runs(factor, verdict):
    [claim] = EXPERIMENTS["learning-rate"].claims
    labels = ("lr 0.001", "lr 0.003", "lr 0.005", "lr 0.01")
    made = {label: [500 - round(100 * i * factor)] * 6 for i, label in enumerate(labels)}
    assert verdict_of(claim.findings(by_seed(done(**made)))) == verdict


def test_robustness_is_undecided_while_a_part_has_not_run():
    parts = [EXPERIMENTS[name].claims[0] for name in ("depth", "rmsnorm")]
    against = {"off": [100] * 9, "attn-pre": [800] * 9, "pre": [300] * 9, "mlp-pre": [200] * 9}
    made = by_seed(done(**against))
    assert verdict_of(parts[1].findings(made)) == "contradicted"
    assert verdict_of([*parts[0].findings({}), *parts[1].findings(made)]) == "undecided"


class Moved(MadeRun):
    """A run whose kernel turns back: its distance from the start falls while it moves."""

    @property
    def probes(self):
        at = [1000, 1500, 2000, 3000]
        rows = [(t, "ntk", "relative_distance", 50.0 - t / 100) for t in at]
        rows += [(t, f"ntk:other={t - 500}", "relative_distance", 3.0) for t in at]
        # Over other epochs, and of another value: not what is asked.
        rows += [(t, "ntk:other=0", "relative_distance", 0.0) for t in at]
        rows += [(t, f"ntk:other={t - 500}", "kernel_distance", 0.0) for t in at]
        return pd.DataFrame(rows, columns=["epoch", "probe", "name", "value"])


def test_a_kernel_that_turns_back_keeps_moving():
    [claim] = EXPERIMENTS["feature-evolution"].claims
    labels = ("off", "attn-pre", "pre", "mlp-pre")
    made = {seed: {label: Moved(seed, None) for label in labels} for seed in range(6)}
    assert verdict_of(claim.findings(made)) == "supported"
