"""A model that a training starts from computes what its config's does, or is refused by name."""

from dataclasses import replace

import grokinterp.hooks as gh
import pytest
import torch
from cases import EVERY_PLACEMENT
from lens import plain_model
from runs_cases import SMALL_RUN, with_model, with_recipe

import grokinterp as gi
from grokinterp.model.build import build_model
from grokinterp.model.difference import differences
from grokinterp.model.transformer import PlacedTransformer

DEEP = with_model(n_layers=2, placement="off")


def model_of(config: gi.RunConfig, seed=3, dtype="float32", **changes) -> PlacedTransformer:
    return build_model(replace(config.model, **changes), config.task, seed, dtype)


def plain(n_layers=2, **changes):
    """TransformerLens's own model of DEEP's shapes."""
    options = {
        "n_layers": n_layers,
        "d_model": 8,
        "d_head": 4,
        "n_heads": 2,
        "d_mlp": 32,
        "n_ctx": 3,
        "d_vocab": 6,
        "d_vocab_out": 6,
        "act_fn": "relu",
        "attention_dir": "bidirectional",
        "normalization_type": None,
        "seed": 0,
    }
    return plain_model(**{**options, **changes})


OTHERS = {
    "activation": ({"act_fn": "gelu"}, "its act_fn is gelu and must be relu"),
    "mask": ({"attention_dir": "causal"}, "its attention_dir is causal and must be bidir"),
    "scale": ({"attn_scale": 1.0}, "its attention scale of layer 0 is 1 and must be 2"),
    "no scale": ({"use_attn_scale": False}, "its use_attn_scale is False and must be True"),
    "depth": ({"scale_attn_by_inverse_layer_idx": True}, "its scale_attn_by_inverse_layer_idx"),
    "softcap": ({"attn_scores_soft_cap": 1.0}, "its attn_scores_soft_cap is 1 and must be -1"),
    "logits": ({"output_logits_soft_cap": 5.0}, "its output_logits_soft_cap is 5 and must be"),
    "parallel": ({"parallel_attn_mlp": True}, "its parallel_attn_mlp is True and must be False"),
    "position": ({"positional_embedding_type": "shortformer"}, "its positional_embedding_type"),
}


@pytest.mark.hooked_transformer
@pytest.mark.parametrize("case", OTHERS)
def test_a_plain_model_that_computes_something_else_is_refused_by_name(tmp_path, case):
    options, sentence = OTHERS[case]
    model = plain(**options)
    with pytest.raises(ValueError, match=sentence) as refusal:
        gi.train([DEEP], store=tmp_path / "runs", init=model)
    assert "or the weights alone, by model.state_dict()" in str(refusal.value)
    assert not (tmp_path / "runs").exists()
    # The weights alone are a choice.
    [run] = gi.train(
        [with_recipe(DEEP, epochs=1)], store=tmp_path / "runs", init=model.state_dict()
    )
    assert torch.equal(run.model(0).W_E, model.W_E)


@pytest.mark.parametrize(
    ("ours", "theirs", "sentence"),
    [
        ({"placement": "pre"}, {"placement": "post"}, "its placement is post and must be pre"),
        ({"placement": "attn-pre"}, {"placement": "attn-pre-v"}, "its placement is attn-pre-v"),
        ({"readout_scale": 2.0}, {}, "its readout scale is 1 and must be 2"),
    ],
)
def test_a_model_of_another_config_is_refused_by_name(tmp_path, ours, theirs, sentence):
    with pytest.raises(ValueError, match=sentence):
        gi.train([with_model(**ours)], store=tmp_path, init=model_of(SMALL_RUN, **theirs))


@pytest.mark.parametrize("norm", ["ln1", "ln2"])
def test_another_eps_is_refused_by_name(norm):
    model, expected = (model_of(SMALL_RUN, placement="pre") for _ in range(2))
    assert differences(model, expected) == []
    getattr(model.blocks[0], norm).eps = 1e-5
    assert differences(model, expected) == [f"its eps of {norm} is 1e-05 and must be 0"]


def test_whatever_is_not_described_shows_in_the_logits():
    model, expected = (model_of(SMALL_RUN, placement="pre") for _ in range(2))
    forward = model.blocks[0].mlp.forward
    model.blocks[0].mlp.forward = lambda x: 1.01 * forward(x)
    assert differences(model, expected) == ["it computes other logits with the same weights"]


@pytest.mark.parametrize("placement", EVERY_PLACEMENT)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_of_the_config_is_no_different(placement, dtype):
    config = with_model(placement=placement, n_layers=2, final_norm="learned")
    assert differences(model_of(config, dtype=dtype), model_of(config, seed=1)) == []


@pytest.mark.hooked_transformer
@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_plain_model_of_the_same_function_is_taken(tmp_path, n_layers):
    model = plain(n_layers)
    config = with_recipe(with_model(n_layers=n_layers, placement="off"), epochs=1)
    [run] = gi.train([config], store=tmp_path, init=model)
    tokens = run.snapshot(0).grid.tokens
    torch.testing.assert_close(run.model(0)(tokens), model(tokens))


def test_hooks_are_no_weights(tmp_path):
    config = with_recipe(interventions=(gh.UniformAttention(),))
    [run] = gi.train([config], store=tmp_path)
    attached = r"hooks are attached to it, at blocks\.0\.attn\.hook_pattern"
    with pytest.raises(ValueError, match=attached):
        gi.train([SMALL_RUN], store=tmp_path, init=run.model())
    [fork] = gi.train([SMALL_RUN], store=tmp_path, init=run.model(interventions=False))
    assert torch.equal(fork.model(0).W_E, run.model().W_E)


def test_weights_that_are_no_start_are_refused_by_name(tmp_path):
    weights = model_of(SMALL_RUN, final_norm="center-only").state_dict()
    config = with_model(final_norm="center-only")
    weights["ln_final.w"] = 2 * weights["ln_final.w"]
    with pytest.raises(ValueError, match=r"ln_final\.w must be 1 \(the config's final_norm is"):
        gi.train([config], store=tmp_path, init=weights)
    weights = model_of(SMALL_RUN).state_dict()
    weights["embed.W_E"][0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"init does not fit mlp-pre: embed\.W_E must be finite"):
        gi.train([SMALL_RUN], store=tmp_path, init=weights)
