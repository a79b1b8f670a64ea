"""TransformerLens' own model, which its releases up to 3 have.

What is built with it is marked `hooked_transformer`.
"""

import warnings
from typing import Any

try:
    from transformer_lens import HookedTransformer, HookedTransformerConfig
except ImportError:  # TransformerLens 4
    HookedTransformer = HookedTransformerConfig = None  # type: ignore[assignment, misc]


def plain_model(**options: Any) -> Any:
    """A plain HookedTransformer, on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return HookedTransformer(HookedTransformerConfig(**{"device": "cpu", **options}))
