import pytest
import torch
from cases import TOKENS, perturbed_model
from grokinterp.hooks import (
    AblateHead,
    AblateNeurons,
    FrozenPattern,
    Intervention,
    Temperature,
    UniformAttention,
    applied,
)
from torch import Tensor

from grokinterp.config import ModelConfig

PATTERN = "blocks.{}.attn.hook_pattern"


def model_of(n_layers: int = 1, seed: int = 0):
    config = ModelConfig("attn-pre", d_model=8, n_heads=4, d_mlp=12, n_layers=n_layers)
    return perturbed_model(config, seed)


def after(model, *items: Intervention):
    with applied(model, items):
        return model.run_with_cache(TOKENS)[1]


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    "kind", [lambda **o: UniformAttention(**o), lambda **o: FrozenPattern(**o)]
)
def test_chosen_heads_and_layers_alone(kind) -> None:
    model = model_of(n_layers=2)
    _, before = model.run_with_cache(TOKENS)
    changed = after(model, kind(layer=1, heads=(1, 3)))
    assert torch.equal(changed[PATTERN.format(0)], before[PATTERN.format(0)])
    ours, theirs = changed[PATTERN.format(1)], before[PATTERN.format(1)]
    assert torch.equal(ours[:, [0, 2]], theirs[:, [0, 2]])
    assert not torch.allclose(ours[:, [1, 3]], theirs[:, [1, 3]])
    every = after(model, kind())
    for layer in (0, 1):
        pattern = every[PATTERN.format(layer)]
        assert torch.allclose(pattern, pattern[:1])
        close(pattern.sum(-1), torch.ones(25, 4, 3, dtype=torch.float64))


def test_uniform_attention_moves_the_mean_of_the_values() -> None:
    cache = after(model_of(), UniformAttention())
    close(cache["z", 0], cache["v", 0].mean(1, keepdim=True).expand_as(cache["z", 0]))


def test_temperatures() -> None:
    model = model_of()
    _, before = model.run_with_cache(TOKENS)
    scores = before["blocks.0.attn.hook_attn_scores"]
    hot = after(model, Temperature(4, heads=(2,)))[PATTERN.format(0)]
    close(hot[:, 2], (scores[:, 2] / 4).softmax(-1))
    assert torch.equal(hot[:, :2], before[PATTERN.format(0)][:, :2])
    # The limits: uniform attention, and one key alone.
    close(
        after(model, Temperature(1e15))[PATTERN.format(0)],
        torch.full((25, 4, 3, 3), 1 / 3, dtype=torch.float64),
    )
    cold = after(model, Temperature(1e-12))[PATTERN.format(0)]
    assert torch.equal(cold.argmax(-1), scores.argmax(-1))
    close(cold.amax(-1), torch.ones(25, 4, 3, dtype=torch.float64))
    assert torch.equal(after(model, Temperature(1.0))[PATTERN.format(0)], before[PATTERN.format(0)])


def test_given_patterns() -> None:
    model = model_of()
    _, cache = model.run_with_cache(TOKENS)
    before = cache[PATTERN.format(0)]
    rows = ((0.0, 0.5, 0.5), (1.0, 0.0, 0.0))
    last = after(model, FrozenPattern(rows, heads=(1, 3)))[PATTERN.format(0)]
    for head, row in zip((1, 3), rows, strict=True):
        close(last[:, head, -1], torch.tensor(row, dtype=torch.float64).expand(25, 3))
    assert torch.equal(last[:, :, :-1], before[:, :, :-1])
    assert torch.equal(last[:, [0, 2]], before[:, [0, 2]])
    whole = ((rows[0], rows[1], rows[0]),) * 4
    full = after(model, FrozenPattern(whole))[PATTERN.format(0)]
    close(full, torch.tensor(whole, dtype=torch.float64).expand(25, 4, 3, 3))


def test_another_models_pattern() -> None:
    model, other = model_of(), model_of(seed=5)
    intact, before = model.run_with_cache(TOKENS)
    theirs = other.run_with_cache(TOKENS)[1][PATTERN.format(0)]
    ours = after(model, FrozenPattern.like(other, TOKENS, heads=(2,)))[PATTERN.format(0)]
    assert torch.equal(ours[:, 2], theirs[:, 2])
    assert torch.equal(ours[:, :2], before[PATTERN.format(0)][:, :2])
    constant = after(model, FrozenPattern(theirs.mean(0)))[PATTERN.format(0)]
    close(constant, theirs.mean(0).expand_as(theirs))
    # Its own pattern changes nothing, bit for bit.
    with applied(model, [FrozenPattern.like(model, TOKENS)]):
        assert torch.equal(model(TOKENS), intact)
    with (
        pytest.raises(ValueError, match="patterns of 25 examples; this pass has 4"),
        applied(model, [FrozenPattern.like(other, TOKENS)]),
    ):
        model(TOKENS[:4])


@pytest.mark.parametrize("kind", ["zero", "mean", "resample"])
def test_head_ablations(kind: str) -> None:
    model = model_of(n_layers=2)
    _, before = model.run_with_cache(TOKENS)
    z = before["z", 1]
    cache = after(model, AblateHead(2, kind, layer=1, seed=7))
    new = cache["z", 1]
    assert torch.equal(new[:, :, [0, 1, 3]], z[:, :, [0, 1, 3]])
    assert torch.equal(cache["z", 0], before["z", 0])
    if kind == "zero":
        assert bool((new[:, :, 2] == 0).all())
    elif kind == "mean":
        close(new[:, :, 2], z[:, :, 2].mean(0).expand(25, 3, 2))
    else:
        # Each example takes another's, whole, and each is taken once.
        taken = [int((z[:, :, 2] == row).flatten(1).all(1).nonzero()) for row in new[:, :, 2]]
        assert sorted(taken) == [*range(25)]
        assert all(other != own for own, other in enumerate(taken))
        again = after(model, AblateHead(2, kind, layer=1, seed=7))["z", 1]
        assert torch.equal(again, new)
        assert not torch.equal(after(model, AblateHead(2, kind, layer=1, seed=8))["z", 1], new)


def test_controls_are_other_heads_of_the_same_number() -> None:
    model = model_of()
    for seed in range(8):
        assert AblateHead(1, "mean").control(model, seed).head in (0, 2, 3)
        control = UniformAttention(heads=(0, 2)).control(model, seed)
        assert control == UniformAttention(heads=(1, 3))
    assert len({AblateHead(1).control(model, seed).head for seed in range(20)}) == 3
    assert AblateHead(1).control(model, 4) == AblateHead(1).control(model, 4)
    rows = ((0.0, 0.5, 0.5),)
    moved = FrozenPattern(rows, heads=(0,)).control(model, 1)
    assert (moved.values, moved.heads != (0,)) == (rows, True)
    for whole in (UniformAttention(), FrozenPattern(), Temperature(2.0)):
        assert whole.control(model) is None
    with pytest.raises(ValueError, match="3 of 4 heads are chosen, which leaves 1 others"):
        Temperature(2.0, heads=(0, 1, 2)).control(model)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AblateHead(7), "head 7 is not there: the model has 4 heads, counted from 0"),
        (lambda: AblateHead(0, layer=2), "layer 2 is not there: the model has 1 layers"),
        (lambda: UniformAttention(heads=(1, 4)), "head 4 is not there"),
        (lambda: Temperature(2.0, layer=1), "layer 1 is not there"),
        (lambda: AblateNeurons((3, 12)), "neuron 12 is not there: the model has 12 neurons"),
        (lambda: AblateNeurons((3,), layer=1), "layer 1 is not there"),
        (
            lambda: FrozenPattern(((0.5, 0.5),) * 4),
            r"here \[4, 3\] or \[4, 3, 3\]; got \[4, 2\]",
        ),
        (lambda: FrozenPattern(((0.5, 0.5, 0.0),), heads=(0, 1)), r"here \[2, 3\]"),
        (lambda: FrozenPattern(torch.ones(25, 2, 3, 3)), r"got \[25, 2, 3, 3\]"),
        (lambda: FrozenPattern(torch.ones(3, 3)), r"got \[3, 3\]"),
    ],
)
def test_what_the_model_has_not_is_refused_before_anything_is_attached(make, said: str) -> None:
    model = model_of()
    with pytest.raises(ValueError, match=said), applied(model, [UniformAttention(), make()]):
        pass
    assert model.list_hooks() == {}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AblateHead(-1), "head must be an integer of at least 0; got -1"),
        (lambda: AblateHead(1, "median"), "unknown kind 'median'; choose one of zero, mean, res"),
        (lambda: AblateHead(True), "head must be an integer"),
        (lambda: UniformAttention(heads=(0, 0)), "heads must not repeat"),
        (lambda: UniformAttention(heads=(0, -2)), "each of heads must be an integer of at least 0"),
        (lambda: UniformAttention(heads="q"), "heads must be integers"),
        (lambda: UniformAttention(layer=-1), "layer must be an integer of at least 0"),
        (lambda: Temperature(0.0), "temperature must be a finite number above 0; got 0.0"),
        (lambda: Temperature(float("inf")), "above 0; got inf"),
        (lambda: FrozenPattern("median"), "unknown values 'median'; choose one of mean"),
        (lambda: FrozenPattern((0.5, 0.5, 0.0)), r"must be \[head\]\[key\]"),
        (lambda: FrozenPattern(((0.5, 0.4, 0.0),)), "sum to 1"),
        (lambda: FrozenPattern(((1.5, -0.5, 0.0),)), "0 or more"),
        (lambda: FrozenPattern(((0.5, 0.5), (1.0,))), "rows of one length"),
        (lambda: FrozenPattern((("a",),)), "values must hold numbers; got 'a'"),
        (lambda: FrozenPattern(((1.0, 0.0, 0.0),) * 2, heads=(2, 0)), "in ascending order"),
        (lambda: FrozenPattern(()), r"must be \[head\]\[key\]"),
        (lambda: FrozenPattern(((), ())), "sum to 1"),
        (lambda: FrozenPattern(((float("nan"), 0.5, 0.5),)), "sum to 1"),
    ],
)
def test_arguments_that_make_no_sense(unchecked, make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
