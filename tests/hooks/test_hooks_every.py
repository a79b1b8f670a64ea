"""What holds of every intervention: what it does, what it leaves, and that it can be undone."""

import json
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cases import LABELS, TASK, TOKENS, perturbed_model, small_config
from grokinterp.hooks import INTERVENTIONS, AblateNeurons, Intervention, applied
from grokinterp.hooks.intervention import intervention_from_dict
from grokinterp.hooks.replacement import donors
from torch import Tensor
from transformer_lens import ActivationCache

import grokinterp as gi
from grokinterp import hooks
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.store.state import RunState
from grokinterp.training.engine import train_together

MLP_IN, POST = "blocks.0.mlp.hook_in", "blocks.0.mlp.hook_post"
V_IN, Z = "blocks.0.attn.hook_v_in", "blocks.0.attn.hook_z"
PATTERN, SCORES = "blocks.0.attn.hook_pattern", "blocks.0.attn.hook_attn_scores"
EPOCHS = 6


@dataclass
class Case:
    """An intervention on the test's model, and what its hook then holds, written out."""

    intervention: Intervention
    hook: str
    expected: Callable[[ActivationCache, PlacedTransformer], Tensor]
    irrelevant: str
    """With this weight at zero, the logits do not depend on what the hook holds."""
    trains: bool = True


def perturbed() -> PlacedTransformer:
    return perturbed_model(small_config("pre", final_norm="learned"))


def centre(x: Tensor) -> Tensor:
    return x - x.mean(-1, keepdim=True)


def scale(x: Tensor) -> Tensor:
    return x.var(-1, unbiased=False, keepdim=True).sqrt()


def moved_norms(cache: ActivationCache, model: PlacedTransformer) -> Tensor:
    x = cache[MLP_IN]
    norm = x.norm(dim=-1, keepdim=True)
    return x / norm * norm[donors(len(x), 3, x.device)]


def linear_norm(cache: ActivationCache, model: PlacedTransformer) -> Tensor:
    x = centre(cache["resid_pre", 0])
    return x / scale(x).mean(0) * model.blocks[0].ln1.w + model.blocks[0].ln1.b


def without_neurons(cache: ActivationCache, model: PlacedTransformer) -> Tensor:
    x = cache[POST].clone()
    x[..., [1, 3]] = x[..., [1, 3]].mean(0)
    return x


def without_head(cache: ActivationCache, model: PlacedTransformer) -> Tensor:
    x = cache[Z].clone()
    x[:, :, 1] = 0
    return x


def frequency_1_of_w_e(cache: ActivationCache, model: PlacedTransformer) -> Tensor:
    spectrum = torch.fft.fft(model.W_E[:5], dim=0)
    spectrum[[2, 3]] = 0
    return torch.cat([torch.fft.ifft(spectrum, dim=0).real, model.W_E[5:]])[TOKENS]


def without_frequency_1(cache: ActivationCache, model: PlacedTransformer) -> Tensor:
    x = cache[POST]
    spectrum = torch.fft.fft2(x.reshape(5, 5, -1), dim=(0, 1))
    for i, j in [(i, j) for i in (0, 1, 4) for j in (0, 1, 4) if (i, j) != (0, 0)]:
        spectrum[i, j] = 0
    return torch.fft.ifft2(spectrum, dim=(0, 1)).real.reshape(x.shape)


def patched(cache: ActivationCache, model: PlacedTransformer) -> Tensor:
    x = cache[Z].clone()
    x[:, -1, 0] = x.flip(0)[:, -1, 0]
    return x


def cases() -> dict[str, Case]:
    """One for each class, by its name."""
    listed = [
        Case(
            hooks.UnitNorm("mlp"),
            MLP_IN,
            lambda cache, model: F.normalize(cache[MLP_IN], dim=-1),
            "blocks.0.mlp.W_in",
        ),
        Case(
            hooks.RemoveNorm("mlp"),
            MLP_IN,
            lambda cache, model: cache["resid_mid", 0],
            "blocks.0.mlp.W_in",
        ),
        Case(hooks.ShuffleNorm("mlp", seed=3), MLP_IN, moved_norms, "blocks.0.mlp.W_in"),
        Case(
            hooks.InsertNorm("mlp", "layer"),
            MLP_IN,
            lambda cache, model: F.layer_norm(cache[MLP_IN], (8,), eps=0),
            "blocks.0.mlp.W_in",
        ),
        Case(
            hooks.CenterOnly("mlp"),
            MLP_IN,
            lambda cache, model: centre(cache["resid_mid", 0]),
            "blocks.0.mlp.W_in",
        ),
        Case(
            hooks.DropGainAndBias("mlp"),
            MLP_IN,
            lambda cache, model: cache["blocks.0.ln2.hook_normalized"],
            "blocks.0.mlp.W_in",
        ),
        # Not q: the last position's query reads the same = in every example.
        Case(hooks.FreezeScale("v"), V_IN, linear_norm, "blocks.0.attn.W_V"),
        Case(
            hooks.UniformAttention(),
            PATTERN,
            lambda cache, model: torch.full_like(cache[PATTERN], 1 / 3),
            "blocks.0.attn.W_O",
        ),
        Case(
            hooks.FrozenPattern(),
            PATTERN,
            lambda cache, model: cache[PATTERN].mean(0).expand(25, 2, 3, 3),
            "blocks.0.attn.W_O",
        ),
        Case(
            hooks.Temperature(2.5),
            SCORES,
            lambda cache, model: cache[SCORES] / 2.5,
            "blocks.0.attn.W_O",
        ),
        Case(hooks.AblateHead(1), Z, without_head, "blocks.0.attn.W_O"),
        Case(hooks.AblateNeurons((3, 1), "mean"), POST, without_neurons, "blocks.0.mlp.W_out"),
        Case(
            hooks.FilterEmbedding((1,)),
            "hook_embed",
            frequency_1_of_w_e,
            "blocks.0.attn.W_O",
        ),
        Case(
            hooks.FilterFrequencies(POST, (1,), keep=False),
            POST,
            without_frequency_1,
            "blocks.0.mlp.W_out",
            trains=False,
        ),
        Case(
            hooks.Patch.from_model(Z, perturbed(), TOKENS.flip(0), positions=[-1], heads=[0]),
            Z,
            patched,
            "blocks.0.attn.W_O",
            trains=False,
        ),
    ]
    return {type(case.intervention).__name__: case for case in listed}


CASES = cases()
OURS = [name for name, cls in INTERVENTIONS.items() if cls.__module__.startswith("grokinterp.")]
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)
trainable = pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if case.trains],
    ids=[name for name, case in CASES.items() if case.trains],
)


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-12)


def loss(model: PlacedTransformer) -> Tensor:
    return F.cross_entropy(model(TOKENS)[:, -1], LABELS)


def test_every_intervention_has_a_case() -> None:
    assert set(OURS) == set(CASES), "give it a case, in cases() above"
    assert set(OURS) | {"INTERVENTIONS", "Intervention"} <= set(hooks.__all__)


@every_case
def test_its_hook_holds_what_it_says(case: Case) -> None:
    model = perturbed()
    intact, before = model.run_with_cache(TOKENS)
    with applied(model, [case.intervention]):
        logits, after = model.run_with_cache(TOKENS)
    close(after[case.hook], case.expected(before, model))
    # Negative control: it is not what was there, and the model's answer depends on it.
    assert not torch.allclose(after[case.hook], before[case.hook])
    assert not torch.allclose(logits[:, -1], intact[:, -1])
    # And by TransformerLens's own way of attaching functions.
    plain = model.run_with_hooks(TOKENS, fwd_hooks=case.intervention.hooks(model))
    assert torch.equal(plain, logits)


@every_case
def test_where_nothing_reads_its_hook_nothing_changes_bit_for_bit(case: Case) -> None:
    model = perturbed()
    with torch.no_grad():
        model.get_parameter(case.irrelevant).zero_()
    intact, before = model.run_with_cache(TOKENS)
    with applied(model, [case.intervention]):
        logits, after = model.run_with_cache(TOKENS)
    assert not torch.equal(after[case.hook], before[case.hook])
    assert torch.equal(logits[:, -1], intact[:, -1])


@every_case
def test_the_model_is_as_it_was_afterwards(case: Case) -> None:
    model = perturbed()
    intact = model(TOKENS)
    parameters = dict(model.named_parameters())
    values = {name: value.detach().clone() for name, value in parameters.items()}

    def check() -> None:
        assert model.list_hooks() == {}
        assert not any(module._forward_hooks for module in model.modules())
        assert [*model.named_parameters()] == [*parameters.items()]
        for name, value in model.named_parameters():
            assert value is parameters[name]
            assert torch.equal(value, values[name])
        assert torch.equal(model(TOKENS), intact)

    with applied(model, [case.intervention]):
        model(TOKENS)
        assert model.list_hooks() != {}
    check()

    def interrupt(x: Tensor, hook) -> None:
        raise KeyboardInterrupt

    with pytest.raises(ZeroDivisionError), applied(model, [case.intervention]):
        _ = 1 / 0
    check()

    with pytest.raises(KeyboardInterrupt), applied(model, [case.intervention]):
        model.run_with_hooks(TOKENS, fwd_hooks=[(case.hook, interrupt)])
    check()
    # The same functions, interrupted in the middle of a pass, work in the next.
    pairs = case.intervention.hooks(model)
    whole = model.run_with_hooks(TOKENS, fwd_hooks=pairs)
    with pytest.raises(KeyboardInterrupt):
        model.run_with_hooks(TOKENS.flip(0), fwd_hooks=[(case.hook, interrupt), *pairs])
    assert torch.equal(model.run_with_hooks(TOKENS, fwd_hooks=pairs), whole)


@every_case
def test_it_composes_with_another(case: Case) -> None:
    model = perturbed()
    _, before = model.run_with_cache(TOKENS)
    expected = case.expected(before, model)
    with applied(model, [case.intervention, AblateNeurons((0,))]):
        _, after = model.run_with_cache(TOKENS)
    assert bool((after[POST][..., 0] == 0).all())
    kept = slice(1, None) if case.hook == POST else slice(None)
    close(after[case.hook][..., kept], expected[..., kept])


@every_case
def test_gradients_under_it_are_those_of_finite_differences(case: Case) -> None:
    model = perturbed()
    parameters = [*model.parameters()]
    generator = torch.Generator().manual_seed(1)
    direction = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    step = 1e-6

    def move(length: float) -> None:
        with torch.no_grad():
            for parameter, along in zip(parameters, direction, strict=True):
                parameter += length * along

    with applied(model, [case.intervention]):
        gradient = torch.autograd.grad(
            loss(model), parameters, allow_unused=True, materialize_grads=True
        )
        move(step)
        above = loss(model).item()
        move(-2 * step)
        below = loss(model).item()
    assert all(bool(part.isfinite().all()) for part in gradient)
    slope = sum((g * d).sum().item() for g, d in zip(gradient, direction, strict=True))
    assert slope == pytest.approx((above - below) / (2 * step), rel=1e-6, abs=1e-8)
    move(step)
    intact = torch.autograd.grad(loss(model), parameters)
    assert any(
        not torch.allclose(ours, theirs) for ours, theirs in zip(gradient, intact, strict=True)
    )


@trainable
def test_json_round_trip_and_frozen(case: Case) -> None:
    item = replace(case.intervention, from_epoch=2, until_epoch=5)
    again = intervention_from_dict(json.loads(json.dumps(item.to_dict())))
    assert type(again) is type(item)
    assert again == item
    assert hash(again) == hash(item)
    assert again != case.intervention
    with pytest.raises(FrozenInstanceError):
        item.from_epoch = 3


def run_config(case: Case, seed: int, first: int, last: int | None) -> gi.RunConfig:
    recipe = gi.TrainConfig(
        epochs=EPOCHS,
        eval_every=1,
        checkpoint_every=None,
        dtype="float64",
        lr=1e-2,
        interventions=()
        if first == 0
        else (replace(case.intervention, from_epoch=first, until_epoch=last),),
    )
    model = small_config("pre", final_norm="learned")
    task = replace(TASK, test_fraction=0.4)
    return gi.RunConfig(task=task, model=model, train=recipe, seed=seed)


def start(config: gi.RunConfig) -> PlacedTransformer:
    model = gi.build_model(config.model, config.task, config.seed, "float64")
    return perturbed_like(model, config.seed)


def perturbed_like(model: PlacedTransformer, seed: int) -> PlacedTransformer:
    """Gains and biases off their initial values, where some interventions do nothing."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(
                parameter.shape, generator=generator, dtype=torch.float64
            )
    return model


def curves(configs: list[gi.RunConfig], width: int) -> list[list[dict[str, float]]]:
    starts = [{n: p.detach().clone() for n, p in start(c).named_parameters()} for c in configs]
    rows: list[list[dict[str, float]]] = [[] for _ in configs]
    states = [RunState.initial(weights) for weights in starts]
    for _, reports in train_together(configs, starts, states, width):
        for report in reports:
            rows[report.run].append(report.row)
    return rows


@trainable
def test_runs_trained_together_under_it_are_those_trained_alone(case: Case) -> None:
    configs = [run_config(case, seed, 3, 5) for seed in (1, 2, 3)]
    together = curves(configs, width=3)
    for config, rows in zip(configs, together, strict=True):
        [alone] = curves([config], width=1)
        assert len(rows) == EPOCHS
        for ours, theirs in zip(rows, alone, strict=True):
            assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
    # It acts from epoch 3 to 5, and on the weights of the run that is trained.
    [plain], [onwards] = (curves([run_config(case, 1, first, None)], width=1) for first in (0, 3))
    losses = [[row["train_loss"] for row in rows] for rows in (together[0], plain, onwards)]
    spanned, intact, longer = losses
    assert spanned[:2] == pytest.approx(intact[:2], rel=1e-10)
    assert spanned[2] != pytest.approx(intact[2], rel=1e-6)
    assert spanned[:5] == pytest.approx(longer[:5], rel=1e-10)
    assert spanned[5] != pytest.approx(longer[5], rel=1e-6)


@trainable
def test_the_first_loss_in_training_is_that_of_the_analysis(case: Case) -> None:
    configs = [run_config(case, seed, 1, None) for seed in (1, 2)]
    for config, rows in zip(configs, curves(configs, width=2), strict=True):
        model, split = start(config), config.task.split(config.seed)
        with applied(model, [case.intervention]), torch.no_grad():
            logits = model(split.train_tokens)[:, -1]
        expected = F.cross_entropy(logits, split.train_labels).item()
        assert rows[0]["train_loss"] == pytest.approx(expected, rel=1e-10)


def test_gi_train_takes_them_and_gives_them_back(tmp_path) -> None:
    spanned = tuple(
        replace(case.intervention, until_epoch=3) for case in CASES.values() if case.trains
    )
    config = run_config(CASES["UnitNorm"], 1, 1, None)
    config = replace(config, train=replace(config.train, interventions=spanned))
    [run] = gi.train([config], store=tmp_path)
    assert len(run.metrics) == EPOCHS
    [again] = gi.open_store(tmp_path).select(seed=1)
    assert again.config == config
    assert again.config.train.interventions == spanned


@pytest.mark.parametrize(
    "given",
    [
        hooks.UnitNorm("mlp"),
        hooks.UnitNorm,
        [hooks.UnitNorm],
        "UnitNorm:mlp",
        ["UnitNorm:mlp"],
        [None],
        None,
    ],
)
def test_what_is_no_list_of_interventions(given, unchecked) -> None:
    model = perturbed()
    with (
        pytest.raises(ValueError, match=r"must be a list of interventions, as in \[UnitNorm"),
        applied(model, given),
    ):
        pass
    assert model.list_hooks() == {}
    with pytest.raises(ValueError, match="interventions must "):
        gi.TrainConfig(epochs=1, interventions=given)


def test_what_is_no_model(unchecked) -> None:
    with (
        pytest.raises(ValueError, match=r"act on a HookedTransformer, .*; got Linear"),
        applied(torch.nn.Linear(1, 1), [hooks.UnitNorm("mlp")]),
    ):
        pass


def test_a_span_is_integers_of_any_kind(unchecked) -> None:
    span = hooks.UnitNorm("mlp", from_epoch=np.int64(2), until_epoch=np.int64(3))
    assert span == hooks.UnitNorm("mlp", from_epoch=2, until_epoch=3)
    assert type(span.from_epoch) is type(span.until_epoch) is int
    for wrong in ({"from_epoch": 0}, {"from_epoch": 1.0}, {"from_epoch": 3, "until_epoch": 2}):
        with pytest.raises(ValueError, match="span needs integers 1 <= from_epoch <= until_epoch"):
            hooks.UnitNorm("mlp", **wrong)


def test_what_holds_a_tensor_is_refused_in_training() -> None:
    model = perturbed()
    held = [
        CASES["Patch"].intervention,
        hooks.FreezeScale.like(model, TOKENS, "mlp"),
        hooks.FrozenPattern.like(model, TOKENS),
    ]
    for item in held:
        with pytest.raises(ValueError, match=r"holds a tensor .* for analysis.*FreezeScale"):
            run_config(Case(item, "", lambda *_: TOKENS, ""), 1, 1, None)
        assert hash(item) == hash(replace(item))
        assert item == replace(item)


def test_training_on_part_of_the_grid_under_a_grid_filter_is_refused() -> None:
    config = run_config(CASES["FilterFrequencies"], 1, 1, None)
    with pytest.raises(ValueError, match="needs all 25 pairs in row-major order"):
        curves([config], width=1)
