"""The shares of irreducible representations: planted answers, other probes, nothing to find."""

import numpy as np
import pytest
import torch
from planted import P, lookup, planted

import grokinterp as gi
from grokinterp.model.build import build_model
from grokinterp.probes import PROBES
from grokinterp.probes.irreps import character, irreps, quotients
from grokinterp.snapshot import NotApplicable, Snapshot
from grokinterp.task import GroupTask, ModularTask, TableTask
from grokinterp.task.group import products

GROUPS = ("S3", "S4", "D4", "D5")


def random_model(task, seed=0):
    config = gi.ModelConfig("off", d_model=64, n_heads=2, d_mlp=24)
    return build_model(config, task, seed, "float64")


def characters(group):
    """χ(a b c⁻¹) of each representation, [pair, c]."""
    table = np.array(products(group))
    quotient = quotients(table)
    return {
        name: character(matrices)[quotient[table.ravel()]]
        for name, matrices in irreps(group).items()
    }


def shares(found, of):
    return {name.partition(".")[2]: x for name, x in found.items() if name.startswith(f"{of}.")}


@pytest.mark.parametrize("group", GROUPS)
def test_logits_that_are_one_character_are_all_in_its_representation(group):
    task = GroupTask(group)
    for name, logits in [*characters(group).items()][1:]:
        shot = Snapshot(lookup(task, 3 * logits + 5), task)
        torch.testing.assert_close(
            shot.grid.logits[:, : task.n_elements], torch.from_numpy(3 * logits + 5)
        )
        found = PROBES["irrep_shares"](shot)
        assert found["logits"] == pytest.approx(1)
        expected = {other: float(other == name) for other in shares(found, "logits")}
        assert shares(found, "logits") == pytest.approx(expected, abs=1e-12)


def test_logits_of_two_characters_are_shared_as_their_squares_are():
    first, second = "(3,1)", "(2,2)"
    every = characters("S4")
    logits = 2 * every[first] - every[second]
    found = PROBES["irrep_shares"](Snapshot(lookup(GroupTask("S4"), logits), GroupTask("S4")))
    assert found[f"logits.{first}"] == pytest.approx(4 / 5)
    assert found[f"logits.{second}"] == pytest.approx(1 / 5)


def test_the_character_of_another_order_of_the_product_is_not_it():
    """tr ρ(b a c⁻¹): on the pairs that do not commute it is another function."""
    table = np.array(products("S4"))
    wrong = character(irreps("S4")["(3,1)"])[quotients(table)[table.T.ravel()]]
    found = PROBES["irrep_shares"](Snapshot(lookup(GroupTask("S4"), wrong), GroupTask("S4")))
    assert found["logits"] < 0.2


@pytest.mark.parametrize("group", GROUPS)
def test_an_embedding_of_matrix_elements_is_all_in_their_representation(group):
    task = GroupTask(group)
    n = task.n_elements
    model = random_model(task)
    generator = torch.Generator().manual_seed(0)
    for name, matrices in [*irreps(group).items()][1:]:
        elements = torch.from_numpy(matrices.reshape(n, -1).copy())
        mix = torch.randn(elements.shape[1], 64, generator=generator, dtype=torch.float64)
        with torch.no_grad():  # The token `=`, and what is the same for all tokens, do not count.
            model.embed.W_E[:n] = elements @ mix + torch.arange(64)
        found = shares(PROBES["irrep_shares"](Snapshot(model, task)), "embedding")
        assert found == pytest.approx({other: float(other == name) for other in found}, abs=1e-9)


@pytest.mark.parametrize("group", ["S4", "S5", "D5"])
def test_the_embedding_s_shares_are_those_of_a_projection_onto_the_matrix_elements(group):
    task = GroupTask(group)
    n = task.n_elements
    model = random_model(task)
    found = shares(PROBES["irrep_shares"](Snapshot(model, task)), "embedding")
    rows = model.W_E[:n].detach().numpy()
    rows = rows - rows.mean(0)
    for name, matrices in [*irreps(group).items()][1:]:
        fitted = np.linalg.lstsq(matrices.reshape(n, -1), rows, rcond=None)[0]
        part = matrices.reshape(n, -1) @ fitted
        assert found[name] == pytest.approx((part**2).sum() / (rows**2).sum(), rel=1e-9)
    assert sum(found.values()) == pytest.approx(1)


def test_random_weights_have_what_chance_gives():
    task = GroupTask("S5")
    found = PROBES["irrep_shares"](Snapshot(random_model(task), task))
    for name, share in shares(found, "embedding").items():
        dimension = irreps("S5")[name].shape[-1]
        assert share == pytest.approx(dimension**2 / 119, rel=0.4)
    assert found["logits"] < 1e-3


def test_of_addition_they_are_the_spectrum_and_the_formula_of_the_logits():
    shot = planted()
    found = PROBES["irrep_shares"](shot)
    powers = PROBES["embedding_spectrum"](shot)["norms"] ** 2
    every = tuple(range(1, P // 2 + 1))
    formula = PROBES["logit_formula"](shot, frequencies=every)
    assert list(shares(found, "logits")) == [str(k) for k in every]
    assert [*shares(found, "embedding").values()] == pytest.approx(powers / powers.sum(), abs=1e-12)
    assert [*shares(found, "logits").values()] == pytest.approx(formula["fve_per_key"], abs=1e-12)
    assert found["logits"] == pytest.approx(1)
    # And of random weights, and an even p.
    shot = Snapshot(random_model(ModularTask(10)), ModularTask(10))
    found = PROBES["irrep_shares"](shot)
    powers = PROBES["embedding_spectrum"](shot)["norms"] ** 2
    formula = PROBES["logit_formula"](shot, frequencies=(1, 2, 3, 4, 5))
    assert [*shares(found, "embedding").values()] == pytest.approx(powers / powers.sum(), abs=1e-12)
    assert [*shares(found, "logits").values()] == pytest.approx(formula["fve_per_key"], abs=1e-15)


def test_where_nothing_varies_there_is_no_share():
    task = GroupTask("S3")
    model = random_model(task)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    found = PROBES["irrep_shares"](Snapshot(model, task))
    assert all(np.isnan(value) for value in found.values())


@pytest.mark.parametrize(
    "task",
    [
        ModularTask(7, "sub"),
        ModularTask(7, "mul"),
        ModularTask(7, "div"),
        ModularTask(7, "a2+b2"),
        ModularTask(7, "xor", operand=3),
        TableTask(products("S3")),
        TableTask.from_function(max, 6),
    ],
    ids=str,
)
def test_what_is_no_known_group_is_refused(task):
    shot = Snapshot(random_model(task), task)
    with pytest.raises(NotApplicable, match=r"irrep_shares is in .* give it a model trained on a"):
        PROBES["irrep_shares"](shot)
