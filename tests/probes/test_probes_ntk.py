"""The tangent kernel: the authors' numbers, explicit gradients, closed forms, and controls."""

import math
import sys

import pytest
import torch
from cases import EVERY_PLACEMENT, TASK, perturbed_model, slow_but, small_config
from golden import ENTRIES, of_golden
from lens import plain_model
from runs_cases import SMALL_RUN, with_recipe

import grokinterp as gi
from grokinterp.model.build import build_model
from grokinterp.probes import gram
from grokinterp.probes.calls import ProbeCall
from grokinterp.probes.ntk import kernel, ntk
from grokinterp.snapshot import NotApplicable, Snapshot
from grokinterp.task import ModularTask

# The package's own attribute of that name is the probe.
NTK = sys.modules["grokinterp.probes.ntk"]
KINDS = ("sum_logits", "trace")
of_each_kind = pytest.mark.parametrize("kind", KINDS)


def small_snapshot(placement="off", seed=0, **options) -> Snapshot:
    return Snapshot(perturbed_model(small_config(placement, **options), seed), TASK, seed=1)


def explicit_kernel(shot: Snapshot, kind: str, split: str = "train") -> torch.Tensor:
    """From every example's own gradient in every trainable parameter."""
    parameters = [p for p in shot.model.parameters() if p.requires_grad]
    logits = shot.model(getattr(shot, split).tokens)[:, -1]
    outputs = logits.sum(1, keepdim=True) if kind == "sum_logits" else logits
    gradients = torch.stack(
        [
            torch.cat([g.flatten() for g in _gradient(output, parameters)])
            for output in outputs.flatten()
        ]
    ).unflatten(0, outputs.shape)
    return torch.einsum("icn,jcn->ij", gradients, gradients)


def _gradient(output, parameters):
    return torch.autograd.grad(
        output, parameters, retain_graph=True, allow_unused=True, materialize_grads=True
    )


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


WITH_KERNEL = [key for key in ENTRIES if "ntk_init" in ENTRIES[key]]


@pytest.mark.parametrize("key", WITH_KERNEL)
def test_the_authors_kernels(key):
    start, end = of_golden(key, "at_init"), of_golden(key, "at_end")
    end = Snapshot(end.model, end.task, seed=0, others=lambda which: {"initial": start}[which])
    theirs = ENTRIES[key]["ntk_init"]
    first = kernel(start, rows=40)
    assert first[0, 0].item() == pytest.approx(theirs["sum_logits_00"], rel=1e-8)
    assert first[0, 1].item() == pytest.approx(theirs["sum_logits_01"], rel=1e-8)
    # Their trace kernel was accumulated in float32.
    for kind, rel in (("sum_logits", 1e-8), ("trace", 1e-5)):
        ours = ntk(end, kind, rows=40)
        assert ours["initial_norm"] == pytest.approx(theirs[f"{kind}_fro"], rel=rel)
        distance = ENTRIES[key]["ntk_end"][f"{kind}_relative_distance"]
        assert ours["relative_distance"] == pytest.approx(distance, rel=rel)


def test_nine_placements_and_two_scales_have_the_authors_kernels():
    assert len(WITH_KERNEL) == 11


@of_each_kind
@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("placement", EVERY_PLACEMENT)
def test_equals_explicit_gradients_of_every_placement(placement, norm, kind):
    shot = small_snapshot(placement, norm=norm)
    assert relative_error(kernel(shot, kind), explicit_kernel(shot, kind)) < 1e-9


VARIANTS = {
    "deep": {"n_layers": 3},
    "gated": {"gated_mlp": True},
    "tied": {"tied_unembedding": True},
    "final norm": {"final_norm": "learned"},
    "frozen final norm": {"final_norm": "center-only"},
    "scaled": {"readout_scale": 1.7},
    "frozen norms": {"freeze_ln": True},
    "causal": {"n_layers": 3, "causal": True},
    "residues": {"answers": "p"},
    "all": {
        "n_layers": 2,
        "gated_mlp": True,
        "tied_unembedding": True,
        "final_norm": "learned",
        "readout_scale": 0.6,
        "norm": "rms",
        "answers": "p",
    },
}


@of_each_kind
@pytest.mark.parametrize(
    "placement", slow_but(("mlp-pre", "post"), ("off", "pre", "mlp-pre", "post", "peri"))
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_equals_explicit_gradients_of_every_variant(variant, placement, kind):
    shot = small_snapshot(placement, **VARIANTS[variant])
    assert relative_error(kernel(shot, kind), explicit_kernel(shot, kind)) < 1e-9


@of_each_kind
@pytest.mark.parametrize("frozen", ["embed", "pos_embed", "unembed", "attn.W_", "W_in", "b_"])
def test_frozen_parameters_do_not_count(frozen, kind):
    shot = small_snapshot("peri")
    whole = kernel(shot, kind)
    for name, parameter in shot.model.named_parameters():
        parameter.requires_grad_(frozen not in name)
    found = kernel(shot, kind)
    assert relative_error(found, explicit_kernel(shot, kind)) < 1e-9
    assert relative_error(found, whole) > 1e-4


@of_each_kind
def test_blocks_of_rows_and_of_directions_are_seams_that_do_not_show(kind, monkeypatch):
    shot = small_snapshot("post")
    whole = kernel(shot, kind, "grid")
    monkeypatch.setattr(gram, "ROWS", 7)
    monkeypatch.setattr(gram, "DIRECTIONS", 2)
    assert relative_error(kernel(shot, kind, "grid"), whole) < 1e-13
    assert relative_error(kernel(shot, kind, "grid", rows=9), whole[:9, :9]) < 1e-13


@of_each_kind
def test_in_float32_it_is_the_same_to_rounding(kind):
    config = gi.ModelConfig("peri", d_model=16, n_heads=2)
    narrow, wide = (build_model(config, TASK, 0, dtype) for dtype in ("float32", "float64"))
    wide.load_state_dict(narrow.state_dict())
    found = kernel(Snapshot(narrow, TASK, seed=0), kind, "grid")
    assert found.dtype == torch.float32
    assert relative_error(found.double(), kernel(Snapshot(wide, TASK, seed=0), kind, "grid")) < 1e-5


def test_closed_form_of_a_linear_model():
    """With attention and MLP silenced, z = α W_Uᵀ e for the last position's e = W_E[=] + W_pos[2].

    Every input has the same e, so of W_U, W_E and W_pos every pair of inputs has a kernel of
    α²(C‖e‖² + 2‖W_U 1‖²); and of the silent weights W_O (with activations z) and b_out, which
    reach the residual stream too, α²‖W_U 1‖² (⟨z_i, z_j⟩ + 1). The trace has ‖W_U‖_F² for ‖W_U 1‖².
    """
    shot = small_snapshot("off", readout_scale=1.5)
    block = shot.model.blocks[0]
    with torch.no_grad():
        for silenced in (block.attn.W_O, block.mlp.W_in, block.mlp.b_in):
            silenced.zero_()
        block.mlp.b_in.sub_(1)  # Below the ReLU's kink, so that it has no gradient.
        block.mlp.b_out.zero_()
    e = shot.model.W_E[-1] + shot.model.W_pos[2]
    w_u = shot.model.unembed.W_U
    z = shot.train.cache["z", 0][:, -1].flatten(1)
    for kind, size in (("sum_logits", w_u.sum(1).square().sum()), ("trace", w_u.square().sum())):
        readout = 1.5**2 * TASK.d_vocab * e.square().sum()
        expected = readout + 1.5**2 * size * (2 + 1 + z @ z.T)
        assert relative_error(kernel(shot, kind), expected.detach()) < 1e-12


@of_each_kind
def test_the_kernel_is_symmetric_and_positive_semidefinite(kind):
    found = kernel(small_snapshot("peri"), kind, "grid")
    assert torch.equal(found, found.T)
    eigenvalues = torch.linalg.eigvalsh(found)
    assert eigenvalues[0] > -1e-10 * eigenvalues[-1]
    assert eigenvalues[-1] > 0


def of_seed(seed: int, initial: Snapshot | None = None, p: int = 23) -> Snapshot:
    task = ModularTask(p)
    config = gi.ModelConfig("mlp-pre", d_model=32, n_heads=4)
    others = None if initial is None else lambda which: {"initial": initial}[which]
    return Snapshot(build_model(config, task, seed, "float64"), task, seed=0, others=others)


@of_each_kind
def test_no_distance_from_itself_and_a_clear_one_from_another_initialisation(kind):
    start = of_seed(0)
    same, other = ntk(of_seed(0, start), kind), ntk(of_seed(1, start), kind)
    assert same["relative_distance"] == 0
    assert same["kernel_distance"] == 0
    assert same["norm"] == same["initial_norm"] > 0
    assert other["relative_distance"] > 0.05
    assert other["kernel_distance"] > 1e-3
    k, k_0 = kernel(of_seed(1), kind), kernel(start, kind)
    cosine = (k * k_0).sum() / (k.norm() * k_0.norm())
    assert other["kernel_distance"] == pytest.approx(1 - cosine.item(), rel=1e-9)


def test_the_kernel_distance_is_blind_to_scale():
    start, scaled = of_seed(0), of_seed(0)
    scaled = Snapshot(scaled.model, scaled.task, seed=0, others=lambda which: start)
    scaled.model.unembed.readout_scale = 3.0
    found = ntk(scaled)
    assert found["relative_distance"] == pytest.approx(8)
    assert found["kernel_distance"] == pytest.approx(0, abs=1e-20)


def test_alignment_of_the_label_kernel_is_one_and_of_a_random_network_is_not(monkeypatch):
    shot = of_seed(0)
    random = {kind: ntk(shot, kind) for kind in KINDS}
    labels = shot.train.labels
    same = (labels[:, None] == labels).double()
    monkeypatch.setattr(NTK, "kernel", lambda *_: same)
    perfect = ntk(shot)
    assert perfect["alignment"] == pytest.approx(1)
    assert perfect["centred_alignment"] == pytest.approx(1)
    monkeypatch.setattr(NTK, "kernel", lambda *_: same + 5)
    assert ntk(shot)["alignment"] < 0.5
    assert ntk(shot)["centred_alignment"] == pytest.approx(1)
    for found in random.values():
        assert found["alignment"] < 0.35
        assert abs(found["centred_alignment"]) < 0.25


def test_the_initial_kernel_is_computed_once(monkeypatch):
    start, calls = of_seed(0, p=7), []
    gradient_gram = gram.gradient_gram

    def counted(model, *arguments):
        calls.append(model)
        return gradient_gram(model, *arguments)

    monkeypatch.setattr(NTK, "gradient_gram", counted)
    first, second = of_seed(1, start, p=7), of_seed(2, start, p=7)
    ntk(first)
    ntk(second)
    assert calls.count(start.model) == 1
    assert len(calls) == 3


def test_without_an_initial_snapshot_there_are_no_distances():
    assert set(ntk(of_seed(0, p=7))) == {"norm", "alignment", "centred_alignment"}


def distances(shot: Snapshot, start: Snapshot, kind: str) -> tuple[float, float]:
    """Of the kernels of explicit gradients."""
    k, k_0 = explicit_kernel(shot, kind), explicit_kernel(start, kind)
    cosine = (k * k_0).sum() / (k.norm() * k_0.norm())
    return ((k - k_0).norm() / k_0.norm()).item(), 1 - cosine.item()


@of_each_kind
def test_how_far_it_moved_since_any_checkpoint(tmp_path, kind):
    config = with_recipe(dtype="float64", lr=1e-2)
    [run] = gi.train([config], store=tmp_path)
    shot = run.snapshot(30)
    for other, epoch in (("previous", 20), (10, 10), ("final", 30), (0, 0)):
        found = ntk(shot, kind, other=other)
        relative, by_cosine = distances(shot, run.snapshot(epoch), kind)
        assert found["other_epoch"] == epoch
        norm = explicit_kernel(run.snapshot(epoch), kind).norm().item()
        assert found["other_norm"] == pytest.approx(norm, rel=1e-9)
        assert found["relative_distance"] == pytest.approx(relative, rel=1e-9, abs=1e-12)
        assert found["kernel_distance"] == pytest.approx(by_cosine, rel=1e-6, abs=1e-12)
        assert "initial_norm" not in found
        if epoch < 30:
            assert found["relative_distance"] > 1e-3
    # The default's names and values are as ever.
    default = ntk(shot, kind)
    from_start = ntk(shot, kind, other=0)
    assert default["initial_norm"] == from_start["other_norm"]
    for name in ("relative_distance", "kernel_distance", "norm", "alignment"):
        assert default[name] == from_start[name]
    assert set(default) == (set(from_start) - {"other_norm", "other_epoch"}) | {"initial_norm"}


def test_a_scaled_kernel_has_moved_by_its_scale_alone():
    """Twice the readout scale makes four times the kernel: 3 in norm, and 0 by the cosine."""
    before, now = of_seed(0, p=7), of_seed(0, p=7)
    now.model.unembed.readout_scale = 2.0
    shot = Snapshot(
        now.model, now.task, seed=0, epoch=5, others=lambda which: {"previous": before}[which]
    )
    found = ntk(shot, other="previous")
    assert found["relative_distance"] == pytest.approx(3)
    assert found["kernel_distance"] == pytest.approx(0, abs=1e-20)
    assert math.isnan(found["other_epoch"])


def test_what_is_not_there_to_compare_with_is_a_sentence(tmp_path):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    with pytest.raises(NotApplicable, match="no checkpoint before epoch 0"):
        ntk(run.snapshot(0), other="previous")
    with pytest.raises(NotApplicable, match="at epoch 7, which run"):
        ntk(run.snapshot(), other=7)
    with pytest.raises(NotApplicable, match="with the checkpoint at epoch 7, which this snapshot"):
        ntk(small_snapshot(), other=7)
    with pytest.raises(ValueError, match="must have the same examples; give them one task and"):
        ntk(Snapshot(small_snapshot().model, TASK, 2, others=lambda which: small_snapshot()))


def test_moved_since_is_probed_by_its_text_and_recorded_from_the_start_alone(tmp_path):
    [run] = gi.train([with_recipe(probes={"ntk": 10})], store=tmp_path)
    with pytest.warns(match="ntk:other=previous was left out: .* no checkpoint before epoch 0"):
        table = gi.probe([run], ["ntk:other=previous", "ntk:other=10", "cka:other=10"])
    found = table.set_index(["probe", "epoch", "name"])["value"]
    assert found["ntk:other=previous", 30, "other_epoch"] == 20
    assert found["ntk:other=10", 30, "other_epoch"] == 10
    assert found["ntk:other=10", 10, "relative_distance"] == 0
    assert found["cka:other=10", 10, "blocks.0.hook_resid_post"] == pytest.approx(1)
    assert ("ntk:other=previous", 0, "norm") not in found
    with pytest.raises(
        ValueError, match=r"cannot record .* with the previous checkpoint, which tr"
    ):
        gi.train([with_recipe(probes={"ntk:other=previous": 10})], store=tmp_path)
    with pytest.raises(ValueError, match="other of ntk must be one of initial, final, previous or"):
        ProbeCall.parse("ntk:other=before")
    # Epoch 0 is the start by another name.
    [run] = gi.train([with_recipe(probes={"ntk:other=0": 10})], store=tmp_path)
    assert run.probes.query("name == 'other_epoch'")["value"].tolist() == [0, 0, 0]


def test_the_model_is_left_as_it_was():
    shot = small_snapshot("peri")
    before = {name: value.clone() for name, value in shot.model.state_dict().items()}
    with torch.no_grad():
        kernel(shot, "trace")
    assert all(torch.equal(before[name], v) for name, v in shot.model.state_dict().items())
    assert all(not module._forward_hooks for module in shot.model.modules())
    assert all(p.grad is None and p.requires_grad for p in shot.model.parameters())


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"kind": "sum"}, "unknown kind 'sum'; choose one of sum_logits, trace"),
        ({"split": "all"}, "unknown split 'all'; choose one of train, test, grid"),
        ({"rows": 0}, "rows must be at least 1"),
    ],
)
def test_an_unknown_option_is_a_sentence(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        ntk(small_snapshot(), **options)


@pytest.mark.hooked_transformer
def test_a_model_that_is_not_ours_is_a_sentence():
    model = plain_model(
        n_layers=1,
        d_model=8,
        n_ctx=3,
        d_head=4,
        n_heads=2,
        d_mlp=8,
        act_fn="relu",
        d_vocab=TASK.d_vocab,
        d_vocab_out=TASK.d_vocab,
        normalization_type=None,
    )
    with pytest.raises(ValueError, match="for the parameters of build_model's models"):
        ntk(Snapshot(model, TASK, seed=0))


def test_a_model_with_nothing_to_train_is_a_sentence():
    shot = small_snapshot()
    shot.model.requires_grad_(False)
    with pytest.raises(ValueError, match="this model has none"):
        ntk(shot)
