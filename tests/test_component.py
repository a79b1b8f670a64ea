"""What a user's own class must be, to be stored by its name and fields."""

import json
from dataclasses import dataclass, field, replace

import pytest
import torch
from grokinterp.hooks.intervention import Intervention

from grokinterp.config import RunConfig, TrainConfig
from grokinterp.custom_loss import Loss, UnknownLoss
from grokinterp.gradient_filter import GradientFilter, Grokfast, UnknownFilter


@pytest.fixture(autouse=True)
def as_before():
    """The classes of a test are known in it alone."""
    roots = (Loss, GradientFilter, Intervention)
    kept = [dict(root.classes) for root in roots]
    yield
    for root, classes in zip(roots, kept, strict=True):
        root.classes.clear()
        root.classes.update(classes)


def filter_of(**fields):
    """A filter with these fields, each of any value."""
    body = {"__annotations__": dict.fromkeys(fields, object), "__module__": __name__}
    return dataclass(frozen=True)(type("Own", (GradientFilter,), body))(**fields)


def by(part):
    return RunConfig(train=TrainConfig(gradient_filters=(part,)))


@pytest.mark.parametrize(
    "value", [torch.ones(2), [1, 2], {"a": 1}, {1, 2}, frozenset({1}), b"a", float("nan"), print]
)
def test_a_field_that_does_not_come_back_is_refused(value):
    with pytest.raises(ValueError, match="those of Own must be numbers, text, flags or tuples"):
        by(filter_of(value=value))


@pytest.mark.parametrize("value", [1, 0.5, "a", True, None, (1, 2), ((1, 2), ("a", (0.5,)))])
def test_a_field_that_comes_back_is_equal_and_hashed(value):
    config = by(filter_of(value=value))
    back = RunConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert (back, hash(back), back.id) == (config, hash(config), config.id)
    assert [type(one).__name__ for one in back.train.gradient_filters] == ["Own"]


@pytest.mark.parametrize("name", ["name", "definition", "module"])
def test_a_field_cannot_take_the_place_of_the_class_s_name(name):
    with pytest.raises(ValueError, match=f"Own cannot have a field called {name}"):
        by(filter_of(**{name: "x"}))


def test_what_is_no_field_would_not_tell_two_runs_apart():
    class Scaled(GradientFilter):
        def __init__(self, factor):
            object.__setattr__(self, "factor", factor)

    assert Scaled(1).to_dict() == Scaled(2).to_dict()
    with pytest.raises(ValueError, match="Scaled defines __init__; give it fields"):
        by(Scaled(1))


def test_a_field_that_is_computed_is_not_stored():
    @dataclass(frozen=True)
    class Doubled(GradientFilter):
        once: int = 1
        twice: int = field(init=False)

        def __post_init__(self):
            object.__setattr__(self, "twice", 2 * self.once)

    config = by(Doubled(3))
    [back] = RunConfig.from_dict(config.to_dict()).train.gradient_filters
    assert back.twice == 6
    with pytest.raises(ValueError, match="Doubled takes once; unknown: twice"):
        GradientFilter.parse("Doubled:twice=2")


@pytest.mark.parametrize(
    ("root", "name", "noun"),
    [(GradientFilter, "Grokfast", "a gradient filter"), (Intervention, "UnitNorm", "an interv")],
)
def test_a_class_does_not_take_the_name_of_the_package_s(root, name, noun):
    with pytest.raises(ValueError, match=f"{name} is {noun}"):
        type(name, (root,), {"__module__": __name__})
    assert root.classes[name].__module__.startswith("grokinterp.")
    assert GradientFilter.parse("grokfast") == Grokfast()


@pytest.mark.parametrize("value", [5, True, Grokfast, [5], [None], (Grokfast,)])
def test_what_is_no_filter_is_told_by_a_sentence(value):
    with pytest.raises(ValueError, match="gradient_filters must hold gradient filters, as in"):
        TrainConfig(gradient_filters=value)


def test_one_filter_s_data_are_that_filter():
    assert TrainConfig(gradient_filters={"name": "Grokfast", "alpha": 0.5}) == replace(
        TrainConfig(), gradient_filters=(Grokfast(0.5),)
    )


@pytest.mark.parametrize(
    "part",
    [UnknownFilter('{"name": "Own", "k": 1}', "not here"), UnknownLoss('{"name": "Own"}', "none")],
)
def test_what_is_unknown_is_named_and_not_spelt_out(part):
    assert repr(part) == "Own (unknown here)"
