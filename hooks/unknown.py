"""A stored intervention that cannot be made here: its run stays readable, and only acting fails.

Its class is the user's own and has not been loaded, was edited since, or is of a later version.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from grokinterp.hooks.intervention import INTERVENTIONS, Intervention, intervention_from_dict

if TYPE_CHECKING:
    from transformer_lens import HookedTransformer


@dataclass(frozen=True)
class UnknownIntervention(Intervention, listed=False):  # type: ignore[call-arg]
    """What a run's config says of an intervention, and why it is no more than that here."""

    data: str
    """All that is stored of it, as JSON with sorted keys: what it is compared and hashed by."""
    reason: str = field(compare=False)

    def hooks(self, model: HookedTransformer) -> NoReturn:
        raise ValueError(self.reason)

    def to_dict(self) -> dict[str, Any]:
        """The stored data, so that the run's identity stays what it is."""
        return json.loads(self.data)

    def __repr__(self) -> str:
        return f"{self.to_dict()['name']} (unknown here)"


def stored_intervention(data: Mapping[str, Any]) -> Intervention:
    """The intervention that a stored run trained under, or an UnknownIntervention in its place.

    ValueError if these are not an intervention's data.
    """
    if not isinstance(data, Mapping) or not isinstance(data.get("name"), str):
        raise ValueError(f"an intervention is stored with its name; got {data!r}")
    try:
        return intervention_from_dict(data)
    except (TypeError, ValueError) as error:
        why = _unloaded(data) if data["name"] not in INTERVENTIONS else str(error)
    span = {name: data[name] for name in ("from_epoch", "until_epoch") if name in data}
    return UnknownIntervention(json.dumps(data, sort_keys=True), why, **span)


def _unloaded(data: Mapping[str, Any]) -> str:
    module = data.get("module")
    where = f", which {module} defined," if isinstance(module, str) else ""
    own = isinstance(module, str) and module != "__main__"
    file = f"{str(module).rpartition('.')[2]}.py" if own else "FILE"
    return (
        f"the intervention {data['name']}{where} is unknown here; give the file that defines it "
        f"(--load {file} on the command line, import it in Python) and read the run again, or "
        "upgrade grokinterp if a later version has it"
    )
