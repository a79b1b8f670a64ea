"""The interventions on norms, in every placement and on every pathway, the readout included."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import EVERY_PLACEMENT, TASK, TOKENS, perturbed_model, small_config
from grokinterp.hooks import (
    CenterOnly,
    DropGainAndBias,
    FreezeScale,
    InsertNorm,
    Intervention,
    RemoveNorm,
    ShuffleNorm,
    UnitNorm,
    applied,
)
from grokinterp.hooks.intervention import collect_hooks
from grokinterp.hooks.pathway import INPUT_HOOKS, RESIDUAL_HOOKS
from lens import plain_model
from torch import Tensor

from grokinterp.model.build import build_model
from grokinterp.placement import PATHWAYS, LNPlacement, resolve_placement

ANYWHERE = (UnitNorm, RemoveNorm, ShuffleNorm, InsertNorm, CenterOnly)
OF_A_NORM = (FreezeScale, DropGainAndBias)
WEIGHTS = {
    "q": "blocks.1.attn.W_Q",
    "k": "blocks.1.attn.W_K",
    "v": "blocks.1.attn.W_V",
    "mlp": "blocks.1.mlp.W_in",
    "final": "unembed.W_U",
}
every_pathway = pytest.mark.parametrize("pathway", [*INPUT_HOOKS])
every_norm = pytest.mark.parametrize("norm", ["layer", "rms"])


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-12)


def normed_model(norm: str = "layer", **options):
    return perturbed_model(small_config("pre", final_norm="learned", norm=norm, **options))


def parts(model, pathway: str, cache, layer: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the pathway's norm divides, its scale, its gain and its bias, from its own hooks."""
    name = {"mlp": f"blocks.{layer}.ln2", "final": "ln_final"}.get(pathway, f"blocks.{layer}.ln1")
    norm = model.get_submodule(name)
    residual = cache[RESIDUAL_HOOKS[pathway].format(layer=layer)]
    bias = getattr(norm, "b", torch.zeros(8, dtype=torch.float64))
    x = residual - residual.mean(-1, keepdim=True) if hasattr(norm, "b") else residual
    return x, cache[f"{name}.hook_scale"], norm.w, bias


@pytest.mark.parametrize("kind", [*ANYWHERE, *OF_A_NORM])
@every_pathway
def test_in_the_last_layer_a_pathway_that_nothing_reads_changes_nothing(
    kind: type[Intervention], pathway: str
) -> None:
    model = normed_model(n_layers=2)
    with torch.no_grad():
        for layer in (0, 1):
            model.get_parameter(WEIGHTS[pathway].replace("1", str(layer))).zero_()
    intact, before = model.run_with_cache(TOKENS)
    with applied(model, [kind(pathway)]):
        logits, after = model.run_with_cache(TOKENS)
    assert torch.equal(logits, intact)
    name = INPUT_HOOKS[pathway].format(layer=1)
    assert not torch.allclose(after[name], before[name])
    changed = {hook for hook in before if not torch.equal(before[hook], after[hook])}
    assert changed == {INPUT_HOOKS[pathway].format(layer=layer) for layer in (0, 1)}


@every_norm
@every_pathway
def test_a_frozen_scale_makes_the_norm_linear(pathway: str, norm: str) -> None:
    model = normed_model(norm)
    intact, cache = model.run_with_cache(TOKENS)
    x, scale, gain, bias = parts(model, pathway, cache)
    name = INPUT_HOOKS[pathway].format(layer=0)
    per_position = (0.5, 1.5, 2.5)
    column = torch.tensor(per_position, dtype=torch.float64)[:, None]
    for to, divisor in (("mean", scale.mean(0)), (2, 2.0), (per_position, column)):
        with applied(model, [FreezeScale(pathway, to)]):
            _, after = model.run_with_cache(TOKENS)
        close(after[name], x / divisor * gain + bias)
        # The formula from the input itself and the remembered scale.
        close(after[name], (cache[name] - bias) * scale / divisor + bias)
        # Only this pathway: the others read what they read, though q, k and v share a norm.
        for other in {"q", "k", "v"} - {pathway}:
            hook = INPUT_HOOKS[other].format(layer=0)
            assert torch.equal(after[hook], cache[hook])
    # Frozen to its own scales, the norm is what it was, bit for bit.
    with applied(model, [FreezeScale.like(model, TOKENS, pathway)]):
        assert torch.equal(model(TOKENS), intact)


@every_pathway
def test_the_scale_of_another_checkpoint(pathway: str) -> None:
    model = normed_model(n_layers=2)
    other = perturbed_model(small_config("pre", final_norm="learned", n_layers=2), seed=5)
    _, cache = model.run_with_cache(TOKENS)
    _, theirs = other.run_with_cache(TOKENS)
    layer = 1 if pathway == "final" else 0
    x, scale, gain, bias = parts(model, pathway, cache, layer)
    _, other_scale, _, _ = parts(other, pathway, theirs, layer)
    with applied(model, [FreezeScale.like(other, TOKENS, pathway)]):
        _, after = model.run_with_cache(TOKENS)
    close(after[INPUT_HOOKS[pathway].format(layer=layer)], x / other_scale * gain + bias)
    assert not torch.allclose(scale, other_scale)
    with (
        pytest.raises(ValueError, match="scales of 25 examples at 3 positions; this pass has 4"),
        applied(model, [FreezeScale.like(other, TOKENS, pathway)]),
    ):
        model(TOKENS[:4])


@every_norm
@every_pathway
def test_without_gain_and_bias(pathway: str, norm: str) -> None:
    model = normed_model(norm)
    _, cache = model.run_with_cache(TOKENS)
    x, scale, _, _ = parts(model, pathway, cache)
    with applied(model, [DropGainAndBias(pathway)]):
        _, after = model.run_with_cache(TOKENS)
    close(after[INPUT_HOOKS[pathway].format(layer=0)], x / scale)
    # With gain 1 and bias 0 in the model there is nothing to drop.
    plain = build_model(small_config("pre", final_norm="learned", norm=norm), TASK, dtype="float64")
    intact = plain(TOKENS)
    with applied(plain, [DropGainAndBias(pathway)]):
        assert torch.equal(plain(TOKENS), intact)


@every_norm
@pytest.mark.parametrize(
    ("placement", "pathway"),
    [
        *(("off", pathway) for pathway in PATHWAYS),
        *(("mlp-pre", pathway) for pathway in "qkv"),
        *(("attn-pre-v", pathway) for pathway in ("q", "k", "mlp")),
    ],
)
def test_inserting_a_norm_gives_the_placement_with_it(
    placement: str, pathway: str, norm: str
) -> None:
    kept = {path: getattr(resolve_placement(placement), path) for path in PATHWAYS}
    model = perturbed_model(small_config(placement, n_layers=2, norm=norm))
    with_it = LNPlacement(**(kept | {pathway: True})).name
    other = build_model(small_config(with_it, n_layers=2, norm=norm), TASK, dtype="float64")
    shared = {"q": "ln1", "k": "ln1", "v": "ln1", "mlp": "ln2"}[pathway]
    state = {n: v for n, v in model.state_dict().items() if n in other.state_dict()}
    if any(f".{shared}." in name for name in state):
        for name in [name for name in state if f".{shared}." in name]:
            state[name] = torch.full_like(state[name], 1.0 if name.endswith("w") else 0.0)
        model.load_state_dict(state, strict=False)
    other.load_state_dict(state, strict=False)
    intact = model(TOKENS)
    with applied(model, [InsertNorm(pathway, norm)]):
        close(model(TOKENS), other(TOKENS))
    assert not torch.allclose(other(TOKENS), intact)


def test_the_readout_is_a_pathway() -> None:
    model = perturbed_model(small_config("mlp-pre"))
    intact, cache = model.run_with_cache(TOKENS)
    residual = cache["resid_post", 0]
    centred = residual - residual.mean(-1, keepdim=True)
    read = {
        UnitNorm("final"): F.normalize(residual, dim=-1),
        InsertNorm("final"): F.layer_norm(residual, (8,), eps=0),
        InsertNorm("final", "rms"): residual / residual.square().mean(-1, keepdim=True).sqrt(),
        CenterOnly("final"): centred,
        RemoveNorm("final"): residual,
    }
    for item, expected in read.items():
        with applied(model, [item]):
            close(model(TOKENS), expected @ model.W_U)
    with applied(model, [RemoveNorm("final")]):
        assert torch.equal(model(TOKENS), intact)
    normed = normed_model()
    _, cache = normed.run_with_cache(TOKENS)
    with applied(normed, [RemoveNorm("final")]):
        close(normed(TOKENS), cache["resid_post", 0] @ normed.W_U)


@pytest.mark.parametrize("kind", OF_A_NORM)
@every_pathway
@pytest.mark.parametrize("placement", EVERY_PLACEMENT)
def test_a_norm_that_is_not_there_is_named_and_nothing_is_attached(
    placement: str, pathway: str, kind: type[Intervention]
) -> None:
    model = perturbed_model(small_config(placement))
    has = pathway != "final" and getattr(resolve_placement(placement), pathway)
    if has:
        with applied(model, [kind(pathway)]):
            assert bool(model(TOKENS).isfinite().all())
        return
    intact = model(TOKENS)
    there = [p for p in PATHWAYS if getattr(resolve_placement(placement), p)]
    expected = (
        f"{kind.__name__} needs a norm at the {pathway} pathway, and this model has none there; "
        f"its pathways with a norm: {', '.join(there) or 'none'}"
    )
    with (
        pytest.raises(ValueError, match=f"^{expected}$"),
        applied(model, [UnitNorm("mlp"), kind(pathway)]),
    ):
        pass
    assert model.list_hooks() == {}
    assert torch.equal(model(TOKENS), intact)


@pytest.mark.parametrize("kind", ANYWHERE)
@every_pathway
@pytest.mark.parametrize("placement", ["off", "attn-pre-v", "post", "peri"])
def test_the_others_work_in_every_placement(
    placement: str, pathway: str, kind: type[Intervention]
) -> None:
    model = perturbed_model(small_config(placement, n_layers=2))
    with applied(model, [kind(pathway)]):
        assert bool(model(TOKENS).isfinite().all())
    assert kind(pathway).control(model) is None


@pytest.mark.parametrize("setting", ["split_qkv_input", "attn_in", "hook_mlp_in"])
@pytest.mark.parametrize("kind", [*ANYWHERE, *OF_A_NORM])
@pytest.mark.parametrize("pathway", PATHWAYS)
def test_transformer_lens_settings_do_not_change_what_they_do(
    kind: type[Intervention], pathway: str, setting: str
) -> None:
    model = normed_model()
    with applied(model, [kind(pathway)]):
        plain = model(TOKENS)
        getattr(model, f"set_use_{setting}")(True)
        close(model(TOKENS), plain)


def test_shuffled_norms_are_the_other_examples() -> None:
    model = normed_model()
    name = INPUT_HOOKS["mlp"].format(layer=0)
    _, before = model.run_with_cache(TOKENS)
    norms = []
    for seed in (0, 0, 1):
        with applied(model, [ShuffleNorm("mlp", seed)]):
            _, after = model.run_with_cache(TOKENS)
        norms.append(after[name].norm(dim=-1))
        close(F.normalize(after[name], dim=-1), F.normalize(before[name], dim=-1))
    own = before[name].norm(dim=-1)
    close(norms[0].sort(0).values, own.sort(0).values)
    assert torch.equal(norms[0], norms[1])
    assert not torch.allclose(norms[0], norms[2])
    # At a position whose norms all differ, every example has another's.
    assert bool((norms[0][:, 2] - own[:, 2]).abs().min() > 1e-9)


@pytest.mark.parametrize(
    ("to", "said"),
    [
        (0.0, "scale must be a finite number above 0; got 0.0"),
        (float("nan"), "above 0; got nan"),
        ("median", "unknown scale 'median'; give 'mean', a number"),
        ((1.0, -1.0, 1.0), "scales must be a finite number above 0; got -1.0"),
        (None, "above 0; got None"),
        (True, "above 0; got True"),
        ((), "a scale for each position; got none"),
    ],
)
def test_scales_that_are_none(to: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FreezeScale("mlp", to)


def test_scales_in_an_array_are_numbers() -> None:
    assert FreezeScale("mlp", np.array([1, 2, 3])) == FreezeScale("mlp", (1.0, 2.0, 3.0))
    assert FreezeScale("mlp", np.float32(2)) == FreezeScale("mlp", 2)


@pytest.mark.hooked_transformer
@pytest.mark.parametrize("kind", OF_A_NORM)
def test_a_model_of_transformer_lens_itself_is_told_what_is_missing(
    kind: type[Intervention],
) -> None:
    model = plain_model(n_layers=1, d_model=8, n_ctx=3, d_head=4, d_vocab=6, act_fn="relu", seed=0)
    with pytest.raises(ValueError, match="known in models of build_model alone"):
        collect_hooks(model, [kind("mlp")])
    # Each head has an input of its own then, and the pathway has no one input.
    model.set_use_attn_in(True)
    with pytest.raises(ValueError, match=r"has no hook 'blocks\.0\.attn\.hook_q_in'; close ones: "):
        collect_hooks(model, [UnitNorm("q")])


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ((1.0, 2.0), "has 2 scales, and the model has 3 positions"),
        (torch.ones(25, 3), r"must be \[layer, batch, pos\], here \[1, batch, 3\]; got \[25, 3\]"),
        (torch.ones(2, 25, 3), r"got \[2, 25, 3\]"),
        (torch.ones(1, 25, 4), r"got \[1, 25, 4\]"),
    ],
)
def test_scales_that_do_not_fit_the_model(to: object, said: str) -> None:
    model = normed_model()
    with pytest.raises(ValueError, match=said), applied(model, [FreezeScale("mlp", to)]):
        pass
    assert model.list_hooks() == {}


def test_the_norm_to_insert_is_a_layer_or_an_rms_norm(unchecked) -> None:
    with pytest.raises(ValueError, match="unknown norm 'batch'; choose one of layer, rms"):
        InsertNorm("mlp", "batch")
