"""The model is a plain HookedTransformer: its features work, and it has the paper's parameters."""

import copy
import subprocess
import sys

import pytest
import torch
from cases import EVERY_PLACEMENT, TASK, TOKENS, perturbed_model, small_config
from torch import Tensor

from grokinterp.config import ModelConfig
from grokinterp.model.build import build_model
from grokinterp.model.parameters import is_norm
from grokinterp.task import ModularTask

OPTIONS = {
    "plain": {},
    "rms": {"norm": "rms"},
    "gated": {"gated_mlp": True},
    "tied": {"tied_unembedding": True},
    "final": {"final_norm": "learned"},
    "final-rms": {"final_norm": "learned", "norm": "rms"},
    "center-only": {"final_norm": "center-only"},
    "alpha": {"readout_scale": 1.5},
    "deep": {"n_layers": 2},
    "causal": {"causal": True, "n_layers": 2},
    "residues": {"answers": "p"},
    "tied-residues": {"answers": "p", "tied_unembedding": True},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
every_placement = pytest.mark.parametrize("placement", EVERY_PLACEMENT)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def expected_parameters(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The paper's parameters, written out for the small model: d_model 8, 2 heads, d_mlp 12."""
    attention = dict.fromkeys(["attn.W_Q", "attn.W_K", "attn.W_V"], (2, 8, 4))
    block = attention | {"attn.W_O": (2, 4, 8), "mlp.W_in": (8, 12), "mlp.b_in": (12,)}
    block |= {"mlp.W_out": (12, 8), "mlp.b_out": (8,)}
    if config.gated_mlp:
        block |= {"mlp.W_gate": (8, 12), "mlp.b_gate": (12,)}
    kinds = ("w", "b") if config.norm == "layer" else ("w",)
    block |= {f"{ln}.{kind}": (8,) for ln in config.ln.norm_names for kind in kinds}
    shapes = {"embed.W_E": (6, 8), "pos_embed.W_pos": (3, 8)}
    for layer in range(config.n_layers):
        shapes |= {f"blocks.{layer}.{name}": shape for name, shape in block.items()}
    if not config.tied_unembedding:
        shapes["unembed.W_U"] = (8, 6 if config.answers == "p+1" else 5)
    if config.final_norm != "none":
        shapes |= {f"ln_final.{kind}": (8,) for kind in kinds}
    return shapes


@every_option
@every_placement
def test_parameters_are_the_paper_s_and_no_others(placement: str, options: dict) -> None:
    config = small_config(placement, **options)
    model = build_model(config, TASK)
    assert {n: tuple(p.shape) for n, p in model.named_parameters()} == expected_parameters(config)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    center_only = config.final_norm == "center-only"
    assert frozen == ({"ln_final.w", "ln_final.b"} if center_only else set())
    buffers = dict(model.named_buffers())
    for layer in range(config.n_layers):
        for name in ("b_Q", "b_K", "b_V", "b_O"):
            assert (buffers[f"blocks.{layer}.attn.{name}"] == 0).all()
    assert (buffers["unembed.b_U"] == 0).all()


def test_the_paper_s_model_has_the_paper_s_size() -> None:
    # W_E and W_U, W_pos, four attention matrices, MLP and its biases, one norm.
    n = 2 * 114 * 128 + 3 * 128 + 4 * 128**2 + 2 * 128 * 512 + 512 + 128 + 2 * 128
    model = build_model(ModelConfig("mlp-pre"), ModularTask())
    assert sum(p.numel() for p in model.parameters()) == n


def test_building_is_quiet_and_touches_no_global_generator() -> None:
    # In a process of its own, for the checks of conftest draw from the global generator.
    code = f"""
import random, sys
import numpy, torch
from grokinterp.config import ModelConfig
from grokinterp.model.build import build_model
from grokinterp.task import ModularTask

def states():
    return random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

for options in {list(OPTIONS.values())}:
    before = states()
    build_model(ModelConfig("peri", d_model=8, **options), ModularTask(p=5), seed=3)
    assert states() == before, options
before = states()
random.random(), numpy.random.rand(), torch.rand(1)
assert all(one != other for one, other in zip(before, states()))
"""
    command = [sys.executable, "-P", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@every_option
def test_state_dict_round_trip(options: dict) -> None:
    config = small_config("pre", **options)
    one, other = perturbed_model(config, seed=0), perturbed_model(config, seed=1)
    assert not torch.equal(one(TOKENS), other(TOKENS))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(TOKENS), other(TOKENS))


@every_option
def test_a_deep_copy_is_equal_and_independent(options: dict) -> None:
    model = perturbed_model(small_config("pre", **options))
    logits = model(TOKENS)
    twin = copy.deepcopy(model)
    assert torch.equal(twin(TOKENS), logits)
    with torch.no_grad():
        twin.embed.W_E.mul_(1.5)
    if options.get("tied_unembedding"):
        close(twin.W_U, 1.5 * model.W_U)
    assert not torch.allclose(twin(TOKENS), logits)
    assert torch.equal(model(TOKENS), logits)


def test_a_tied_unembedding_is_the_embedding() -> None:
    model = perturbed_model(small_config("off", tied_unembedding=True))
    assert torch.equal(model.W_U, model.W_E.T)
    _, cache = model.run_with_cache(TOKENS)
    close(model(TOKENS), cache["resid_post", 0] @ model.W_E.T)
    model(TOKENS)[:, :, 5].sum().backward()
    # Token 5 is read at the last position alone, but through the readout it meets every row.
    assert (model.embed.W_E.grad != 0).all()


@pytest.mark.parametrize("setting", ["attn_result", "split_qkv_input", "attn_in", "hook_mlp_in"])
@every_placement
def test_transformer_lens_settings_leave_the_logits(placement: str, setting: str) -> None:
    model = perturbed_model(small_config(placement, n_layers=2))
    logits = model(TOKENS)
    getattr(model, f"set_use_{setting}")(True)
    again, cache = model.run_with_cache(TOKENS)
    close(again, logits)
    x = cache["resid_pre", 1][:, :, None].expand(-1, -1, 2, -1)
    if setting == "attn_result" and placement != "peri":
        close(cache["result", 1].sum(2), cache["attn_out", 1])
    elif setting == "split_qkv_input":
        for name in ("hook_q_input", "hook_k_input", "hook_v_input"):
            close(cache[f"blocks.1.{name}"], x)
    elif setting == "attn_in":
        close(cache["blocks.1.hook_attn_in"], x)
    elif setting == "hook_mlp_in":
        close(cache["blocks.1.hook_mlp_in"], cache["resid_mid", 1])


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_split_inputs_can_be_edited_for_one_head(norm: str) -> None:
    model = perturbed_model(small_config("pre", norm=norm))
    model.set_use_split_qkv_input(True)
    _, before = model.run_with_cache(TOKENS)

    def flip_head_1(x: Tensor, hook) -> Tensor:
        return torch.cat([x[:, :, :1], -x[:, :, 1:]], dim=2)

    with model.hooks(fwd_hooks=[("blocks.0.hook_q_input", flip_head_1)]):
        _, after = model.run_with_cache(TOKENS)
    assert torch.equal(after["q", 0][:, :, 0], before["q", 0][:, :, 0])
    assert not torch.allclose(after["q", 0][:, :, 1], before["q", 0][:, :, 1])
    assert torch.equal(after["k", 0], before["k", 0])


@pytest.mark.parametrize("placement", [name for name in EVERY_PLACEMENT if name != "post"])
@pytest.mark.parametrize("final_norm", ["none", "center-only"])
def test_cache_decompositions_add_up(placement: str, final_norm: str) -> None:
    model = perturbed_model(small_config(placement, n_layers=2, final_norm=final_norm))
    logits, cache = model.run_with_cache(TOKENS)
    stack = cache.decompose_resid(pos_slice=-1)
    close(stack.sum(0), cache["resid_post", 1][:, -1])
    answer = torch.arange(len(TOKENS)) % 6
    attributed = cache.logit_attrs(stack, tokens=answer, pos_slice=-1)
    close(attributed.sum(0), logits[:, -1].gather(1, answer[:, None])[:, 0])
    close(cache.accumulated_resid(layer=2, pos_slice=-1)[-1], cache["resid_post", 1][:, -1])
    if placement != "peri":  # There a norm follows the sum over heads.
        heads = cache.stack_head_results(pos_slice=-1)
        close(heads.sum(0), (cache["attn_out", 0] + cache["attn_out", 1])[:, -1])


def test_hooks_edit_the_forward_pass_and_leave_with_their_context() -> None:
    model = perturbed_model(small_config("pre"))
    logits = model(TOKENS)
    ablate = ("blocks.0.attn.hook_z", lambda z, hook: 0 * z)
    ablated = model.run_with_hooks(TOKENS, fwd_hooks=[ablate])
    with model.hooks(fwd_hooks=[ablate]):
        assert torch.equal(model(TOKENS), ablated)
    assert torch.equal(model(TOKENS), logits)
    with torch.no_grad():
        model.blocks[0].attn.W_O.zero_()
    close(model(TOKENS), ablated)
    assert not torch.allclose(ablated, logits)


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("placement", ["off", "mlp-pre", "pre", "post", "peri"])
def test_freeze_ln_freezes_the_norms_and_nothing_else(placement: str, norm: str) -> None:
    options = {"norm": norm, "final_norm": "learned"}
    model = build_model(small_config(placement, freeze_ln=True, **options), TASK)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    kinds = ("w", "b") if norm == "layer" else ("w",)
    norms = [f"blocks.0.{ln}" for ln in model.blocks[0].placement.norm_names] + ["ln_final"]
    assert frozen == {f"{name}.{kind}" for name in norms for kind in kinds}
    assert frozen == {name for name, _ in model.named_parameters() if is_norm(name)}
    free = build_model(small_config(placement, **options), TASK)
    assert torch.equal(model(TOKENS), free(TOKENS))


@pytest.mark.parametrize("gated_mlp", [False, True])
def test_freeze_mlp_biases_freezes_these_and_nothing_else(gated_mlp: bool) -> None:
    config = small_config("pre", freeze_mlp_biases=True, gated_mlp=gated_mlp)
    model = build_model(config, TASK)
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    expected = {"b_in", "b_out", "b_gate"} if gated_mlp else {"b_in", "b_out"}
    assert frozen == {f"blocks.0.mlp.{name}" for name in expected}


def test_a_causal_model_sees_no_later_token() -> None:
    """Its answers at a position do not depend on what comes after; the others' do."""
    later = TOKENS.clone()
    later[:, 1] = (later[:, 1] + 1) % TASK.p
    for causal in (True, False):
        model = perturbed_model(small_config("pre", causal=causal, n_layers=2))
        same = torch.equal(model(TOKENS)[:, 0], model(later)[:, 0])
        assert same is causal
