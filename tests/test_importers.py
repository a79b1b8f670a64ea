"""Other projects' checkpoints: each layout, made here, and the real files where a folder has them.

GROKINTERP_FOREIGN=FOLDER pytest tests/test_importers.py
"""

import os
import random
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import grokinterp.hooks as gh
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lens import plain_model

import grokinterp as gi
from grokinterp import circuits, importers
from grokinterp.probes import PROBES
from grokinterp.probes.algorithm import symmetricity_of
from grokinterp.snapshot import NotApplicable
from grokinterp.task import ModularTask

P, HEADS, D_HEAD, D_MODEL, D_MLP = 7, 2, 3, 5, 11
FOREIGN = os.environ.get("GROKINTERP_FOREIGN")


def theirs(vocabulary, positions):
    """Random weights in the layout of progress measures and of the pizza."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "embed.W_E": (D_MODEL, vocabulary),
        "pos_embed.W_pos": (positions, D_MODEL),
        **{f"blocks.0.attn.{name}": (HEADS, D_HEAD, D_MODEL) for name in ("W_Q", "W_K", "W_V")},
        "blocks.0.attn.W_O": (D_MODEL, HEADS * D_HEAD),
        "blocks.0.mlp.W_in": (D_MLP, D_MODEL),
        "blocks.0.mlp.b_in": (D_MLP,),
        "blocks.0.mlp.W_out": (D_MODEL, D_MLP),
        "blocks.0.mlp.b_out": (D_MODEL,),
        "unembed.W_U": (D_MODEL, vocabulary),
    }
    made = {n: torch.randn(s, generator=generator, dtype=torch.float64) for n, s in shapes.items()}
    return made | {"blocks.0.attn.mask": torch.ones(positions, positions).tril()}


def logits_by_hand(w, tokens, coefficient=1.0):
    """Of the definition: the last query sees every position, with a causal mask or without."""
    x = w["embed.W_E"].T[tokens] + w["pos_embed.W_pos"]
    q = torch.einsum("hdm,bm->bhd", w["blocks.0.attn.W_Q"], x[:, -1])
    k = torch.einsum("hdm,btm->bhtd", w["blocks.0.attn.W_K"], x)
    v = torch.einsum("hdm,btm->bhtd", w["blocks.0.attn.W_V"], x)
    pattern = (torch.einsum("bhd,bhtd->bht", q, k) / D_HEAD**0.5).softmax(-1)
    pattern = coefficient * pattern + 1 - coefficient
    z = torch.einsum("bht,bhtd->bhd", pattern, v).flatten(1)
    mid = x[:, -1] + z @ w["blocks.0.attn.W_O"].T
    neurons = (mid @ w["blocks.0.mlp.W_in"].T + w["blocks.0.mlp.b_in"]).relu()
    post = mid + neurons @ w["blocks.0.mlp.W_out"].T + w["blocks.0.mlp.b_out"]
    return post @ w["unembed.W_U"]


def pairs():
    return list(product(range(P), repeat=2))


@pytest.fixture
def file(tmp_path):
    def save(content):
        torch.save(content, tmp_path / "checkpoint.pth")
        return tmp_path / "checkpoint.pth"

    return save


def test_progress_measures(file):
    weights = theirs(P + 1, 3)
    config = {"seed": 1, "frac_train": 0.3}
    shot = importers.progress_measures(file({"model": weights, "config": config, "epoch": 50}))
    tokens = torch.tensor([(a, b, P) for a, b in pairs()])
    torch.testing.assert_close(shot.grid.logits, logits_by_hand(weights, tokens))
    shuffled = pairs()
    random.Random(1).shuffle(shuffled)
    assert shot.train.tokens[:, :2].tolist() == [list(pair) for pair in shuffled[:14]]
    assert (shot.epoch, shot.seed, shot.task.p) == (50, 1, P)
    trained = {name for name, p in shot.model.named_parameters() if p.requires_grad}
    assert trained == set(weights) - {"blocks.0.attn.mask"}


def test_a_split_that_the_file_does_not_say_is_asked_for(file):
    path = file(theirs(P + 1, 3))
    with pytest.raises(ValueError, match="so give seed and train_fraction"):
        importers.progress_measures(path)
    assert len(importers.progress_measures(path, 2, 0.5).train.labels) == P * P // 2


@pytest.mark.parametrize("coefficient", [0.0, 0.25, 1.0])
def test_pizza(file, coefficient):
    weights = theirs(P, 2)
    shot = importers.pizza(file(weights), coefficient, seed=0)
    expected = logits_by_hand(weights, torch.tensor(pairs()), coefficient)
    torch.testing.assert_close(shot.grid.logits, expected)
    assert not shot.reads_equals
    # Waves are over the residues, of which there are as many as tokens.
    with gh.applied(shot.model, [gh.FilterFrequencies("blocks.0.mlp.hook_post", (3,))]):
        assert not torch.allclose(shot.grid.logits, expected)
    with pytest.raises(NotApplicable, match="reads a and b alone"):
        PROBES["qk_table"](shot)
    parts = circuits.direct_logit_attribution(shot)
    total = parts["direct"] + parts["heads"].sum() + parts["neurons"].sum() + parts["biases"]
    assert total == pytest.approx(parts["correct_logit"], rel=1e-9)
    [picture] = circuits.grid(shot, "blocks.0.attn.hook_pattern", (1, 0)).frames
    assert picture.data["panels"][0]["title"] == "attention of head 1 from b to a"
    heads = circuits.attention_heads(shot, 3, 5)
    assert heads.frames[0].data["tokens"] == ["a=3", "b=5"]
    assert ("sums to 1" in heads.caption) is (coefficient == 1)
    if coefficient == 1:
        assert 0 < PROBES["attention_entropy"](shot)["mean"] <= np.log(2)
        assert PROBES["attention_uniformity"](shot)["mean"] <= 1
    else:
        for probe in ("attention_entropy", "attention_uniformity", "head_similarity"):
            with pytest.raises(NotApplicable, match="weights that sum to 1"):
                PROBES[probe](shot)


class OfPyTorch(torch.nn.Module):
    """Two layers of PyTorch's own parts, with norms in front of the attention and the MLP."""

    def __init__(self):
        super().__init__()
        nn = torch.nn
        self.tokens = nn.Embedding(P + 1, 8)
        self.positions = nn.Parameter(torch.empty(1, 3, 8))
        options = {"bias": False, "batch_first": True}
        self.attention = nn.ModuleList(nn.MultiheadAttention(8, 2, **options) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(8, eps=0) for _ in range(4))
        self.up = nn.ModuleList(nn.Linear(8, 12) for _ in range(2))
        self.down = nn.ModuleList(nn.Linear(12, 8) for _ in range(2))
        self.head = nn.Linear(8, P + 1, bias=False)

    def forward(self, tokens):
        x = self.tokens(tokens) + self.positions
        for i in range(2):
            y = self.norms[2 * i](x)
            x = x + self.attention[i](y, y, y, need_weights=False)[0]
            x = x + self.down[i](self.up[i](self.norms[2 * i + 1](x)).relu())
        return self.head(x)


NAMES = {"embed.W_E": "tokens.weight", "pos_embed.W_pos": "positions", "unembed.W_U": "head.weight"}
for layer in range(2):
    NAMES[f"blocks.{layer}.attn"] = f"attention.{layer}"
    for kind, theirs_kind in (("w", "weight"), ("b", "bias")):
        NAMES[f"blocks.{layer}.ln1.{kind}"] = f"norms.{2 * layer}.{theirs_kind}"
        NAMES[f"blocks.{layer}.ln2.{kind}"] = f"norms.{2 * layer + 1}.{theirs_kind}"
    for ours_part, theirs_part in (("in", "up"), ("out", "down")):
        NAMES[f"blocks.{layer}.mlp.W_{ours_part}"] = f"{theirs_part}.{layer}.weight"
        NAMES[f"blocks.{layer}.mlp.b_{ours_part}"] = f"{theirs_part}.{layer}.bias"
PRE = gi.ModelConfig("pre", n_layers=2, d_model=8, n_heads=2, d_mlp=12)


@pytest.fixture
def of_pytorch():
    model = OfPyTorch().double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.5, generator=generator)
    return model


def test_a_model_of_pytorch_s_own_parts(file, of_pytorch):
    shot = importers.multihead_attention(file(of_pytorch.state_dict()), PRE, ModularTask(P), NAMES)
    logits = of_pytorch(shot.grid.tokens)[:, -1]
    torch.testing.assert_close(shot.grid.logits, logits.detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("names", "config", "sentence"),
    [
        ({"blocks.1.attn": None}, PRE, r"names must say what .* calls blocks\.1\.attn"),
        ({"embed.W_E": "wte"}, PRE, r"embed\.W_E is wte, and .* has no wte; it has positions"),
        ({"ln_final.w": "norms.3.weight"}, PRE, r"it names ln_final\.w"),
        ({"blocks.1.ln2.w": "norms.0.weight"}, PRE, r"gives norms\.0\.weight twice"),
        ({}, replace(PRE, d_mlp=16), r"blocks\.0\.mlp\.W_in must be .*\(8, 16\) .* is \(8, 12\)"),
    ],
)
def test_what_does_not_fit_is_named(file, of_pytorch, names, config, sentence):
    given = {name: value for name, value in (NAMES | names).items() if value}
    with pytest.raises(ValueError, match=sentence):
        importers.multihead_attention(file(of_pytorch.state_dict()), config, ModularTask(P), given)


@pytest.mark.parametrize(
    "bias",
    ["attention.1.in_proj_bias", "attention.0.out_proj.bias", "attention.0.bias_k", "head.bias"],
)
def test_what_the_model_has_not_is_refused(file, of_pytorch, bias):
    weights = {**of_pytorch.state_dict(), bias: torch.ones(8, dtype=torch.float64)}
    with pytest.raises(ValueError, match=f"of {re.escape(bias)} it has nothing"):
        importers.multihead_attention(file(weights), PRE, ModularTask(P), NAMES)
    weights[bias].zero_()
    importers.multihead_attention(file(weights), PRE, ModularTask(P), NAMES)


def test_norms_that_the_config_has_not_are_refused(file, of_pytorch):
    off = replace(PRE, placement="off")
    names = {name: given for name, given in NAMES.items() if ".ln" not in name}
    with pytest.raises(ValueError, match=r"of norms\.0\.weight, norms\.0\.bias, .* nothing"):
        importers.multihead_attention(file(of_pytorch.state_dict()), off, ModularTask(P), names)


def test_eps_is_given(file, of_pytorch):
    for norm in of_pytorch.norms:
        norm.eps = 0.1
    path = file(of_pytorch.state_dict())
    shot = importers.multihead_attention(path, PRE, ModularTask(P), NAMES, eps=0.1)
    logits = of_pytorch(shot.grid.tokens)[:, -1].detach()
    torch.testing.assert_close(shot.grid.logits, logits, rtol=1e-10, atol=1e-10)


def demo(**changes):
    options = {
        "n_layers": 1,
        "d_model": 8,
        "d_head": 4,
        "n_heads": 2,
        "d_mlp": 12,
        "n_ctx": 3,
        "d_vocab": P + 1,
        "d_vocab_out": P,
        "act_fn": "relu",
        "normalization_type": None,
        "seed": 999,
    }
    return plain_model(**{**options, **changes})


@pytest.mark.hooked_transformer
@pytest.mark.parametrize("saved", ["as the notebook does", "state dict"])
def test_the_grokking_demo(file, saved):
    model = demo()
    indices = torch.randperm(P * P, generator=torch.Generator().manual_seed(598))[:14]
    content = model.state_dict()
    if saved == "as the notebook does":
        indices = indices.flip(0)
        content = {"model": content, "config": model.cfg, "train_indices": indices}
    shot = importers.grokking_demo(file(content))
    tokens = torch.tensor([(a, b, P) for a, b in pairs()])
    torch.testing.assert_close(shot.grid.logits, model(tokens)[:, -1])
    assert shot.train.tokens.tolist() == tokens[indices].tolist()
    assert shot.grid.logits.shape == (P * P, P)
    # Every probe that does not need our blocks' hooks, or another checkpoint.
    probes = PROBES.keys() - {"cka", "representation_drift", "trajectory", "llc", "ntk"}
    found = gi.measure(shot, sorted(probes - {"norm_readout", "shortcut"}))
    assert found.failures == {}


@pytest.fixture
def published(file):
    """The demo's own model before training, drawn as the notebook's TransformerLens drew it."""
    shapes = {"embed.W_E": (114, 128), "pos_embed.W_pos": (3, 128)}
    shapes |= {f"blocks.0.attn.{name}": (4, 128, 32) for name in ("W_Q", "W_K", "W_V")}
    shapes |= {"blocks.0.attn.W_O": (4, 32, 128), "blocks.0.mlp.W_in": (128, 512)}
    shapes |= {"blocks.0.mlp.W_out": (512, 128), "unembed.W_U": (128, 113)}
    generator = torch.Generator().manual_seed(999)
    weights = {
        name: torch.empty(shape).normal_(0, 0.8 / 128**0.5, generator=generator)
        for name, shape in shapes.items()
    }
    return importers.grokking_demo(file(weights))


def loss(shot, split):
    inputs = shot.inputs(split)
    return F.cross_entropy(shot.model(inputs.tokens)[:, -1].double(), inputs.labels)


def test_the_demo_starts_as_published(published):
    assert loss(published, "train").item() == pytest.approx(4.7349578772, rel=1e-8)
    assert PROBES["attention_entropy"](published)["mean"] == pytest.approx(np.log(3), rel=0.05)


def trained(published, tmp_path, epochs):
    """The demo's training, by our engine from the demo's own start."""
    model = gi.ModelConfig("off", causal=True, answers="p", freeze_mlp_biases=True)
    train = gi.TrainConfig(epochs=epochs, eval_every=1, checkpoint_every=None)
    config = gi.RunConfig(published.task, model, train)
    [run] = gi.train([config], store=tmp_path / "runs", init=published.model)
    return run


def test_the_demo_s_first_step_is_the_published_one(published, tmp_path):
    row = trained(published, tmp_path, 1).metrics.iloc[-1]
    assert row["train_loss"] == pytest.approx(4.7349578772, rel=1e-8)
    assert row["test_loss"] == pytest.approx(4.7324, abs=5e-5)


@pytest.mark.slow
def test_the_demo_trains_as_published(published, tmp_path):
    """In float32, whose rounding grows with the epochs."""
    row = trained(published, tmp_path, 100).metrics.iloc[-1]
    assert row["train_loss"] == pytest.approx(2.948, rel=5e-3)
    assert row["test_loss"] == pytest.approx(7.555, rel=5e-3)


@pytest.mark.hooked_transformer
@pytest.mark.parametrize(("field", "value"), [("normalization_type", "LNPre"), ("act_fn", "gelu")])
def test_a_model_unlike_the_demo_s_is_refused(file, field, value):
    model = demo()
    setattr(model.cfg, field, value)
    path = file({"model": model.state_dict(), "config": model.cfg})
    with pytest.raises(ValueError, match=f"a {field} of .*; its is {value}"):
        importers.grokking_demo(path)


def test_a_file_that_would_run_something_is_refused(file):
    with pytest.raises(
        ValueError, match=r"and nothing to run; reading it failed: .*ModularTask"
    ) as e:
        importers.progress_measures(file({"model": {}, "task": ModularTask(P)}))
    assert "weights_only" not in str(e.value)


@pytest.mark.parametrize("without", [False, True])
def test_a_loss_is_over_the_classes_that_the_model_has(file, without):
    """The progress measures leave `=` out where there is one, and are the same without."""
    weights = theirs(P + 1, 3)
    path = file({"model": weights, "config": {"seed": 1, "frac_train": 0.3}})
    whole = importers.progress_measures(path)
    if without:
        weights["unembed.W_U"] = weights["unembed.W_U"][:, :P]
    path = file({"model": weights, "config": {"seed": 1, "frac_train": 0.3}})
    shot = importers.progress_measures(path)
    assert shot.grid.logits.shape[1] == P + 1 - without
    for probe in ("excluded_loss", "restricted_loss"):
        loss = PROBES[probe](shot, frequencies=(1, 2))["loss"]
        assert loss == pytest.approx(PROBES[probe](whole, frequencies=(1, 2))["loss"], rel=1e-12)


@pytest.mark.parametrize("importer", [importers.progress_measures, importers.grokking_demo])
def test_what_is_no_checkpoint_of_it_is_a_sentence(file, tmp_path, importer):
    with pytest.raises(ValueError, match=r"cannot read .*missing; give|cannot read .*; give the"):
        importer(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("no checkpoint")
    with pytest.raises(ValueError, match=r"must be a file of torch\.save that holds tensors"):
        importer(tmp_path / "text.pth")
    with pytest.raises(ValueError, match="it holds a list"):
        importer(file([1, 2]))
    weights = {"model": {"linear.weight": torch.zeros(2)}, "config": {"seed": 1, "frac_train": 0.3}}
    with pytest.raises(ValueError, match=re.escape("it has no embed.W_E and no ")):
        importer(file(weights))


def test_a_checkpoint_of_another_source_is_refused(file):
    """Which would be read with one token too many, or one too few."""
    with pytest.raises(ValueError, match="a model of 2 positions; it has 3"):
        importers.pizza(file(theirs(P + 1, 3)), 0.0)
    with pytest.raises(ValueError, match="a model of 3 positions; it has 2"):
        importers.progress_measures(file(theirs(P, 2)), 1, 0.3)


@pytest.mark.parametrize("lost", ["pos_embed.W_pos", "blocks.0.attn.W_K", "blocks.0.mlp.b_in"])
def test_a_weight_that_is_not_there_is_named(file, lost):
    weights = {name: value for name, value in theirs(P, 2).items() if name != lost}
    with pytest.raises(ValueError, match=re.escape(f"it has no {lost}, but")):
        importers.pizza(file(weights), 0.0)


def test_a_task_whose_p_is_one_too_many_is_refused():
    """Its vocabulary without `=` is as large as that of the model with it."""
    model = gi.build_model(gi.ModelConfig(d_model=8, n_heads=2), ModularTask(P))
    with pytest.raises(ValueError, match=r"must have a context of 2 to read \[a, b\]"):
        gi.Snapshot(model, ModularTask(P + 1))


def test_a_coefficient_is_a_share(file):
    with pytest.raises(ValueError, match="attn_coeff must be a number from 0 to 1; got 2"):
        importers.pizza(file(theirs(P, 2)), 2.0)


@pytest.mark.hooked_transformer
@pytest.mark.parametrize("change", [{"d_vocab": P - 1}, {"d_vocab_out": P + 2}, {"n_ctx": 2}])
def test_a_model_of_another_task_is_refused(change):
    model = demo(**change)
    with pytest.raises(ValueError, match=r"vocabulary must be the task's 8|context of 3 or more"):
        gi.Snapshot(model, ModularTask(P))


if FOREIGN:

    def test_the_known_numbers_of_progress_measures():
        shot = importers.progress_measures(Path(FOREIGN) / "wd_10-1_mod_addition_loss_curve.pth")
        keys = (6, 23, 37, 39, 41)
        loss = F.cross_entropy(shot.train.logits.double(), shot.train.labels).item()
        assert loss == pytest.approx(9.2024e-9, rel=1e-4)
        per_key = PROBES["excluded_loss"](shot, frequencies=keys)["per_key"]
        known = [0.029258, 1.17578, 0.000436, 0.000065, 0.000261]
        np.testing.assert_allclose(per_key, known, atol=5e-7, rtol=1e-5)
        coefficients = PROBES["logit_formula"](shot, frequencies=keys)["coefficients"]
        np.testing.assert_allclose(coefficients[:2], [7962.94, 26586.03], atol=5e-3)

    def test_the_known_numbers_of_pizza():
        shot = importers.pizza(Path(FOREIGN) / "model_p99zdpze5l.pt", 0.0)
        irrelevance = PROBES["distance_irrelevance"](shot)["value"]
        assert irrelevance == pytest.approx(0.171736, abs=1e-6)
        assert PROBES["circularity"](shot)["value"] == pytest.approx(0.997818, abs=1e-6)
        triples = list(product(range(59), repeat=3))
        random.Random(42).shuffle(triples)
        found = symmetricity_of(shot, np.array(triples[:100]))["value"]
        assert found == pytest.approx(0.993665, abs=1e-6)
