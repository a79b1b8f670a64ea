"""Verdicts follow their rules: known numbers, bounds of what was not seen, and too few seeds."""

import math
from itertools import combinations, product
from pathlib import Path
from typing import ClassVar, get_args

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, kendalltau

from grokinterp.audit import rules, statistics
from grokinterp.audit.claim import Claim, Measured, holm, verdict_of
from grokinterp.audit.finding import UNKNOWN, Bounds, Finding, Group, above, below, in_every_seed
from grokinterp.confidence_interval import at_least, coverage, median_interval
from grokinterp.config import RunConfig, TrainConfig
from grokinterp.experiments import EXPERIMENTS
from grokinterp.grokking import Crossing
from grokinterp.probes.calls import ProbeCall
from grokinterp.reproduction.experiment import Planned, by_seed
from grokinterp.reproduction.positions import PATHWAYS
from grokinterp.reproduction.verdict_text import numbers
from grokinterp.store.run import Run


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
    def epoch(self):
        return int(self.table["epoch"].iloc[-1])

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
    assert five.missing == "1 more seed on that side"
    assert finding([2.0, 3.0]).missing == "4 more seeds on that side"
    assert finding([2.0, 0.5]).missing == "7 more seeds that agree"
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
    open_ = finding([1.0] * 5 + [Bounds(0.0, 1.0)], seen)
    assert (open_.verdict, open_.missing) == ("undecided", "not known yet in seeds 5")
    assert open_.estimate == Bounds(5 / 6, 1.0)
    # A share that is known, and Clopper and Pearson's interval of it.
    assert most.estimate == (8 / 9, 8 / 9)
    expected = binomtest(8, 9).proportion_ci(0.95, "exact")
    assert most.interval == pytest.approx((expected.low, expected.high))
    assert most.lean is None
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


EVENTS = st.one_of(
    st.integers(1, 9).map(lambda i: Crossing(10 * i - 10, 10 * i)),
    st.sampled_from([40, 100]).map(lambda after: Crossing(after, None)),
)


def completions(event):
    """What an event that was not seen may still be: at any epoch after it was last looked for."""
    if event.by is not None:
        return [event.by]
    return [event.after + more for more in (1, 2, 3, 500, 501, 502)]


@given(st.lists(EVENTS, min_size=3, max_size=4))
def test_a_tau_s_bounds_are_those_of_all_that_may_have_happened(events):
    settings = [float(i) for i in range(len(events))]
    found = statistics.kendall(settings, events)
    taus = []
    for epochs in product(*map(completions, events)):
        pairs = list(combinations(range(len(events)), 2))
        signs = [np.sign(epochs[j] - epochs[i]) for i, j in pairs]
        taus.append(np.mean(signs))
    low, high = found if isinstance(found, Bounds) else (found, found)
    assert low - 1e-9 <= min(taus) <= max(taus) <= high + 1e-9
    # Pairs are taken one by one, which is exact where all were looked for as long as others took.
    if all(event.by is not None or event.after == 100 for event in events):
        assert (low, high) == pytest.approx((min(taus), max(taus)))


def test_a_tau_without_ties_is_scipy_s():
    rng = np.random.default_rng(0)
    for _ in range(20):
        one, other = rng.normal(size=(2, 6)).tolist()
        assert statistics.kendall(one, other) == pytest.approx(kendalltau(one, other).statistic)


def test_one_event_among_three_that_were_not_seen_is_no_trend():
    """Of four rates only the largest generalises: the others may be in any order."""
    rates = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    runs = by_seed(done(a=[None] * 6, b=[None] * 6, c=[None] * 6, d=[500] * 6))
    values = statistics.trends(runs, rates)
    assert values[0] == Bounds(-1.0, 0.0)
    assert finding(values.values(), below("τ", 0.0, -0.5)).verdict == "undecided"


def test_a_rho_has_bounds_where_several_were_not_seen():
    seen = [Crossing(0, 10 * i) for i in (1, 2, 3)]
    late, short = Crossing(1000, None), Crossing(15, None)
    entropies = [4.0, 3.0, 2.0, 1.0, 0.5]
    assert statistics.spearman(entropies[:4], [*seen, late]) == -1.0
    low, high = statistics.spearman(entropies, [*seen, late, late])
    assert (low, high) == pytest.approx((-1.0, -0.9))
    assert statistics.spearman(entropies[:4], [*seen, short]) == Bounds(-1.0, 1.0)
    assert np.isnan(statistics.spearman([np.nan, 1.0, 2.0], seen))


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
    # Recorded, and never while it lasted: the seed stays, as one of which nothing is known.
    assert statistics.mean_while(run, "made", "value", Crossing(1000, None)) == UNKNOWN
    assert statistics.mean_while(run, "made", "value", Crossing(0, 3), Crossing(3, 5)) == UNKNOWN
    assert np.isnan(statistics.mean_while(run, "other", "value", Crossing(90, 100)))


def test_seeds_without_an_event_do_not_vanish():
    known = dict.fromkeys(range(6), 1.0)
    dropped = Finding(above("d", 0.0), {**known, **{6 + i: UNKNOWN for i in range(6)}})
    assert (dropped.n, dropped.verdict) == (12, "undecided")
    assert statistics.difference(1.0, UNKNOWN) == statistics.least([1.0, UNKNOWN]) == UNKNOWN
    assert statistics.difference(3.0, 1.0) == 2.0


def test_the_extreme_of_a_run_that_ended_early_is_not_known(tmp_path):
    run = MadeRun(0, None)
    run.config = RunConfig(seed=0, train=TrainConfig(epochs=1000))
    run.table["compressibility.effective_rank"] = np.linspace(50, 5, len(run.table))
    when = statistics.rule_met("compressibility", "effective_rank")
    assert when(run).by == 990
    run.table = run.table[run.table["epoch"] <= 300]
    assert when(run) == Crossing(0, None)


def test_while_memorising_all_know_the_pairs_and_none_is_general():
    first, second, third = MadeRun(0, 200), MadeRun(0, None), MadeRun(0, 500)
    assert statistics.while_memorising([first, second, third]) == (100, 200)
    # Where none is seen to generalise: to the end, whose epoch is in.
    assert statistics.while_memorising([second]) == (100, 1001)
    third.table["train_accuracy"] = 0.0
    assert statistics.while_memorising([first, third]) is None


def test_an_entropy_that_was_recorded_at_other_times_alone_is_unknown():
    """Recorded from epoch 500 on, of runs that memorise from 100 until before 200."""
    every = [claim for experiment in EXPERIMENTS.values() for claim in experiment.claims]
    [claim] = [one for one in every if one.name == "attention_entropy"]
    made = {}
    for seed in range(6):
        made[seed] = {label: MadeRun(seed, 200) for label in PATHWAYS}
        for run in made[seed].values():
            late = run.table["epoch"].where(run.table["epoch"] >= 500)
            for probe in rules.ENTROPIES.values():
                run.table[f"{probe}.mean"] = late
    findings = claim.findings(made)
    assert {(one.n, one.verdict) for one in findings} == {(6, "undecided")}
    assert {value for one in findings for value in one.by_seed.values()} <= {UNKNOWN, Bounds(-1, 1)}


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


OUR_OWN = {"beyond_addition", "norm_clamp", "optimizer_order", "softmax_collapse"}


def test_every_claim_of_the_paper_is_tested_by_an_experiment():
    every = {claim.name: claim for one in EXPERIMENTS.values() for claim in one.claims}
    assert {*every} == CLAIMS | OUR_OWN
    for name, claim in every.items():
        assert claim.statement.startswith("our own: ") == (name in OUR_OWN)


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
    made = by_seed(done(**{label: [epoch] * 7 for label, epoch in epochs_of.items()}))
    assert verdict_of(order.findings(made)) == verdict
    # Three findings: Holm asks for seven seeds of seven against one of them.
    fewer = {seed: labels for seed, labels in made.items() if seed < 6}
    expected = "supported" if verdict == "supported" else "undecided"
    assert verdict_of(order.findings(fewer)) == expected


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

    moved: ClassVar = {"relative_distance": 3.0, "kernel_distance": 0.5}

    @property
    def probes(self):
        at = [1000, 1500, 2000, 3000]
        rows = [(t, "ntk", "relative_distance", 500.0 - t / 100) for t in at]
        for name, value in self.moved.items():
            rows += [(t, f"ntk:other={t - 500}", name, value) for t in at]
            # Over other epochs: not what is asked.
            rows += [(t, "ntk:other=0", name, 0.0) for t in at]
        return pd.DataFrame(rows, columns=["epoch", "probe", "name", "value"])


def test_a_kernel_that_turns_back_keeps_moving():
    [claim] = EXPERIMENTS["feature-evolution"].claims
    labels = ("off", "attn-pre", "pre", "mlp-pre")
    made = {seed: {label: Moved(seed, None) for label in labels} for seed in range(6)}
    assert verdict_of(claim.findings(made)) == "supported"


class Grown(Moved):
    """One whose kernel only grows, and turns nowhere."""

    moved: ClassVar = {"relative_distance": 3.0, "kernel_distance": 0.0}


def test_a_kernel_that_only_grows_does_not_keep_moving():
    [claim] = EXPERIMENTS["feature-evolution"].claims
    labels = ("off", "attn-pre", "pre", "mlp-pre")
    made = {seed: {label: Grown(seed, None) for label in labels} for seed in range(10)}
    assert verdict_of(claim.findings(made)) == "contradicted"


def test_the_probes_that_rules_read_are_probes():
    named = [*rules.ENTROPIES.values(), *rules.SHORTCUTS.values(), rules.SHUFFLED, rules.NTK]
    for text in (*named, "fourier_concentration", "compressibility", f"{rules.NTK}:other=500"):
        assert str(ProbeCall.parse(text)) == text


@pytest.mark.parametrize(
    ("clamped", "verdict"),
    [
        # Without LN three times as early, with LN twice.
        ({"off": 300, "mlp-pre": 100}, "supported"),
        # As early with LN as without: LN is no more than the bound.
        ({"off": 300, "mlp-pre": 50}, "contradicted"),
        ({"off": 1200, "mlp-pre": 200}, "contradicted"),
    ],
)
def test_the_norm_clamp_is_judged_by_made_runs(clamped, verdict):
    [claim] = EXPERIMENTS["norm-clamp"].claims
    epochs = {"off, free": 900, "mlp-pre, free": 200}
    epochs |= {f"{name}, norm ≤ 40": epoch for name, epoch in clamped.items()}
    made = by_seed(done(**{label: [epoch] * 7 for label, epoch in epochs.items()}))
    assert verdict_of(claim.findings(made)) == verdict


def test_an_optimiser_s_order_is_that_of_its_own_runs():
    [claim] = EXPERIMENTS["optimizers"].claims
    order = {"off": 900, "attn-pre": 800, "pre": 300, "mlp-pre": 100}
    of_muon = {f"{name}, Muon": [epoch] * 9 for name, epoch in order.items()}
    turned = dict(zip(order, reversed(order.values()), strict=True))
    for of_sgd, verdict in ((order, "supported"), (turned, "contradicted")):
        of_sgd = {f"{name}, SGD": [epoch] * 9 for name, epoch in of_sgd.items()}
        assert verdict_of(claim.findings(by_seed(done(**of_muon, **of_sgd)))) == verdict
    # AdamW's are another recipe's.
    of_adamw = {f"{name}, AdamW": [epoch] * 9 for name, epoch in turned.items()}
    findings = claim.findings(by_seed(done(**of_muon, **of_adamw)))
    assert {one.n for one in findings} == {0, 9}


@pytest.mark.parametrize(("first", "second", "found"), [
    (6.0, 3.0, 2.0),
    (Bounds(6.0, math.inf), 2.0, Bounds(3.0, math.inf)),
    (6.0, Bounds(0.0, 3.0), Bounds(2.0, math.inf)),
    (6.0, Bounds(2.0, math.inf), Bounds(0.0, 3.0)),
])  # fmt: skip
def test_the_quotient_of_values_that_may_have_bounds(first, second, found):
    assert statistics.quotient(first, second) == found
