"""The sizes and flags of a model, as TransformerLens' tools read them off `model.cfg`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import torch
from transformer_lens.config.transformer_lens_config import TransformerLensConfig

from grokinterp.config import ModelConfig
from grokinterp.placement import LNPlacement, resolve_placement
from grokinterp.task import Task

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass
class ModelShape(TransformerLensConfig):
    """TransformerLens' config, with where the norms are.

    A plain HookedTransformer has no place for them, so it cannot be built from this config.
    """

    d_mlp: int = 0
    d_vocab_out: int = -1
    attention_dir: Literal["bidirectional", "causal"] = "bidirectional"
    use_attn_in: bool = False
    use_hook_mlp_in: bool = False
    use_attn_scale: bool = True
    ungroup_grouped_query_attention: bool = False
    n_devices: int = 1
    tie_word_embeddings: bool = False
    placement: LNPlacement = field(default_factory=lambda: resolve_placement("off"))

    def to_dict(self) -> NoReturn:
        """Refused: a plain HookedTransformer of these fields would be another model.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            "a plain HookedTransformer has no LN placements and no readout scale, so one of this "
            "config would be another model; build it with grokinterp.build_model, or copy the "
            "model with copy.deepcopy"
        )

    def __repr__(self) -> str:
        return f"ModelShape({', '.join(f'{k}={v!r}' for k, v in vars(self).items())})"


def shape_of(config: ModelConfig, task: Task, dtype: str) -> ModelShape:
    """What a config's architecture is for the vocabulary of a task."""
    kind = {"layer": "LN", "rms": "RMS"}[config.norm]
    sizes: dict[str, Any] = {
        name: getattr(config, name) for name in ("n_layers", "d_model", "d_head", "n_heads")
    }
    return ModelShape(
        **sizes,
        d_mlp=config.d_mlp or 0,
        n_ctx=3,
        d_vocab=task.d_vocab,
        d_vocab_out=task.d_vocab if config.answers == "p+1" else task.equals_token,
        attention_dir="causal" if config.causal else "bidirectional",
        act_fn="silu" if config.gated_mlp else "relu",
        gated_mlp=config.gated_mlp,
        uses_rms_norm=config.norm == "rms",
        # By this, TransformerLens' tools know of a final norm.
        normalization_type=None if config.final_norm == "none" else kind,
        tie_word_embeddings=config.tied_unembedding,
        placement=config.ln,
        device="cpu",
        dtype=DTYPES[dtype],
    )
