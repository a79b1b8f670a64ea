"""The effective circuits of one layer on Z_p: which tokens a head looks at, what it writes."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from grokinterp.probes.fourier import require_grid
from grokinterp.snapshot import Snapshot

READOUT = ("hook_resid_mid", "hook_resid_post", "unembed.hook_in", "unembed.hook_out")
"""What the residual stream goes through from the attention to the logits."""


def qk_table(snapshot: Snapshot) -> dict[str, float | np.ndarray]:
    """The score that the last query `=` gives each token at each position, per head.

    It is `hook_attn_scores` of every input, exactly, because queries and keys of the first layer
    depend on the token and its position alone.

    Returns:
        scores ([head, 2, p]): Of the tokens 0 to p - 1 at the positions 0 and 1, before the
            softmax.
        equals ([head]): Of `=` itself.
        spread (float): Mean over heads and the two positions of the scores' standard deviation over
            tokens (population). 0 or more.

    Raises:
        NotApplicable: The model has more than one layer, hooks that mix examples, or no `=` to
            read; or the task is not defined on all p × p pairs.

    Nothing to find:
        spread is nearly 0 (0.003 before training): no token is looked at more than another.

    Source:
        The QK circuit of Elhage et al. 2021, "A mathematical framework for transformer circuits".
    """
    snapshot.require("qk_table", one_layer=True, equals=True)
    snapshot.require_unmixed("qk_table", snapshot.grid)
    scores = snapshot.grid.cache["blocks.0.attn.hook_attn_scores"][:, :, -1]
    table = torch.stack([scores[row, :, i] for i, row in enumerate(_rows(snapshot, "qk_table"))])
    found = table.permute(2, 0, 1).cpu().double()
    return {
        "scores": found.numpy(),
        "equals": scores[0, :, 2].cpu().double().numpy(),
        "spread": found.std(-1, correction=0).mean().item(),
    }


def ov_table(snapshot: Snapshot) -> dict[str, float | np.ndarray]:
    """What a head adds to the logits where it looks at a token: α · v W_O W_U, past the MLP.

    A norm behind the attention (post, peri, a final norm) is left out: this is the linear part.

    Returns:
        logits ([head, 2, p, d_vocab]): For each token at the positions 0 and 1.
        norm (float): Mean over heads, positions and tokens of the row's norm. 0 or more.

    Raises:
        NotApplicable: The model has more than one layer, hooks that mix examples, or hooks between
            `hook_v` and the logits, but for the pattern's; or the task is not defined on all p × p
            pairs.

    Nothing to find:
        norm has the size that the initial weights give it (0.30 for the paper's).

    Source:
        The OV circuit of Elhage et al. 2021, "A mathematical framework for transformer circuits".
    """
    snapshot.require("ov_table", one_layer=True)
    snapshot.require_unhooked("ov_table", "hook_z", "hook_result", "hook_attn_out", *READOUT)
    snapshot.require_unmixed("ov_table", snapshot.grid)
    model = snapshot.model
    values = snapshot.grid.cache["blocks.0.attn.hook_v"]
    v = torch.stack([values[row, i] for i, row in enumerate(_rows(snapshot, "ov_table"))])
    written = torch.einsum("ithd,hdm->hitm", v, model.blocks[0].attn.W_O)
    logits: Float[Tensor, "head pos p d_vocab"] = written @ model.W_U
    found = logits.detach().cpu().double()
    return {"logits": found.numpy(), "norm": found.norm(dim=-1).mean().item()}


def _rows(snapshot: Snapshot, probe: str) -> tuple[Tensor, Tensor]:
    """Rows of the grid that hold each token at position 0, and at position 1."""
    require_grid(snapshot, probe)
    token = torch.arange(snapshot.task.n_elements)
    return token * snapshot.task.n_elements, token
