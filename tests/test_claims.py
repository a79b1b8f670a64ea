"""Verdicts follow their rules: known numbers, bounds of what was not seen, and too few seeds."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grokinterp.audit import statistics as epochs
from grokinterp.audit.claim import INTERVALS, Bounds, above, below, every, verdict_of
from grokinterp.config import RunConfig
from grokinterp.experiments import EXPERIMENTS
from grokinterp.experiments.experiment import Planned
from grokinterp.experiments.verdicts import numbers
from grokinterp.grokking import Crossing
from grokinterp.runs import Run


class MadeRun(Run):
    """A run whose test accuracy reaches 1 at an epoch, or not within its 1,000 epochs."""

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


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ([2.0, 3.0, 2.5, 4.0, 2.2], "supported"),
        ([0.2, 0.3, 0.5, 0.4, 0.1], "contradicted"),
        ([2.0, 3.0, 0.5, 0.4, 2.2], "undecided"),
        ([2.0, 3.0], "supported"),
        ([2.0], "undecided"),
        ([], "undecided"),
        ([2.0, float("nan")], "undecided"),
        ([1.0, 1.0], "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval_and_two_seeds(values, verdict):
    found = above("ratio", values, 1.0)
    assert found.verdict == verdict
    mirrored = below("ratio", [-v for v in values], -1.0)
    assert mirrored.verdict == verdict
    if found.values:
        low, high = found.interval
        assert mirrored.interval == (-high, -low)
        assert mirrored.estimate[0] == -found.estimate[0]


def test_the_interval_is_the_bootstrap_s_of_the_median():
    found = above("nine seeds", np.arange(9.0))
    assert (found.estimate, found.interval) == ((4.0, 4.0), (1.0, 7.0))
    assert found.verdict == "supported"


@pytest.mark.parametrize("seeds", [2, 3, 4, 5])
def test_the_range_of_few_seeds_holds_the_median_as_often_as_is_said(seeds):
    made = np.random.default_rng(0).normal(size=(4000, seeds))
    assert above("one", made[0]).interval == (made[0].min(), made[0].max())
    holds = np.mean((made.min(axis=1) < 0) & (made.max(axis=1) > 0))
    said = re.search(rf"(\d+)% \({seeds}\)", INTERVALS)
    assert holds == pytest.approx(int(said[1]) / 100, abs=0.03)


def test_every_seed_must_agree():
    assert every("seen", [True, True]).verdict == "supported"
    assert every("seen", [False, False, False]).verdict == "contradicted"
    assert every("seen", [True] * 8 + [False]).verdict == "undecided"
    assert every("seen", [True, None]).verdict == "undecided"
    assert every("seen", [True]).verdict == "undecided"
    assert numbers(every("seen", [True, True, False])) == "in 2 of 3"


def test_a_claim_falls_with_one_finding_and_stands_with_all():
    yes, no, open_ = (above("a", values) for values in ([1.0, 2.0], [-1.0, -2.0], [1.0, -2.0]))
    assert verdict_of([yes, yes]) == "supported"
    assert verdict_of([yes, open_]) == "undecided"
    assert verdict_of([open_, no, yes]) == "contradicted"
    assert verdict_of([]) == "undecided"


def test_ratios_are_paired_by_seed_and_bounded_where_nothing_was_seen():
    runs = epochs.by_seed(done(off=[800, None, None, 400], pre=[200, 250, None, None]))
    found = epochs.ratios(runs, "off", "pre")
    assert found == [4.0, Bounds(4.0, np.inf), Bounds(0.0, np.inf), Bounds(0.0, 0.4)]
    assert epochs.ratios(epochs.by_seed(done(off=[800])), "off", "pre") == []


def test_a_bound_is_judged_by_its_farther_end():
    inf = np.inf
    assert above("ratio", [Bounds(3.0, inf), 4.0], 2.0).verdict == "supported"
    assert above("ratio", [Bounds(1.5, inf), Bounds(1.6, inf)], 2.0).verdict == "undecided"
    assert above("ratio", [Bounds(0, 10.0), Bounds(0, 9.0)], 2.0).verdict == "undecided"
    assert above("ratio", [Bounds(0, 0.5), Bounds(0, 0.6)], 2.0).verdict == "contradicted"
    assert below("ratio", [Bounds(3.0, inf), Bounds(4.0, inf)], 2.0).verdict == "contradicted"
    assert below("ratio", [Bounds(0, 3.0), Bounds(0, 4.0)], 2.0).verdict == "undecided"
    # A seed that may lie on either side stays, and keeps the others from deciding.
    assert above("ratio", [Bounds(10 / 6, inf), 1.5, 1.6], 2.0).verdict == "undecided"


def test_a_bound_is_not_printed_as_a_number():
    assert numbers(above("ratio", [Bounds(1.5, np.inf)])) == "≥ 1.5"
    assert numbers(above("ratio", [2.0, Bounds(4.0, np.inf)])) == "≥ 3 [2, inf]"
    assert numbers(above("ratio", [Bounds(-1.0, 1.0)])) == "-1 to 1"


def test_places_of_what_was_not_looked_for_so_long_are_unknown():
    seen, later, short = Crossing(90, 100), Crossing(1000, None), Crossing(50, None)
    assert epochs.places([seen, later]) == [100.0, np.inf]
    assert np.isnan(epochs.places([seen, short])[1])


def test_trends_order_what_was_not_seen_last():
    settings = {"a": 0.1, "b": 0.5, "c": 1.0}
    runs = epochs.by_seed(done(a=[None, 300, None], b=[900, 500, None], c=[400, 700, None]))
    assert epochs.trends(runs, settings) == [-1.0, 1.0, Bounds(-1.0, 1.0)]
    assert epochs.over(runs, settings) == ""
    assert epochs.trends(epochs.by_seed(done(a=[1], b=[2])), settings) == []


def test_trends_are_over_what_every_seed_has():
    settings = {"a": 0.1, "b": 0.5, "c": 1.0, "d": 2.0}
    runs = epochs.by_seed(done(a=[100, 300], b=[200, 500], c=[400, 700], d=[50]))
    assert epochs.trends(runs, settings) == [1.0, 1.0]
    assert epochs.over(runs, settings) == " (a; b; c so far)"


def test_agreements_compare_two_orders():
    runs = epochs.by_seed(done(a=[100, 300], b=[200, 200], c=[None, 100]))

    def same(run):
        return run.grokking.generalised

    def reverse(run):
        by = run.grokking.generalised.by
        return Crossing(0, 1) if by is None else Crossing(0, 2000 - by)

    assert epochs.agreements(runs, "abc", same) == [1.0, 1.0]
    assert epochs.agreements(runs, "abc", reverse) == [-1.0, -1.0]
    assert epochs.agreements(runs, "abcd", same) == []


def test_not_within_is_unknown_of_a_run_that_is_too_short():
    runs = epochs.by_seed(done(a=[None, 500, 990]))
    assert epochs.not_within(runs, "a", 600) == [True, False, True]
    assert epochs.not_within(runs, "a", 10_000) == [None, False, False]


def test_a_mean_between_events_takes_their_epochs():
    run = MadeRun(0, 200)
    assert epochs.mean_while(
        run, "made", "value", Crossing(90, 100), Crossing(190, 200)
    ) == pytest.approx(1.5)
    assert epochs.mean_while(run, "made", "value", Crossing(980, 990)) == pytest.approx(9.95)
    assert np.isnan(epochs.mean_while(run, "made", "value", Crossing(1000, None)))


def test_while_memorising_none_is_general_and_all_know_the_pairs():
    first, second, third = MadeRun(0, 200), MadeRun(0, None), MadeRun(0, 500)
    assert epochs.while_memorising([first, second, third]) == (100, 200)
    third.table["train_accuracy"] = 0.0
    assert epochs.while_memorising([first, third]) is None


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


@pytest.mark.parametrize("name", [name for name, one in EXPERIMENTS.items() if one.claims])
def test_without_runs_a_claim_is_undecided(name):
    for claim in EXPERIMENTS[name].claims:
        findings = claim.test([])
        assert findings
        assert verdict_of(findings) == "undecided"


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
    assert verdict_of(order.test(done(**{k: [v, v] for k, v in epochs_of.items()}))) == verdict


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.0, "supported"), (-1.0, "contradicted"), (0.0, "undecided")]
)
def test_learning_rates_are_judged_by_made_runs(factor, verdict):
    [claim] = EXPERIMENTS["learning-rate"].claims
    labels = ("lr 0.001", "lr 0.003", "lr 0.005", "lr 0.01")
    made = {label: [500 - round(100 * i * factor)] * 2 for i, label in enumerate(labels)}
    assert verdict_of(claim.test(done(**made))) == verdict
