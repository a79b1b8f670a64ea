"""Other projects' checkpoints as snapshots: a hooked model, its task and its split.

Files are read as tensors and plain data alone (`weights_only=True`), and nothing of them is run.
A model comes without norms, as `build_model` makes them, in the precision of its file.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from transformer_lens.hook_points import HookPoint

from grokinterp.config import ModelConfig
from grokinterp.model.build import build_model
from grokinterp.model.shape import DTYPES, ModelShape
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask, Task

Direction = Literal["causal", "bidirectional"]
CONFIGS = (
    "transformer_lens.HookedTransformerConfig.HookedTransformerConfig",
    "transformer_lens.config.hooked_transformer_config.HookedTransformerConfig",
)
"""What TransformerLens's config is called in a file, by its older and its newer releases."""

MATRICES = (
    *("embed.W_E", "pos_embed.W_pos", "blocks.0.attn.W_Q", "blocks.0.attn.W_K"),
    *("blocks.0.attn.W_V", "blocks.0.attn.W_O", "blocks.0.mlp.W_in", "blocks.0.mlp.W_out"),
    "unembed.W_U",
)
"""What every layout holds."""


class _Config:
    """The fields of such a config; nothing of TransformerLens is run to read it."""


def grokking_demo(path: str | Path) -> Snapshot:
    """A model of TransformerLens' notebook "Grokking_Demo", or of any HookedTransformer like it.

    One causal layer without norms on (a + b) mod p, which reads `[a, b, =]` and answers with the p
    residues; no bias is trained. The split is the file's `train_indices` into all pairs, a outer;
    where it has none, the notebook's: the first 30 % of `torch.randperm(p²)` from the seed 598.

    Args:
        path: A state dict, or a file that holds one under `model`, as the notebook saves it.

    Returns:
        The model, and its task with this split as `train_pairs`.

    Raises:
        ValueError: The file cannot be read, or is of another layout.

    Source:
        https://transformerlensorg.github.io/TransformerLens/generated/demos/Grokking_Demo.html.
    """
    file = _load(path)
    weights = _weights(file)
    _require(path, weights, 3)
    if any(name.startswith(("ln_final", "blocks.0.ln", "blocks.1.")) for name in weights):
        raise ValueError(
            f"{path} must hold one layer without norms, as the notebook's model; it holds "
            f"{', '.join(weights)}"
        )
    config = vars(file["config"]) if isinstance(file.get("config"), _Config) else {}
    expected = {"normalization_type": None, "act_fn": "relu", "attention_dir": "causal"}
    for name, value in expected.items():
        if config.get(name, value) != value:
            raise ValueError(
                f"{path} must hold a model with a {name} of {value}, as the notebook's; its is "
                f"{config[name]}"
            )
    n_heads, d_model, d_head = weights["blocks.0.attn.W_Q"].shape
    d_vocab, d_vocab_out = len(weights["embed.W_E"]), weights["unembed.W_U"].shape[1]
    sizes = {"n_heads": n_heads, "d_model": d_model, "d_head": d_head}
    sizes |= {"d_vocab": d_vocab, "d_vocab_out": d_vocab_out}
    sizes |= {"n_ctx": len(weights["pos_embed.W_pos"])}
    sizes |= {"d_mlp": weights["blocks.0.mlp.W_in"].shape[1]}
    model = _plain(sizes, weights, "causal")
    for name, parameter in model.named_parameters():
        if ".b_" in name:
            parameter.requires_grad_(False)
    task = ModularTask(d_vocab - 1)
    pairs = task.pairs()
    indices = file.get("train_indices")
    if indices is None:
        generator = torch.Generator().manual_seed(598)
        indices = torch.randperm(len(pairs), generator=generator)[: int(0.3 * len(pairs))]
    chosen = tuple(pairs[int(index)] for index in indices)
    return _snapshot(model, ModularTask(d_vocab - 1, train_pairs=chosen))


def multihead_attention(
    path: str | Path,
    model: ModelConfig,
    task: Task,
    names: Mapping[str, str],
    seed: int | None = None,
    eps: float | None = None,
) -> Snapshot:
    """A model of PyTorch's own parts: `nn.Embedding`, `nn.MultiheadAttention`, `nn.Linear`, norms.

    Such are those of the code of "Explaining Grokking in Transformers through the Lens of Inductive
    Bias". What it calls its parts is told by `names`, so that nothing is guessed:

        {"embed.W_E": "token_embedding.weight", "pos_embed.W_pos": "positions",
         "blocks.0.attn": "layers.0.attention", "blocks.0.ln2.w": "layers.0.norm.weight",
         "blocks.0.mlp.W_in": "layers.0.up.weight", "blocks.0.mlp.b_in": "layers.0.up.bias", …}

    Args:
        path: Its state dict, or a file that holds one under `model`.
        model: Its architecture.
        task: Its task and split.
        names: What the file calls each parameter of such a model of ours; of an attention, what it
            calls the whole `nn.MultiheadAttention`.
        seed: The seed of the split, as of `Snapshot`.
        eps: Of every norm. A state dict does not hold it: the paper's when not given (0 in a block,
            1e-5 elsewhere), and 1e-5 is the default of PyTorch's own norms.

    Returns:
        The model, which computes in the precision of the file, its task and its split.

    Raises:
        ValueError: A parameter has no name, or is not in the file, has another shape or is not
            finite; or the file or `names` has a parameter that the model has not (biases of the
            attention or the unembedding, say), or that is given twice.

    Source:
        arXiv:2602.06702.
    """
    if eps is not None and not 0 <= eps < math.inf:
        raise ValueError(f"eps must be a finite number of at least 0; got {eps!r}")
    theirs = _weights(_load(path))
    dtypes = {value.dtype for value in theirs.values() if value.is_floating_point()}
    if len(dtypes) != 1 or not dtypes <= {*DTYPES.values()}:
        raise ValueError(
            f"{path} must hold weights of one precision, float32 or float64; it holds "
            f"{', '.join(sorted(map(str, dtypes))) or 'none'}"
        )
    dtype = next(name for name, value in DTYPES.items() if value in dtypes)
    ours = build_model(model, task, dtype=dtype)
    asked = dict.fromkeys(_asked(name) for name, _ in ours.named_parameters())
    if unknown := [name for name in names if name not in asked]:
        raise ValueError(
            f"names must name parameters of this architecture: {', '.join(asked)}; it names "
            f"{', '.join(unknown)}"
        )
    if twice := {given for given in names.values() if [*names.values()].count(given) > 1}:
        raise ValueError(
            f"names must give each part of {path} once; it gives {', '.join(twice)} twice"
        )
    found = {}
    read: set[str] = set()
    for name, parameter in ours.named_parameters():
        value = _of_pytorch(path, theirs, names, name, model.n_heads, read)
        if value.shape != parameter.shape or not bool(value.isfinite().all()):
            raise ValueError(
                f"{name} must be finite and {tuple(parameter.shape)} by this config and task; in "
                f"{path} it is {tuple(value.shape)}: give the architecture that it was trained with"
            )
        found[name] = value
    # What is tied is in a state dict twice.
    known = [theirs[name] for name in read]
    left = [
        name
        for name, value in theirs.items()
        if value.is_floating_point() and value.any()
        if not any(torch.equal(value, one) for one in known)
    ]
    if left:
        raise ValueError(
            f"{path} must hold nothing but what the model has; of {', '.join(left)} it has "
            "nothing: give its architecture, or leave out of the file what takes no part in the "
            "logits"
        )
    ours.load_state_dict(found, strict=False)
    if eps is not None:
        for norm in filter(lambda part: hasattr(part, "eps"), ours.modules()):
            setattr(norm, "eps", eps)  # noqa: B010, which a type checker does not take
    return _snapshot(ours, task, seed)


def _asked(name: str) -> str:
    """Under what name of ours a parameter is told: an attention's, as a whole."""
    part, _, leaf = name.rpartition(".")
    return part if leaf in ("W_Q", "W_K", "W_V", "W_O") else name


def _of_pytorch(
    path: str | Path,
    theirs: Mapping[str, Tensor],
    names: Mapping[str, str],
    name: str,
    heads: int,
    seen: set[str],
) -> Tensor:
    """A parameter of ours; [out, in] in PyTorch's parts is [in, out] here."""
    leaf, asked = name.rpartition(".")[2], _asked(name)
    if asked not in names:
        raise ValueError(f"names must say what {path} calls {asked}; it says {', '.join(names)}")
    given = names[asked]

    def read(key: str) -> Tensor:
        if key not in theirs:
            raise ValueError(
                f"names says that {asked} is {given}, and {path} has no {key}; it has "
                f"{', '.join(theirs)}"
            )
        seen.add(key)
        return theirs[key]

    if asked == name:
        if leaf == "W_pos":
            return read(given).flatten(0, -2)
        return read(given).mT if leaf in ("W_in", "W_gate", "W_out", "W_U") else read(given)
    if leaf == "W_O":
        return read(f"{given}.out_proj.weight").mT.unflatten(0, (heads, -1))
    rows = read(f"{given}.in_proj_weight").chunk(3)[("W_Q", "W_K", "W_V").index(leaf)]
    return rows.unflatten(0, (heads, -1)).mT


def pizza(
    path: str | Path, attn_coeff: float, seed: int | None = None, test_fraction: float = 0.2
) -> Snapshot:
    """A model of "The Clock and the Pizza".

    One layer on (a + b) mod p that reads `[a, b]` alone, without norms and attention biases. Its
    attention pattern is attn_coeff · softmax + 1 - attn_coeff, a permanent hook of the model: with
    a coefficient of 0 every weight is 1.

    Args:
        path: The weights.
        attn_coeff: The coefficient, which the run's config holds.
        seed: Draws a split, as of any task: the file does not hold the one it trained with, so
            that without a seed what reads train or test examples is refused.
        test_fraction: The share of the pairs that are held out in it.

    Returns:
        The model and its task. What is read off the train examples is not of those that trained.

    Raises:
        ValueError: The file cannot be read, is of another layout, or the coefficient is not from 0
            to 1.

    Source:
        arXiv:2306.17844.
    """
    if not 0 <= attn_coeff <= 1:
        raise ValueError(f"attn_coeff must be a number from 0 to 1; got {attn_coeff!r}")
    weights = _weights(_load(path))
    _require(path, weights, 2, "blocks.0.mlp.b_in", "blocks.0.mlp.b_out")
    model = _model(weights, "bidirectional")

    def mixed(tensor: Tensor, *, hook: HookPoint) -> Tensor:
        return attn_coeff * tensor + 1 - attn_coeff

    model.add_perma_hook("blocks.0.attn.hook_pattern", mixed)
    task = ModularTask(model.cfg.d_vocab, test_fraction=test_fraction)
    return _snapshot(model, task, seed)


def progress_measures(
    path: str | Path, seed: int | None = None, train_fraction: float | None = None
) -> Snapshot:
    """A run of "Progress measures for grokking via mechanistic interpretability".

    One layer on (a + b) mod p, of causal attention, without norms and attention biases; it reads
    `[a, b, =]` and answers with p + 1 classes. The split is drawn as its authors draw it: all
    pairs, a outer, shuffled by Python's generator, the first of them train.

    Args:
        path: A file that holds the weights under `model`, and beside them what it knows of
            `config`; or a file of the weights alone.
        seed: Draws the split; the file's own when not given.
        train_fraction: The share of the pairs that train; the file's own when not given.

    Returns:
        The model, its task with this split as `train_pairs`, and its epoch where the file has it.

    Raises:
        ValueError: The file cannot be read, is of another layout, or does not know its split.

    Source:
        arXiv:2301.05217.
    """
    file = _load(path)
    config = file.get("config", {})
    seed = config.get("seed") if seed is None else seed
    train_fraction = config.get("frac_train") if train_fraction is None else train_fraction
    if seed is None or train_fraction is None:
        raise ValueError(
            f"{path} must say in its config which seed and frac_train drew its split; it does not, "
            "so give seed and train_fraction"
        )
    weights = _weights(file)
    _require(path, weights, 3, "blocks.0.mlp.b_in", "blocks.0.mlp.b_out")
    model = _model(weights, "causal")
    p = model.cfg.d_vocab - 1
    task = ModularTask(p)
    pairs = task.pairs()
    random.Random(seed).shuffle(pairs)
    task = ModularTask(p, train_pairs=tuple(pairs[: int(train_fraction * len(pairs))]))
    return _snapshot(model, task, seed, epoch=file.get("epoch"))


def _snapshot(
    model: PlacedTransformer, task: Task, seed: int | None = None, epoch: int | None = None
) -> Snapshot:
    model.task = task  # type: ignore[assignment]  # As `build_model` says it to interventions.
    return Snapshot(model, task, seed, epoch)


def _load(path: str | Path) -> dict[str, Any]:
    try:
        with torch.serialization.safe_globals(_inert()):
            file = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error}; give the path of a checkpoint") from error
    except Exception as error:  # PyTorch, pickle and zipfile each have their own for damage
        raise ValueError(
            f"{path} must be a file of torch.save that holds tensors and plain data alone, and "
            f"nothing to run; reading it failed: {_reason(error)}"
        ) from error
    if not isinstance(file, Mapping):
        raise ValueError(f"{path} must hold weights by name; it holds a {type(file).__name__}")
    return dict(file)


def _inert() -> list[Any]:
    """What may stand in a file besides tensors: a config's fields, some of them NumPy's numbers."""
    scalar = np.float64(0).__reduce__()[0]
    numpy = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*((_Config, name) for name in CONFIGS), *numpy, np.dtype, type(np.dtype("float64"))]


def _reason(error: Exception) -> str:
    """Without PyTorch's advice to load what is not safe."""
    lines = [line.strip() for line in str(error).splitlines()]
    told = [line for line in lines if line.startswith("WeightsUnpickler error: ")]
    return (told or lines or [repr(error)])[0].partition(". Please use")[0]


def _weights(file: Mapping[str, Any]) -> dict[str, Tensor]:
    found = file.get("model", file)
    return {name: value for name, value in found.items() if isinstance(value, Tensor)}


def _require(path: str | Path, weights: Mapping[str, Tensor], positions: int, *more: str) -> None:
    """ValueError if a weight of every layout, or one of these, is not there."""
    if missing := [name for name in (*MATRICES, *more) if name not in weights]:
        raise ValueError(
            f"{path} must hold the weights of one transformer layer by the names of their "
            f"authors' code; it has no {' and no '.join(missing)}, but {', '.join(weights) or '-'}"
        )
    if (found := len(weights["pos_embed.W_pos"])) != positions:
        raise ValueError(
            f"{path} must hold a model of {positions} positions; it has {found}, so it is of "
            "another source"
        )


def _model(theirs: Mapping[str, Tensor], direction: Direction) -> PlacedTransformer:
    """Their layout: what TransformerLens holds as [in, out] is [out, in], and a head's W_Q, W_K and
    W_V are [head, d_head, d_model]; W_O is [d_model, head · d_head]."""
    n_heads, d_head, d_model = theirs["blocks.0.attn.W_Q"].shape
    sizes = {"n_heads": n_heads, "d_model": d_model, "d_head": d_head}
    sizes |= {"d_vocab": theirs["embed.W_E"].shape[1], "n_ctx": len(theirs["pos_embed.W_pos"])}
    sizes |= {"d_vocab_out": theirs["unembed.W_U"].shape[1]}
    sizes |= {"d_mlp": len(theirs["blocks.0.mlp.W_in"])}
    by_head = ("blocks.0.attn.W_Q", "blocks.0.attn.W_K", "blocks.0.attn.W_V")
    turned = ("embed.W_E", "blocks.0.mlp.W_in", "blocks.0.mlp.W_out", *by_head)
    weights = {name: value.mT if name in turned else value for name, value in theirs.items()}
    w_o = theirs["blocks.0.attn.W_O"].T
    weights["blocks.0.attn.W_O"] = w_o.reshape(n_heads, d_head, d_model)
    return _plain(sizes, weights, direction)


def _plain(
    sizes: Mapping[str, Any], weights: Mapping[str, Tensor], direction: Direction
) -> PlacedTransformer:
    """A model of one layer without norms; biases that have no weights here are 0."""
    cfg = ModelShape(
        n_layers=1,
        **sizes,
        attention_dir=direction,
        normalization_type=None,
        device="cpu",
        dtype=weights["embed.W_E"].dtype,
    )
    model = PlacedTransformer(cfg)
    named = dict(model.named_parameters())
    absent = {name: torch.zeros_like(p) for name, p in named.items() if ".b_" in name}
    known = model.state_dict()
    given = {name: value for name, value in weights.items() if name in known}
    model.load_state_dict({**absent, **given}, strict=False)
    for name, parameter in named.items():
        parameter.requires_grad_(name in given)
    return model
