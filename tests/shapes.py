"""Shapes are checked while the tests run: where a function's annotations name one."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import jaxtyping


def check_shapes(modules: Iterable[str]) -> None:
    """From now on, functions of these modules are imported with their shapes checked.

    Only those whose annotations name a shape: jaxtyping's hook wraps every other function too, five
    calls of six, which took an eighth of the tests' time to check again what mypy reads.
    """
    of_all = jaxtyping.jaxtyped

    def jaxtyped(*, typechecker: Callable[..., Any]) -> Callable[[Any], Any]:
        def decorate(decorated: Any) -> Any:
            if isinstance(decorated, type) or names_a_shape(decorated):
                return of_all(typechecker=typechecker)(decorated)
            return decorated

        return decorate

    jaxtyping.jaxtyped = jaxtyped  # Which the hook writes above each function.
    jaxtyping.install_import_hook(list(modules), "beartype.beartype")


def names_a_shape(decorated: Any) -> bool:
    """Whether an annotation of this function, or of this property's, names a shape.

    By itself (`Float[Tensor, "n"]`), within another type, or by a name that its module gave one.
    """
    function = decorated.fget if isinstance(decorated, property) else decorated
    function = getattr(function, "__func__", function)  # Of a static method or a class's.
    written = " ".join(str(one) for one in function.__annotations__.values())
    names = (function.__globals__.get(name) for name in re.findall(r"[A-Za-z_]\w*", written))
    return "jaxtyping." in written or any("jaxtyping." in repr(one) for one in names)
