"""Interventions as text, as the command line gives them."""

import pytest
from grokinterp.hooks import (
    INTERVENTIONS,
    AblateHead,
    AblateNeurons,
    FilterFrequencies,
    FreezeScale,
    FrozenPattern,
    RemoveNorm,
    Temperature,
    UniformAttention,
    UnitNorm,
    parse_intervention,
)
from grokinterp.hooks.intervention import intervention_from_dict


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("UnitNorm:pathway=mlp", UnitNorm("mlp")),
        ("unit_norm:mlp", UnitNorm("mlp")),
        ("unit-norm: mlp", UnitNorm("mlp")),
        ("UNITNORM:'mlp'", UnitNorm("mlp")),
        (
            "AblateNeurons:neurons=(1,2,3),kind=mean",
            AblateNeurons((1, 2, 3), "mean"),
        ),
        ("ablate_neurons:[3, 1],mean, layer = 1", AblateNeurons((1, 3), "mean", 1)),
        ("ablate_neurons:5", AblateNeurons((5,))),
        ("ablate_head:1,resample,seed=4", AblateHead(1, "resample", seed=4)),
        (
            "remove_norm:mlp,from_epoch=500,until_epoch=900",
            RemoveNorm("mlp", from_epoch=500, until_epoch=900),
        ),
        ("remove_norm:mlp,until_epoch=none", RemoveNorm("mlp")),
        ("uniform_attention", UniformAttention()),
        ("uniform_attention:", UniformAttention()),
        ("UniformAttention:heads=(0,2),layer=None", UniformAttention(heads=(0, 2))),
        ("temperature:2", Temperature(2.0)),
        ("freeze_scale:q,to=(1,2,3)", FreezeScale("q", (1.0, 2.0, 3.0))),
        ("freeze_scale:q,mean", FreezeScale("q")),
        ("frozen_pattern:((0,.5,.5),(1,0,0))", FrozenPattern(((0, 0.5, 0.5), (1, 0, 0)))),
        (
            "filter_frequencies:blocks.0.mlp.hook_post,(1,2),keep=false",
            FilterFrequencies("blocks.0.mlp.hook_post", (1, 2), keep=False),
        ),
    ],
)
def test_text_and_what_it_means(text: str, expected) -> None:
    parsed = parse_intervention(text)
    assert type(parsed) is type(expected)
    assert parsed == expected
    assert parsed.to_dict() == expected.to_dict()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("UnitNorms:mlp", "unknown intervention 'UnitNorms'; close ones: UnitNorm.*; all: AblateH"),
        ("Nothing", "unknown intervention 'Nothing'; choose one of AblateHead, AblateNeurons"),
        ("", "unknown intervention ''; choose one of"),
        ("UnitNorm", "UnitNorm takes pathway, from_epoch, until_epoch; missing: pathway"),
        ("UnitNorm:mlp,foo=1", "takes pathway, from_epoch, until_epoch; unknown: foo"),
        ("UnitNorm:mlp,q", "cannot place 'q' in 'UnitNorm:mlp,q'"),
        ("UnitNorm:pathway=mlp,q", "cannot place 'q'"),
        ("UnitNorm:mlp,pathway=q", "pathway is given twice"),
        ("UnitNorm:attn", "unknown pathway 'attn'; choose one of q, k, v, mlp, final"),
        ("UnitNorm:mlp,from_epoch=soon", "needs integers 1 <= from_epoch <= until_epoch; got from"),
        ("AblateNeurons:some", "neurons must be integers"),
        ("AblateNeurons:(1,2", "neurons must be integers"),
        ("AblateHead:1,layer=none", "layer must be an integer of at least 0; got None"),
        ("Temperature:hot", "temperature must be a finite number above 0; got 'hot'"),
        ("Patch:hook_embed,3", r"source must be a tensor; got 3. Patch.from_model\("),
        ("FilterEmbedding:1,keep=1", "keep must be True or False; got 1"),
    ],
)
def test_text_that_means_nothing(unchecked, text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_intervention(text)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"name": "UnitNorm"}, "missing: pathway"),
        ({"name": "UnitNorm", "pathway": "mlp", "strength": 2}, "unknown: strength"),
        ({}, "unknown intervention None"),
    ],
)
def test_data_that_means_nothing(data: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        intervention_from_dict(data)


def test_no_two_names_read_alike() -> None:
    assert len({name.lower() for name in INTERVENTIONS}) == len(INTERVENTIONS)
