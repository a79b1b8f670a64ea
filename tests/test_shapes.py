"""The shapes of annotations are checked while the tests run, and those of nothing else."""

from __future__ import annotations

import jaxtyping
import pytest
import torch
from jaxtyping import Float
from shapes import names_a_shape
from torch import Tensor

from grokinterp.model.linear import linear
from grokinterp.model.normalise import layer_norm
from grokinterp.model.parameters import is_trained

Row = Float[Tensor, " d_model"]


def by_a_name(x: Row) -> None: ...
def within(x: tuple[Row, ...] | None) -> None: ...
def returned() -> Float[Tensor, "a b"]: ...
def of_a_tensor(x: Tensor, n: int) -> bool: ...
def of_nothing(): ...


class Held:
    """One of each kind of method."""

    @property
    def as_property(self) -> Row: ...

    @staticmethod
    def static(x: Row) -> None: ...

    @classmethod
    def of_class(cls, x: int) -> None: ...


METHODS = vars(Held)


@pytest.mark.parametrize(
    "one", [by_a_name, within, returned, METHODS["as_property"], METHODS["static"]]
)
def test_what_names_a_shape_is_known(one: object) -> None:
    assert names_a_shape(one)


@pytest.mark.parametrize("one", [of_a_tensor, of_nothing, METHODS["of_class"]])
def test_what_names_none_is_known(one: object) -> None:
    assert not names_a_shape(one)


def test_the_package_s_shapes_are_checked_and_nothing_else_is() -> None:
    x, w, vector = torch.zeros(1, 5, 3), torch.zeros(1, 3, 2), torch.zeros(3)
    linear(x, w)
    with pytest.raises(jaxtyping.TypeCheckError):
        linear(x, torch.zeros(1, 4, 2))
    layer_norm(x, vector, vector, 1e-5)
    with pytest.raises(jaxtyping.TypeCheckError):  # By the name that its module gives the shape.
        layer_norm(x, torch.zeros(4), vector, 1e-5)
    assert not hasattr(is_trained, "__wrapped__")
    assert hasattr(linear, "__wrapped__")
