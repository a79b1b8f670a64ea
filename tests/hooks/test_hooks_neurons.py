import numpy as np
import pytest
import torch
from cases import TOKENS, perturbed_model, small_config
from grokinterp.hooks import AblateNeurons, applied
from torch import Tensor

POST = "blocks.0.mlp.hook_post"


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("gated_mlp", [False, True])
@pytest.mark.parametrize("kind", ["zero", "mean", "resample"])
def test_ablations(kind: str, gated_mlp: bool) -> None:
    model = perturbed_model(small_config("pre", n_layers=2, gated_mlp=gated_mlp))
    _, cache = model.run_with_cache(TOKENS)
    before, name = cache["post", 1], "blocks.1.mlp.hook_post"
    # So many that no two examples are alike in them, dead as some are.
    chosen, kept = [0, 1, 2, 3, 5, 7, 8, 9, 10], [4, 6, 11]
    with applied(model, [AblateNeurons(chosen[::-1], kind, layer=1, seed=2)]):
        _, after = model.run_with_cache(TOKENS)
    assert torch.equal(after[name][..., kept], before[..., kept])
    assert torch.equal(after["post", 0], cache["post", 0])
    new, old = after[name][..., chosen], before[..., chosen]
    if kind == "zero":
        assert bool((new == 0).all())
    elif kind == "mean":
        close(new, old.mean(0).expand_as(old))
    else:
        # One donor for all these neurons and positions; each example gives once, to another.
        taken = [int((old == row).flatten(1).all(1).nonzero()) for row in new]
        assert sorted(taken) == [*range(25)]
        assert all(other != own for own, other in enumerate(taken))


def test_ablating_every_neuron_leaves_the_bias() -> None:
    model = perturbed_model(small_config("mlp-pre"))
    with applied(model, [AblateNeurons(range(12))]):
        _, cache = model.run_with_cache(TOKENS)
    close(cache["mlp_out", 0], model.blocks[0].mlp.b_out.expand(25, 3, 8))


def test_neurons_that_nothing_reads_change_nothing_bit_for_bit() -> None:
    model = perturbed_model(small_config("mlp-pre"))
    with torch.no_grad():
        model.blocks[0].mlp.W_out[[2, 4]] = 0
    intact = model(TOKENS)
    for kind in ("zero", "mean", "resample"):
        with applied(model, [AblateNeurons((2, 4), kind)]):
            assert torch.equal(model(TOKENS), intact)
        with applied(model, [AblateNeurons((2, 5), kind)]):
            assert not torch.allclose(model(TOKENS), intact)


def test_controls_are_other_neurons_of_the_same_number() -> None:
    model = perturbed_model(small_config("mlp-pre"))
    chosen = AblateNeurons((0, 5, 7), "mean", seed=3, from_epoch=4)
    drawn = [chosen.control(model, seed) for seed in range(30)]
    for control in drawn:
        assert len(control.neurons) == 3
        assert not {0, 5, 7} & set(control.neurons)
        assert (control.kind, control.seed, control.from_epoch) == ("mean", 3, 4)
    # Every other neuron is drawn, and the seed alone says which.
    assert {n for control in drawn for n in control.neurons} == set(range(12)) - {0, 5, 7}
    assert drawn[3] == chosen.control(model, 3)
    assert AblateNeurons(range(6)).control(model).neurons == (6, 7, 8, 9, 10, 11)
    with pytest.raises(ValueError, match=r"7 of 12 neurons are chosen, which leaves 5 others"):
        AblateNeurons(range(7)).control(model)


def test_any_integers_name_neurons_and_equal_sets_are_equal() -> None:
    same = [(1, 2), [2, 1], range(1, 3), np.array([2, 1]), {1, 2}]
    assert {AblateNeurons(neurons) for neurons in same} == {AblateNeurons((1, 2))}
    assert AblateNeurons(3) == AblateNeurons(np.int64(3)) == AblateNeurons(np.array(3))
    assert all(type(n) is int for n in AblateNeurons(np.array([1, 2])).neurons)


@pytest.mark.parametrize(
    ("neurons", "said"),
    [
        ((), "must name at least one"),
        ((1, 1), "must not repeat"),
        ((-1,), "at least 0; got -1"),
        ((0.5,), "at least 0; got 0.5"),
        ((True,), "got True"),
        (torch.tensor([True, False]), r"got tensor\(True\)"),
        (np.array([True, False]), "got .*True"),
        ("all", "neurons must be integers, as in"),
        (None, "got None"),
    ],
)
def test_what_is_no_set_of_neurons(neurons: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AblateNeurons(neurons)
