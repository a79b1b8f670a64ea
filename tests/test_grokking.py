"""Grokking times on curves whose events are known."""

import pandas as pd
import pytest

from grokinterp.grokking import Crossing, Plateau, grokking_times, plateau


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


def moving(values, every=10):
    return pd.DataFrame({"epoch": [every * (i + 1) for i in range(len(values))], "x": values})


def test_a_plateau_begins_where_the_median_of_the_window_has_arrived():
    values = [10.0] * 50 + [2.0] * 60
    # A window holds 20 values: the median is 2 from the eleventh 2 on, between 10 and 2 at the
    # tenth.
    assert plateau(moving(values), "x") == Plateau(since=610, until=1_100)
    assert plateau(moving([3.0] * 30), "x") == Plateau(10, 300)


@pytest.mark.parametrize(("factor", "since"), [(1.04, 10), (1.12, 510)])
def test_a_plateau_is_5_percent_wide(factor, since):
    values = [factor] * 40 + [1.0] * 60
    assert plateau(moving(values), "x").since == since


def test_a_spike_is_no_movement():
    values = [1.0] * 100
    values[60] = values[70] = 50.0
    assert plateau(moving(values), "x") == Plateau(10, 1_000)


def test_what_has_just_arrived_still_moves():
    trend = [100.0 * 0.98**i for i in range(200)]
    assert plateau(moving(trend), "x") == Plateau(None, 2_000)
    assert str(plateau(moving(trend), "x")) == "still moving at 2,000"


def test_a_plateau_is_of_the_epochs_that_have_a_value():
    rows = moving([1.0, float("nan")] * 40)
    assert plateau(rows, "x") == Plateau(10, 790)
    with pytest.raises(ValueError, match="no recorded scalar 'y'; choose one of x"):
        plateau(rows, "y")
    with pytest.raises(ValueError, match="x was recorded at no epoch"):
        plateau(moving([float("nan")] * 3), "x")


def test_a_plateau_at_0_is_exactly_there():
    assert plateau(moving([1e-9] * 40 + [0.0] * 60), "x").since == 510


def test_what_ends_beyond_all_numbers_stands_nowhere():
    assert plateau(moving([1.0] * 50 + [float("inf")] * 50), "x") == Plateau(None, 1_000)
    assert plateau(moving([float("inf")] * 50 + [1.0] * 50), "x").since == 610
