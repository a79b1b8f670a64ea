"""Interventions on a HookedTransformer: small frozen objects that compose.

They act for a while, in one pass or while a model trains, and are text on the command line.

    with grokinterp.hooks.applied(model, [UnitNorm("mlp"), AblateHead(2, kind="mean")]):
        logits = model(tokens)

    model.run_with_hooks(tokens, fwd_hooks=UnitNorm("mlp").hooks(model))
    TrainConfig(interventions=(RemoveNorm("mlp", from_epoch=500),))
    parse_intervention("AblateNeurons:neurons=(1,2,3),kind=mean")
"""

from grokinterp.hooks.attention import AblateHead, FrozenPattern, Temperature, UniformAttention
from grokinterp.hooks.controls import distinct_controls, random_controls
from grokinterp.hooks.fourier import FilterEmbedding, FilterFrequencies
from grokinterp.hooks.intervention import (
    INTERVENTIONS,
    Intervention,
    acting,
    applied,
    attach,
    intervention_from_dict,
    parse_intervention,
)
from grokinterp.hooks.ln import (
    CenterOnly,
    DropGainAndBias,
    InsertNorm,
    RemoveNorm,
    ShuffleNorm,
    UnitNorm,
)
from grokinterp.hooks.neurons import AblateNeurons
from grokinterp.hooks.patch import Patch, patching_table
from grokinterp.hooks.scale import FreezeScale
from grokinterp.hooks.unknown import UnknownIntervention

__all__ = [
    "INTERVENTIONS",
    "AblateHead",
    "AblateNeurons",
    "CenterOnly",
    "DropGainAndBias",
    "FilterEmbedding",
    "FilterFrequencies",
    "FreezeScale",
    "FrozenPattern",
    "InsertNorm",
    "Intervention",
    "Patch",
    "RemoveNorm",
    "ShuffleNorm",
    "Temperature",
    "UniformAttention",
    "UnitNorm",
    "UnknownIntervention",
    "acting",
    "applied",
    "attach",
    "distinct_controls",
    "intervention_from_dict",
    "parse_intervention",
    "patching_table",
    "random_controls",
]
