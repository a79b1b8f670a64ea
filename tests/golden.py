"""The authors' numbers: the configuration, the data and the weights of each entry."""

import json
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.model.build import build_model
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.snapshot import Snapshot
from grokinterp.store.state import RunState
from grokinterp.task import ModularTask
from grokinterp.training.engine import train_together

ENTRIES: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("reference.json").read_text()
)
P, D_MODEL, N_HEADS, D_HEAD, D_MLP = 23, 32, 4, 8, 128
PAIRS = [(a, b) for a in range(P) for b in range(P)]
TASK = ModularTask(
    P, train_pairs=tuple((a, b) for a, b in PAIRS if (7 * a + 11 * b + a * b) % 10 < 3)
)

# Our norm modules -> the authors' numbers for them.
PERI_NORMS = {"ln1": "ln1", "ln1_post": "ln2", "ln2": "ln3", "ln2_post": "ln4"}


@dataclass(frozen=True)
class Golden:
    """One entry: what to build and train, and the authors' numbers for it."""

    model: ModelConfig
    lr: float
    """The learning rate in force, after any coupling to the readout scale."""
    weight_decay: float
    adam_eps: float
    couple_lr_to_readout: bool
    """Whether `base_lr` was divided by the squared readout scale to give `lr`."""
    base_lr: float
    weights: dict[str, Tensor]
    entry: dict[str, Any]
    task: ModularTask = TASK

    def build(self) -> PlacedTransformer:
        """The model with the authors' weights, in float64."""
        model = build_model(self.model, self.task, dtype="float64")
        parameters = dict(model.named_parameters())
        assert parameters.keys() == self.weights.keys()
        model.load_state_dict(self.weights, strict=False)
        return model


@cache
def golden(key: str) -> Golden:
    """The entry of a key; an unknown setting in its `config` is an error."""
    entry = ENTRIES[key]
    settings = dict(entry["config"])
    config = ModelConfig(
        placement=settings.pop("ln"),
        norm={None: "layer", "rms": "rms"}[settings.pop("fn", None)],
        n_layers=settings.pop("layers", 1),
        d_model=D_MODEL,
        n_heads=N_HEADS,
        d_mlp=D_MLP,
        final_norm={None: "none", "on": "learned", "center_only": "center-only"}[
            settings.pop("final", None)
        ],
        gated_mlp={None: False, "glu": True}[settings.pop("mlp", None)],
        tied_unembedding={None: False, "tied": True}[settings.pop("unembed", None)],
        readout_scale=settings.pop("alpha", 1.0),
    )
    assert not settings, f"{key} has settings that no model was given: {settings}"
    return Golden(
        model=config,
        lr=entry["lr"],
        weight_decay=entry["weight_decay"],
        adam_eps=entry["adam_eps"],
        couple_lr_to_readout="coupled-lr" in key,
        base_lr=1e-3,
        weights=_weights(config),
        entry=entry,
    )


def _weights(config: ModelConfig) -> dict[str, Tensor]:
    d, narrow = D_MODEL, D_MODEL**-0.5
    weights = {
        "embed.W_E": _fill("W_E", (P + 1, d), narrow),
        "pos_embed.W_pos": _fill("W_pos", (3, d), 0.1),
    }
    if not config.tied_unembedding:
        weights["unembed.W_U"] = _fill("W_U", (d, P + 1), narrow)
    for layer in range(config.n_layers):
        block = f"blocks.{layer}"
        shapes = {
            "attn.W_Q": ((N_HEADS, d, D_HEAD), narrow),
            "attn.W_K": ((N_HEADS, d, D_HEAD), narrow),
            "attn.W_V": ((N_HEADS, d, D_HEAD), narrow),
            "attn.W_O": ((N_HEADS, D_HEAD, d), narrow),
            "mlp.W_in": ((d, D_MLP), narrow),
            "mlp.W_out": ((D_MLP, d), D_MLP**-0.5),
            "mlp.b_in": ((D_MLP,), 0.1),
            "mlp.b_out": ((d,), 0.1),
        }
        if config.gated_mlp:
            shapes |= {"mlp.W_gate": ((d, D_MLP), narrow), "mlp.b_gate": ((D_MLP,), 0.1)}
        for name, (shape, scale) in shapes.items():
            weights[f"{block}.{name}"] = _fill(f"{block}.{name}", shape, scale)
        for ours in config.ln.norm_names:
            theirs = PERI_NORMS[ours] if config.placement == "peri" else ours
            weights |= _fill_norm(config, f"{block}.{ours}", f"{block}.{theirs}")
    if config.final_norm == "learned":
        weights |= _fill_norm(config, "ln_final", "ln_final")
    if config.final_norm == "center-only":
        weights |= {"ln_final.w": torch.ones(d).double(), "ln_final.b": torch.zeros(d).double()}
    return weights


def _fill_norm(config: ModelConfig, ours: str, theirs: str) -> dict[str, Tensor]:
    norm = {f"{ours}.w": 1 + _fill(f"{theirs}.w", (D_MODEL,), 0.1)}
    if config.norm == "layer":
        norm[f"{ours}.b"] = _fill(f"{theirs}.b", (D_MODEL,), 0.1)
    return norm


def _fill(name: str, shape: tuple[int, ...], scale: float) -> Tensor:
    random = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    return torch.from_numpy(random.standard_normal(shape) * scale)


@cache
def of_golden(key: str, stage: str) -> Snapshot:
    """An entry's model at initialisation, or after its 20 epochs."""
    case = golden(key)
    model = case.build()
    if stage == "at_end":
        recipe = TrainConfig(
            epochs=20,
            lr=case.lr,
            weight_decay=case.weight_decay,
            adam_eps=case.adam_eps,
            dtype="float64",
        )
        config = RunConfig(task=case.task, model=case.model, train=recipe)
        start = RunState.initial(case.weights)
        for ensemble, _ in train_together([config], [case.weights], [start]):
            weights = ensemble.state(0).weights
        model.load_state_dict(weights, strict=False)
    return Snapshot(model, case.task, seed=0)
