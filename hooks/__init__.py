"""Interventions on a HookedTransformer: small frozen objects that compose.

with grokinterp.hooks.applied(model, [UnitNorm("mlp")]):
    logits = model(tokens)
"""

from grokinterp.hooks.intervention import INTERVENTIONS, Intervention, applied
from grokinterp.hooks.ln import RemoveNorm, ShuffleNorm, UnitNorm

__all__ = ["INTERVENTIONS", "Intervention", "RemoveNorm", "ShuffleNorm", "UnitNorm", "applied"]
