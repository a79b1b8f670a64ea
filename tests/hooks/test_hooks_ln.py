import json

import pytest
import torch
from cases import EVERY_PLACEMENT, TASK, TOKENS, perturbed_model, small_config
from grokinterp.hooks import INTERVENTIONS, Intervention, RemoveNorm, UnitNorm, applied
from grokinterp.hooks.intervention import intervention_from_dict
from grokinterp.hooks.ln import INPUT_HOOKS
from torch import Tensor

from grokinterp.model.build import build_model
from grokinterp.placement import PATHWAYS, LNPlacement, resolve_placement

every_placement = pytest.mark.parametrize("placement", EVERY_PLACEMENT)
every_pathway = pytest.mark.parametrize("pathway", PATHWAYS)


class _Misspelt(Intervention):
    """Underscored, so that it does not enter INTERVENTIONS."""

    def hooks(self, model):
        return [("blocks.0.mlp.hook_inn", lambda x, hook: x)]


class _Failing(Intervention):
    def hooks(self, model):
        def fail(x: Tensor, hook) -> Tensor:
            raise RuntimeError("in the forward pass")

        return [("blocks.0.hook_resid_post", fail)]


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@every_pathway
@every_placement
def test_unit_norm_keeps_the_direction_and_takes_the_length(placement: str, pathway: str) -> None:
    model = perturbed_model(small_config(placement, n_layers=2))
    _, before = model.run_with_cache(TOKENS)
    with applied(model, [UnitNorm(pathway)]):
        _, after = model.run_with_cache(TOKENS)
    x, unit = (cache[INPUT_HOOKS[pathway].format(layer=0)] for cache in (before, after))
    close(unit * x.norm(dim=-1, keepdim=True), x)
    for layer in range(2):
        unit = after[INPUT_HOOKS[pathway].format(layer=layer)]
        close(unit.norm(dim=-1), torch.ones(TOKENS.shape, dtype=torch.float64))
    # The other pathways of the first block read what they read before.
    for other in set(PATHWAYS) - {pathway, "mlp"}:
        name = INPUT_HOOKS[other].format(layer=0)
        assert torch.equal(before[name], after[name])
    assert not torch.allclose(before["resid_post", 1], after["resid_post", 1])


@pytest.mark.parametrize("norm", ["layer", "rms"])
@every_pathway
@pytest.mark.parametrize(
    "placement", [name for name in EVERY_PLACEMENT if name not in ("post", "peri")]
)
def test_removing_a_norm_gives_the_placement_without_it(
    placement: str, pathway: str, norm: str
) -> None:
    model = perturbed_model(small_config(placement, n_layers=2, norm=norm))
    kept = {path: getattr(resolve_placement(placement), path) for path in PATHWAYS}
    without = LNPlacement(**(kept | {pathway: False})).name
    other = build_model(small_config(without, n_layers=2, norm=norm), TASK, dtype="float64")
    other.load_state_dict({n: v for n, v in model.state_dict().items() if n in other.state_dict()})
    intact = model(TOKENS)
    with applied(model, [RemoveNorm(pathway)]):
        removed = model(TOKENS)
    close(removed, other(TOKENS))
    # The negative control: a pathway without a norm is left as it is, bit for bit.
    assert torch.equal(removed, intact) == (not kept[pathway])


@every_pathway
def test_post_has_no_input_norm_to_remove_and_peri_has(pathway: str) -> None:
    for placement, unchanged in (("post", True), ("peri", False)):
        model = perturbed_model(small_config(placement))
        intact, cache = model.run_with_cache(TOKENS)
        with applied(model, [RemoveNorm(pathway)]):
            removed, after = model.run_with_cache(TOKENS)
        assert torch.equal(removed, intact) == unchanged
        residual = cache["resid_mid" if pathway == "mlp" else "resid_pre", 0]
        assert torch.equal(after[INPUT_HOOKS[pathway].format(layer=0)], residual)


@pytest.mark.parametrize("setting", ["split_qkv_input", "attn_in", "hook_mlp_in"])
@pytest.mark.parametrize("kind", [UnitNorm, RemoveNorm])
@every_pathway
def test_transformer_lens_settings_do_not_change_what_they_do(
    kind: type[Intervention], pathway: str, setting: str
) -> None:
    model = perturbed_model(small_config("pre"))
    with applied(model, [kind(pathway)]):
        plain = model(TOKENS)
        getattr(model, f"set_use_{setting}")(True)
        close(model(TOKENS), plain)


def test_interventions_compose_in_their_order() -> None:
    model = perturbed_model(small_config("pre"))
    with applied(model, [RemoveNorm(pathway) for pathway in PATHWAYS]):
        _, cache = model.run_with_cache(TOKENS)
    assert torch.equal(cache["blocks.0.mlp.hook_in"], cache["resid_mid", 0])
    assert torch.equal(cache["blocks.0.attn.hook_q_in"], cache["resid_pre", 0])
    with applied(model, [RemoveNorm("mlp"), UnitNorm("mlp")]):
        _, unit = model.run_with_cache(TOKENS)
    close(unit["blocks.0.mlp.hook_in"], torch.nn.functional.normalize(unit["resid_mid", 0], dim=-1))
    with applied(model, [UnitNorm("mlp"), RemoveNorm("mlp")]):
        _, last = model.run_with_cache(TOKENS)
    assert torch.equal(last["blocks.0.mlp.hook_in"], last["resid_mid", 0])


def test_interventions_leave_with_their_context_even_on_an_error() -> None:
    model = perturbed_model(small_config("pre"))
    intact = model(TOKENS)
    with applied(model, [UnitNorm("mlp")]) as same:
        assert same is model
        assert not torch.allclose(model(TOKENS), intact)
    assert torch.equal(model(TOKENS), intact)
    with pytest.raises(KeyError), applied(model, [UnitNorm("mlp"), RemoveNorm("q")]):
        raise KeyError
    assert torch.equal(model(TOKENS), intact)
    with pytest.raises(RuntimeError, match="forward pass"), applied(model, [_Failing()]):
        model(TOKENS)
    assert torch.equal(model(TOKENS), intact)


def test_an_unknown_hook_is_named_and_nothing_stays_attached() -> None:
    model = perturbed_model(small_config("pre"))
    intact = model(TOKENS)
    with (
        pytest.raises(ValueError, match=r"no hook 'blocks.0.mlp.hook_inn'.*blocks.0.mlp.hook_in"),
        applied(model, [UnitNorm("mlp"), _Misspelt()]),
    ):
        pass
    assert torch.equal(model(TOKENS), intact)


@pytest.mark.parametrize("kind", [UnitNorm, RemoveNorm])
def test_an_unknown_pathway_is_answered_with_the_choices(kind: type[Intervention]) -> None:
    with pytest.raises(ValueError, match="unknown pathway 'attn'; choose one of q, k, v, mlp"):
        kind("attn")


@pytest.mark.parametrize(("first", "last"), [(0, None), (5, 4), (-1, 3)])
def test_an_empty_span_is_refused(first: int, last: int | None) -> None:
    with pytest.raises(ValueError, match=f"from_epoch={first}, until_epoch={last}"):
        UnitNorm("mlp", from_epoch=first, until_epoch=last)


def test_the_span_includes_both_its_ends() -> None:
    span = UnitNorm("mlp", from_epoch=3, until_epoch=5)
    assert [epoch for epoch in range(1, 8) if span.active(epoch)] == [3, 4, 5]
    assert UnitNorm("mlp").active(1)
    assert UnitNorm("mlp").active(10**6)


@pytest.mark.parametrize("name", ["UnitNorm", "RemoveNorm"])
def test_json_round_trip(name: str) -> None:
    for item in (
        INTERVENTIONS[name]("v"),
        INTERVENTIONS[name]("mlp", from_epoch=2, until_epoch=7),
    ):
        data = json.loads(json.dumps(item.to_dict()))
        again = intervention_from_dict(data)
        assert type(again) is type(item)
        assert again == item
    with pytest.raises(ValueError, match=r"unknown intervention 'Norm'; choose .*RemoveNorm"):
        intervention_from_dict({"name": "Norm"})


def test_only_whole_classes_are_listed() -> None:
    assert INTERVENTIONS["UnitNorm"] is UnitNorm
    assert INTERVENTIONS["RemoveNorm"] is RemoveNorm
    assert not any(name.startswith("_") for name in INTERVENTIONS)
    with pytest.raises(TypeError, match=r"must define hooks\(model\)"):
        Intervention().hooks(None)
