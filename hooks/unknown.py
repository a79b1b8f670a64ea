"""A stored intervention that cannot be made here: its run stays readable, and only acting fails.

Its class is the user's own and has not been loaded, was edited since, or is of a later version.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from grokinterp.hooks.intervention import Intervention

from grokinterp.component import Unknown, stored

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer


@dataclass(frozen=True, repr=False)
class UnknownIntervention(Unknown, Intervention, listed=False):  # type: ignore[call-arg]
    """What a run's config says of an intervention, and why it is no more than that here."""

    def hooks(self, model: HookedTransformer) -> NoReturn:
        raise ValueError(self.reason)


def stored_intervention(data: Mapping[str, Any]) -> Intervention:
    """The intervention that a stored run trained under, or an UnknownIntervention in its place.

    ValueError if these are not an intervention's data.
    """

    def unknown(text: str, reason: str) -> UnknownIntervention:
        span = {name: data[name] for name in ("from_epoch", "until_epoch") if name in data}
        return UnknownIntervention(text, reason, **span)

    return stored(Intervention, data, unknown)
