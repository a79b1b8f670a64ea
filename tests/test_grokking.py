"""Grokking times on curves whose events are known."""

import pandas as pd
import pytest

from grokinterp.grokking import Crossing, grokking_times


def curve(test_accuracy, train_accuracy=None, test_loss=None, every=10):
    n = len(test_accuracy)
    return pd.DataFrame(
        {
            "epoch": [every * (i + 1) for i in range(n)],
            "train_accuracy": train_accuracy or [1.0] * n,
            "test_accuracy": test_accuracy,
            "test_loss": test_loss or [1.0] * n,
        }
    )


def test_events_are_intervals_between_evaluated_epochs():
    times = grokking_times(curve([0.1, 0.994, 0.995, 1.0], [0.5, 0.989, 0.99, 1], [1, 1, 1, 0.01]))
    assert times.memorised == Crossing(20, 30)
    assert times.generalised == Crossing(20, 30)
    assert times.generalised_by_loss == Crossing(30, 40)


def test_the_first_evaluated_epoch_bounds_from_0():
    assert grokking_times(curve([1.0])).generalised == Crossing(0, 10)


def test_what_did_not_happen_is_censored_at_the_last_epoch():
    times = grokking_times(curve([0.1] * 7))
    assert times.generalised == times.generalised_by_loss == Crossing(70, None)
    assert str(times.generalised) == "not within 70"


def test_a_relapse_moves_generalised_for_good_behind_it():
    accuracy = [0.1, 1.0, 0.9, *[1.0] * 21]
    times = grokking_times(curve(accuracy))
    assert times.generalised == Crossing(10, 20)
    assert times.generalised_for_good == Crossing(30, 40)


@pytest.mark.parametrize(("tail", "held"), [(20, False), (21, True)])
def test_a_stretch_cut_short_by_the_end_has_not_held(tail, held):
    times = grokking_times(curve([0.1, *[1.0] * tail]))
    found = times.generalised_for_good
    assert (found.by is not None) == held
    # Either way it is known that the one evaluation before the stretch was too early.
    assert found.after == curve([0.1])["epoch"].iloc[0]


def test_no_rows_is_not_within_0_epochs():
    assert grokking_times(curve([])).memorised == Crossing(0, None)
