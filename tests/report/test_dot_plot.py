"""The dots of a claim's seeds."""

import math
import xml.etree.ElementTree as ET

import pytest

from grokinterp.audit.finding import UNKNOWN, Bounds, Finding, above, in_every_seed
from grokinterp.report.dot_plot import Axis, dot_plot


def test_dots_lie_where_their_values_do() -> None:
    ratio = above("ratio", 1.0, size=2.0)
    fresh = Finding(ratio, {1: 2.0, 2: 5.0, 3: 3.0}, "confirmatory")
    paper = Finding(ratio, {4: 1.5, 5: Bounds(4.0, math.inf), 6: UNKNOWN}, "exploratory")
    (first, second), axis = dot_plot([fresh, paper], ["fresh", "paper"])

    def x(value: float) -> str:
        # From 1, the null, to 5: 92 percent between edges of 4.
        return f"{round(4 + (value - 1) / 4 * 92, 2)}%"

    def drawn(svg: str, tag: str, kind: str, place: str) -> list[str]:
        found = ET.fromstring(svg).iter(tag)
        return [one.get(place, "") for one in found if one.get("class", "") == kind]

    assert drawn(first, "circle", "", "cx") == [x(2), x(5), x(3)]
    assert drawn(first, "line", "null", "x1") == [x(1)]
    assert drawn(first, "line", "bar", "x1") == [x(2)]
    assert drawn(first, "line", "median", "x1") == [x(3)]
    assert 'aria-label="fresh"' in first
    assert "<title>seed 2: 5</title>" in first
    # A bound is open and reaches to the edge; a seed without a value has no dot.
    assert drawn(second, "circle", "", "cx") == [x(1.5)]
    assert drawn(second, "circle", "open", "cx") == [x(4)]
    assert drawn(second, "line", "between", "x2") == ["100.0%"]
    assert "<title>seed 5: at least 4</title>" in second
    assert second.count("<title>") == 2
    ticks = ET.fromstring(axis).findall("text")
    assert [(one.text, one.get("x")) for one in ticks] == [(f"{v}", x(v)) for v in range(1, 6)]
    # One seed has no interval, and none no strip.
    (alone, nothing), _ = dot_plot([Finding(ratio, {1: 2.0}), Finding(ratio, {})], ["", ""])
    assert drawn(alone, "line", "interval", "x1") == []
    assert nothing == ""


def test_dots_that_are_close_do_not_hide_each_other() -> None:
    finding = Finding(above("ratio", 0.0), {1: 1.0, 2: 1.001, 3: 5.0, 4: 1.002})
    [strip], _ = dot_plot([finding], ["words"])
    places = [(one.get("cx"), one.get("cy")) for one in ET.fromstring(strip).iter("circle")]
    assert len({height for _, height in places[:2] + places[3:]}) == 3
    assert places[2][1] == "15"
    assert Axis([finding]).x(1.0) == pytest.approx(4 + 92 / 5)


def test_a_claim_about_every_seed_has_a_filled_dot_where_it_is_so() -> None:
    finding = Finding(in_every_seed("happens"), {1: 1.0, 2: 0.0, 3: Bounds(0, 1)})
    [strip], axis = dot_plot([finding], ["words"])
    kinds = [one.get("class") for one in ET.fromstring(strip).iter("circle")]
    assert kinds == [None, "open", "open"]
    said = [one.text for one in ET.fromstring(strip).iter("title")]
    assert said == ["seed 1: yes", "seed 3: not known", "seed 2: no"]
    assert axis == ""


def test_as_many_seeds_as_there_are_stay_inside() -> None:
    finding = Finding(in_every_seed("happens"), dict.fromkeys(range(40), 1.0))
    [strip], _ = dot_plot([finding], ["words"])
    places = [float(one.get("cx", "")[:-1]) for one in ET.fromstring(strip).iter("circle")]
    assert len(set(places)) == 40
    assert 0 < min(places) < max(places) < 100
