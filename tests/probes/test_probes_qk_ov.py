"""Effective QK and OV tables against the model's own forward pass."""

import numpy as np
import pytest
import torch
from cases import EVERY_PLACEMENT, TASK, perturbed_model, small_config

from grokinterp.probes import PROBES
from grokinterp.snapshot import Snapshot

every_placement = pytest.mark.parametrize("placement", EVERY_PLACEMENT)


@every_placement
def test_the_qk_table_gives_every_input_s_scores(placement):
    shot = Snapshot(perturbed_model(small_config(placement)), TASK)
    found = PROBES["qk_table"](shot)
    scores = shot.grid.cache["attn_scores", 0][:, :, -1].numpy()
    a, b = shot.grid.tokens[:, 0].numpy(), shot.grid.tokens[:, 1].numpy()
    np.testing.assert_allclose(scores[:, :, 0], found["scores"][:, 0, a].T, rtol=1e-12)
    np.testing.assert_allclose(scores[:, :, 1], found["scores"][:, 1, b].T, rtol=1e-12)
    np.testing.assert_allclose(scores[:, :, 2], np.tile(found["equals"], (len(a), 1)), rtol=1e-12)


@every_placement
def test_the_ov_table_is_what_attention_adds_to_the_logits(placement):
    """Weighted by attention, over heads and tokens, it is attn_out W_U (before any output norm)."""
    shot = Snapshot(perturbed_model(small_config(placement, readout_scale=1.5)), TASK)
    table = torch.from_numpy(PROBES["ov_table"](shot)["logits"])
    cache = shot.grid.cache
    pattern, z = cache["pattern", 0][:, :, -1], cache["z", 0][:, -1]
    attn, w_u = shot.model.blocks[0].attn, shot.model.W_U
    of_equals = torch.einsum("bhd,hdm->bhm", cache["v", 0][:, 2], attn.W_O) @ w_u
    a, b = shot.grid.tokens[:, 0], shot.grid.tokens[:, 1]
    by_token = torch.stack([table[:, 0, a], table[:, 1, b], of_equals.transpose(0, 1)], dim=-1)
    added = torch.einsum("bhj,hbcj->bc", pattern, by_token)
    expected = torch.einsum("bhd,hdm->bm", z, attn.W_O) @ w_u
    torch.testing.assert_close(added, expected.detach(), rtol=1e-10, atol=1e-10)


def test_tables_of_a_head_that_does_nothing_are_flat():
    shot = Snapshot(perturbed_model(small_config("off")), TASK)
    assert PROBES["qk_table"](shot)["spread"] > 0.01
    assert PROBES["ov_table"](shot)["norm"] > 0.01
    with torch.no_grad():
        shot.model.blocks[0].attn.W_K.zero_()
        shot.model.blocks[0].attn.W_O.zero_()
    flat = Snapshot(shot.model, TASK)
    assert PROBES["qk_table"](flat)["spread"] == 0
    assert PROBES["ov_table"](flat)["norm"] == 0


@pytest.mark.parametrize("probe", ["qk_table", "ov_table"])
def test_three_layers_are_refused(probe):
    shot = Snapshot(perturbed_model(small_config("off", n_layers=3)), TASK)
    with pytest.raises(ValueError, match=f"{probe} is a formula for one layer, .* has 3"):
        PROBES[probe](shot)
