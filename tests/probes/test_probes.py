"""Probes against the authors' numbers, closed forms, and negative controls."""

import math

import numpy as np
import pytest
import torch
from golden import ENTRIES, of_golden
from lens import plain_model
from runs_cases import SMALL_RUN, with_recipe

import grokinterp as gi
from grokinterp.model.build import build_model
from grokinterp.probes import PROBES
from grokinterp.probes.attention import similarity_of
from grokinterp.probes.compressibility import spectrum_summary, start_of_power_law
from grokinterp.snapshot import NotApplicable, Snapshot
from grokinterp.store.state import RunState
from grokinterp.task import ModularTask
from grokinterp.training.engine import train_together

TASK = ModularTask(p=7)


def snapshot(placement="off", task=TASK, **options) -> Snapshot:
    config = gi.ModelConfig(placement, d_model=16, n_heads=2, **options)
    return Snapshot(build_model(config, task, 1, "float64"), task, seed=1)


at_both_ends = pytest.mark.parametrize("stage", ["at_init", "at_end"])


@at_both_ends
@pytest.mark.parametrize("key", ENTRIES)
def test_the_authors_attention_entropy_and_concentration(key, stage):
    theirs, shot = ENTRIES[key][stage], of_golden(key, stage)
    names = {
        "per_head_final_query": "final_query",
        "per_head_all_queries": "all_queries",
        "head_averaged_final_query": "head_average",
        "head_averaged_all_queries": "paper",
    }
    assert theirs["attention_entropy"].keys() == names.keys()
    for name, value in theirs["attention_entropy"].items():
        ours = PROBES["attention_entropy"](shot, convention=names[name])["mean"]
        assert ours == pytest.approx(value, rel=1e-8), name
    concentration = PROBES["fourier_concentration"](shot)["value"]
    assert concentration == pytest.approx(theirs["fourier_concentration"], rel=1e-8)


@at_both_ends
@pytest.mark.parametrize("side", ["train", "test"])
@pytest.mark.parametrize("key", ENTRIES)
def test_the_authors_compressibility(key, side, stage):
    theirs = ENTRIES[key][stage][f"{side}_compressibility"]
    ours = PROBES["compressibility"](of_golden(key, stage), split=side)
    names = {"stable_rank": "stable_rank_paper"}
    for name, value in theirs.items():
        # What leans on the smallest eigenvalues is no better than their own relative error.
        rel = 1e-7 if name in ("alpha", "effective_rank") else 1e-8
        assert ours[names.get(name, name)] == pytest.approx(value, rel=rel), name


WITH_SHORTCUT = [key for key in ENTRIES if "shortcut_reference" in ENTRIES[key]["at_init"]]


@at_both_ends
@pytest.mark.parametrize("key", WITH_SHORTCUT)
def test_the_authors_shortcut(key, stage):
    theirs = ENTRIES[key][stage]["shortcut_reference"]
    ours = PROBES["shortcut"](of_golden(key, stage), convention="paper")
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, rel=1e-8), name


def test_attention_of_known_entropy():
    shot = snapshot()
    with torch.no_grad():
        shot.model.blocks[0].attn.W_Q.zero_()
    entropy = PROBES["attention_entropy"](shot)
    assert entropy["per_head"] == pytest.approx([math.log(3)] * 2)
    assert PROBES["attention_uniformity"](shot)["mean"] == pytest.approx(1)
    assert PROBES["attention_uniformity"](shot)["pattern"] == pytest.approx(np.full((2, 3), 1 / 3))
    assert PROBES["head_similarity"](shot)["cosine"] == pytest.approx(1)


def test_one_hot_attention_has_no_entropy():
    shot = snapshot()
    with torch.no_grad():
        shot.model.blocks[0].attn.W_Q.mul_(1e6)
        shot.model.blocks[0].attn.W_K.mul_(1e6)
    assert PROBES["attention_entropy"](shot)["mean"] == pytest.approx(0, abs=1e-12)


def test_random_attention_is_neither():
    assert 0.1 < PROBES["attention_entropy"](snapshot("attn-pre"))["mean"] < math.log(3) - 1e-3
    assert PROBES["head_similarity"](snapshot("attn-pre"))["cosine"] < 1 - 1e-3


@pytest.mark.parametrize("r", [1, 3, 8])
def test_the_ranks_of_r_equal_eigenvalues_are_r(r):
    rotation = torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64))[0]
    found = spectrum_summary(2.5 * rotation[:r])
    for name in ("rank", "effective_rank", "stable_rank"):
        assert found[name] == pytest.approx(r), name
    assert found["stable_rank_paper"] == pytest.approx(r**0.5)


def test_the_power_law_of_a_power_law():
    # Quantiles of a Pareto distribution of exponent 2.5, as eigenvalues.
    quantiles = (1 - (torch.arange(400).double() + 0.5) / 400) ** (-1 / 1.5)
    found = spectrum_summary(torch.diag(quantiles.sqrt()))
    assert found["alpha"] == pytest.approx(2.5, rel=0.05)
    assert 1 <= found["alpha_xmin"] < 1.5
    # Noise has no heavy tail: the fit is as steep as the package lets it be.
    noise = torch.randn(4000, 100, generator=torch.Generator().manual_seed(0)).double()
    assert spectrum_summary(noise)["alpha"] > 2.99


def spectra_of_models():
    for placement, stage in [("off", "grokked"), ("mlp-pre", "grokked"), ("pre", "memorised")]:
        shot = gi.pretrained_snapshot(placement, stage)
        yield PROBES["compressibility"](shot)["eigenvalues"]
        weights = PROBES["weight_spectra"](shot)
        yield from (value for name, value in weights.items() if name.endswith("eigenvalues"))


def spectra_at_random():
    """Heavy tails and none, ties, matrices without full rank, orders of magnitude, few values."""
    rng = np.random.default_rng(0)
    for size in (3, 4, 5, 17, 60):
        noise = rng.standard_normal((size, 2 * size))
        yield from (rng.pareto(exponent, size) + 1 for exponent in (0.1, 1.5, 5))
        yield from (np.exp(rng.normal(0, spread, size)) for spread in (0.1, 2, 12))
        yield from (rng.integers(1, 10, size).astype(float), np.repeat(rng.pareto(1, size) + 1, 3))
        yield from (np.linalg.eigvalsh(gram) for gram in (noise @ noise.T, noise.T @ noise))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spectra", [spectra_of_models, spectra_at_random])
def test_a_power_law_starts_where_the_package_has_it_start(spectra):
    import powerlaw

    chosen = []
    for spectrum in spectra():
        positive = spectrum[spectrum > 0]
        start = start_of_power_law(positive)
        fit = powerlaw.Fit(positive, verbose=False)
        if start is None:  # The package says that it found none good enough.
            assert fit.noise_flag
            continue
        chosen.append(start)
        assert start == fit.xmin
        alpha = powerlaw.Fit(positive, xmin=start, verbose=False).power_law.alpha
        assert alpha == fit.power_law.alpha
    assert len(chosen) > 20


def test_weight_spectra_of_known_weights():
    shot = snapshot()
    with torch.no_grad():
        shot.model.blocks[0].mlp.W_in.zero_()[:5, :5] = torch.eye(5)
    found = PROBES["weight_spectra"](shot)
    assert found["blocks.0.mlp.W_in.effective_rank"] == pytest.approx(5)
    ranks = [value for name, value in found.items() if name.endswith("W_Q.effective_rank")]
    assert 5 < ranks[0] <= 16
    every = [
        v for n, v in found.items() if n.startswith("blocks") and n.endswith(".effective_rank")
    ]
    assert len(every) == 6
    assert found["mean.effective_rank"] == pytest.approx(np.mean(every))


def test_periodic_embeddings_concentrate_and_random_ones_do_not():
    task = ModularTask(p=31)
    shot = snapshot(task=task)
    assert PROBES["fourier_concentration"](shot)["value"] < 0.2
    angle = 2 * math.pi * 5 * torch.arange(31).double() / 31
    phase = torch.arange(16).double()
    with torch.no_grad():
        shot.model.embed.W_E[:31] = torch.cos(angle[:, None] + phase)
    found = PROBES["fourier_concentration"](shot)
    assert found["value"] > 1e3
    assert int(np.argmax(found["per_frequency"])) == 5


@pytest.mark.parametrize("kind", ["unit_norm", "shuffle_norm"])
def test_shortcut_without_an_mlp_is_no_change_and_with_one_is(kind):
    shot = snapshot()
    assert abs(PROBES["shortcut"](shot, kind)["train_loss_rise"]) > 1e-6
    with torch.no_grad():
        shot.model.blocks[0].mlp.W_in.zero_()
    rise = PROBES["shortcut"](Snapshot(shot.model, TASK, 1), kind)["train_loss_rise"]
    assert rise == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("kind", ["unit_norm", "shuffle_norm"])
@pytest.mark.parametrize("placement", ["off", "mlp-pre", "post", "peri"])
def test_the_shortcut_goes_on_from_the_mlp_as_the_whole_model_does(placement, kind):
    shot = snapshot(placement, final_norm="learned")
    found = PROBES["shortcut"](shot, kind, split="test")
    assert not any(name.startswith("train") for name in found)
    ablation = {"unit_norm": gi.hooks.UnitNorm, "shuffle_norm": gi.hooks.ShuffleNorm}[kind]
    with torch.no_grad(), gi.hooks.applied(shot.model, [ablation("mlp")]) as model:
        logits = model(shot.test.tokens)[:, -1]
    loss = torch.nn.functional.cross_entropy(logits, shot.test.labels).item()
    assert found["test_loss"] == pytest.approx(loss, rel=1e-12)


@pytest.mark.parametrize("hook", [None, gi.hooks.UnitNorm("q"), gi.hooks.UnitNorm("mlp")])
@pytest.mark.parametrize("placement", ["off", "mlp-pre", "attn-pre", "post", "peri"])
def test_the_paper_s_shortcut_is_that_of_the_model_without_norms(placement, hook):
    shot = snapshot(placement, final_norm="learned")
    attached = [] if hook is None else [hook]
    removed = [gi.hooks.RemoveNorm(pathway) for pathway in ("q", "k", "v", "mlp")]
    with torch.no_grad(), gi.hooks.applied(shot.model, attached):
        found = PROBES["shortcut"](shot, convention="paper", split="test")
        with gi.hooks.applied(shot.model, [*removed, gi.hooks.UnitNorm("mlp")]) as model:
            logits = model(shot.test.tokens)[:, -1]
    loss = torch.nn.functional.cross_entropy(logits, shot.test.labels).item()
    assert found["test_loss"] == pytest.approx(loss, rel=1e-12)


RUNS_ANEW = {
    "commutator_defect",
    "gradient_symmetricity",
    "hessian",
    "llc",
    "ntk",
    "shortcut",
}
"""Probes that need gradients or other weights or hooks, and so passes of their own."""


def test_each_input_set_goes_through_the_model_once(monkeypatch):
    start = snapshot(init="kaiming")
    model = snapshot().model
    shot = Snapshot(model, TASK, seed=1, others=lambda which: start)
    calls = []
    forward = type(model).forward
    monkeypatch.setattr(
        type(model),
        "forward",
        lambda self, tokens, *args, **options: (
            calls.append((id(self), len(tokens))) or forward(self, tokens, *args, **options)
        ),
    )
    few = {"llc": {"chains": 2, "draws": 2, "burn_in": 1}}
    for probe in PROBES.keys() - RUNS_ANEW - OF_A_RUN:
        PROBES[probe](shot)
        PROBES[probe](shot)
    assert len(calls) == len(set(calls))
    own = sorted(size for of, size in calls if of == id(model))
    assert own == sorted([TASK.n_train, TASK.n_test, TASK.n_pairs])
    for probe in RUNS_ANEW:
        calls.clear()
        PROBES[probe](shot, **few.get(probe, {}))
        # Without gradients and hooks the snapshot's own pass serves.
        assert all(size <= 1000 for _, size in calls)


def test_hooks_before_the_mlp_are_seen_where_it_is_rerun():
    shot = snapshot("mlp-pre")
    intact = shot.train.logits
    with gi.hooks.applied(shot.model, [gi.hooks.RemoveNorm("mlp")]) as model, torch.no_grad():
        expected = model(shot.train.tokens)[:, -1]
        torch.testing.assert_close(shot.train.rerun_last_mlp(), expected)
    assert (expected - intact).abs().max() > 1e-3
    torch.testing.assert_close(shot.train.rerun_last_mlp(), intact)


def test_heads_of_one_mode_and_independent_heads():
    generator = torch.Generator().manual_seed(0)

    def patterns(logits):
        return logits.softmax(-1)

    mode = torch.randn(4000, 1, 3, 3, generator=generator).double()
    same = similarity_of(patterns(mode.expand(-1, 4, -1, -1)))
    assert same["cosine"] == pytest.approx(1)
    assert same["participation"] == pytest.approx(0, abs=1e-9)
    assert same["entropy_std"] == pytest.approx(0, abs=1e-9)
    own = similarity_of(patterns(torch.randn(4000, 4, 3, 3, generator=generator).double()))
    assert own["participation"] == pytest.approx(1, abs=0.01)
    assert own["cosine"] < 0.9
    uniform = torch.full((5, 3, 3), 1 / 3).double()
    one_hot = torch.eye(3)[[0, 1, 2]].double().expand(5, -1, -1)
    both = similarity_of(torch.stack([uniform, one_hot], dim=1))
    assert both["entropy_std"] == pytest.approx(math.log(3) / 2)


OF_A_RUN = {"trajectory"}
"""Of checkpoints that have epochs."""
AT_THE_RUN_S_DTYPE = {"softmax_collapse", "norm_readout", "llc", "hessian"}
"""By definition, or because ties and noise decide."""


@pytest.mark.parametrize("name", sorted(PROBES.keys() - AT_THE_RUN_S_DTYPE - OF_A_RUN))
def test_a_small_float32_spectrum_is_that_of_float64(name):
    """Casting the same weights to float64 changes no scalar by more than rounding does."""
    config = gi.ModelConfig("mlp-pre", d_model=16, n_heads=2)
    single = build_model(config, TASK, 1)
    with torch.no_grad():  # Singular values down to 1e-4, whose squares float32 cannot sum.
        u, _, v = torch.linalg.svd(single.blocks[0].mlp.W_in, full_matrices=False)
        single.blocks[0].mlp.W_in.copy_(u * torch.logspace(0, -4, 16) @ v)
    double = build_model(config, TASK, 1, "float64")
    double.load_state_dict({k: v.double() for k, v in single.state_dict().items()})
    found = [
        PROBES[name](Snapshot(m, TASK, 1, others=lambda which, m=m: Snapshot(m, TASK, 1)))
        for m in (single, double)
    ]
    for key, value in found[1].items():
        if isinstance(value, float):
            assert found[0][key] == pytest.approx(value, rel=2e-3, abs=1e-5), key


def test_a_vocabulary_that_does_not_fit_is_a_sentence():
    with pytest.raises(ValueError, match="must be the task's 8 tokens"):
        Snapshot(snapshot(task=ModularTask(p=5)).model, TASK, seed=0)


@pytest.mark.hooked_transformer
@pytest.mark.parametrize("attn_only", [False, True])
@pytest.mark.parametrize("normalization", [None, "LN"])
def test_any_hooked_transformer_is_probed_or_told_why_not(normalization, attn_only):
    model = plain_model(
        n_layers=1,
        d_model=16,
        d_head=8,
        n_heads=2,
        n_ctx=3,
        d_mlp=None if attn_only else 32,
        d_vocab=8,
        d_vocab_out=8,
        act_fn="relu",
        normalization_type=normalization,
        attn_only=attn_only,
        seed=0,
    )
    shot = Snapshot(model, TASK, seed=0, others=lambda which: Snapshot(model, TASK, seed=0))
    # Of the coefficient's draws a few will do.
    probes = [*PROBES.keys() - {"llc"}, "llc:chains=2,draws=2,burn_in=1"]
    found = gi.measure(shot, probes)
    assert found.failures.keys() == found.inapplicable
    refused = {"ntk", *OF_A_RUN}
    if attn_only:
        refused |= {"norm_readout", "shortcut"}
        refused |= {"excluded_loss", "key_frequencies", "linear_probe", "logit_formula"}
        refused |= {"cka", "neuron_frequencies", "restricted_loss", "weight_spectra"}
        refused |= {"fourier_plane"}
    assert found.inapplicable == refused
    assert {probe.partition(":")[0] for probe, _ in found.scalars} == PROBES.keys() - refused
    # The readout reads the residual stream after the final norm, whoever built the model.
    residual = shot.train.readout_input
    logits = residual @ model.W_U + model.b_U
    torch.testing.assert_close(logits, shot.train.logits)


SIZES = {"n_layers": 2, "d_model": 8, "d_head": 4, "n_heads": 2, "n_ctx": 3, "d_mlp": 12}
SIZES |= {"d_vocab": 8, "d_vocab_out": 8, "attention_dir": "bidirectional", "dtype": torch.float64}


@pytest.mark.hooked_transformer
@pytest.mark.parametrize(
    ("normalization", "placement"), [(None, "off"), ("LN", "pre"), ("RMS", "pre"), ("LNPre", "pre")]
)
def test_the_input_of_a_pathway_is_the_same_in_a_plain_model(normalization, placement):
    """Which has no hook there: the tensor is known by its norm, or by the residual stream."""
    plain = plain_model(**SIZES, act_fn="relu", normalization_type=normalization, seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in plain.parameters():
            tensor.normal_(0, 0.5, generator=generator)
    config = gi.ModelConfig(
        placement,
        n_layers=2,
        d_model=8,
        n_heads=2,
        d_mlp=12,
        norm="rms" if normalization == "RMS" else "layer",
        final_norm="none" if normalization is None else "learned",
    )
    ours = gi.build_model(config, TASK, dtype="float64")
    weights = {name: torch.ones_like(p) for name, p in ours.named_parameters() if ".w" in name}
    weights |= {name: torch.zeros_like(p) for name, p in ours.named_parameters() if ".b" in name}
    ours.load_state_dict({**weights, **plain.state_dict()}, strict=False)
    for part in ours.modules():
        part.eps = 1e-5
    tokens = TASK.encode(TASK.pairs())[0]
    torch.testing.assert_close(ours(tokens), plain(tokens))
    shots = [Snapshot(model, TASK, seed=0) for model in (plain, ours)]
    for layer in range(2):
        theirs, expected = (shot.train.mlp_input(layer) for shot in shots)
        torch.testing.assert_close(theirs, expected)
    for probe in ("norm_readout", "shortcut", "shortcut:kind=shuffle_norm"):
        theirs, expected = (gi.measure(shot, [probe]).scalars for shot in shots)
        assert theirs == pytest.approx(expected, rel=1e-6)
    for pathway in ("q", "k", "v", "mlp"):
        with gi.hooks.applied(plain, [gi.hooks.UnitNorm(pathway)]):
            changed = plain(tokens)
        with gi.hooks.applied(ours, [gi.hooks.UnitNorm(pathway)]):
            torch.testing.assert_close(changed, ours(tokens))
        assert not torch.allclose(changed, plain(tokens))


def test_a_run_gives_snapshots(tmp_path):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    assert run.snapshot().epoch == 30
    assert run.snapshot(10).epoch == 10
    split = SMALL_RUN.task.split(SMALL_RUN.seed)
    assert torch.equal(run.snapshot().train.tokens, split.train_tokens)


def test_a_snapshot_knows_the_checkpoints_that_it_is_compared_with(tmp_path):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    shot = run.snapshot(20)
    assert [shot.other(which).epoch for which in ("initial", "previous", "final")] == [0, 10, 30]
    assert shot.other("initial") is run.snapshot(10).other("initial")
    assert [shot.other(epoch).epoch for epoch in (0, 10, 20)] == [0, 10, 20]
    with pytest.raises(NotApplicable, match="no checkpoint before epoch 0"):
        run.snapshot(0).other("previous")
    with pytest.raises(NotApplicable, match=r"at epoch 15, which run .* holds 0, 10, 20, 30"):
        shot.other(15)
    with pytest.raises(NotApplicable, match=r"the final checkpoint, .* take it from a run"):
        snapshot().other("final")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("which", ["first", -1, True, 10.0, None])
def test_no_other_checkpoint_of_that_name_is_a_sentence(which):
    with pytest.raises(ValueError, match="choose one of initial, final, previous, or an epoch"):
        snapshot().other(which)


@pytest.mark.parametrize(("which", "gone"), [("initial", 0), ("previous", 10), ("final", 30)])
def test_a_checkpoint_that_is_gone_is_not_replaced_by_its_neighbour(tmp_path, which, gone):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    run.checkpoint_path(gone).unlink()
    with pytest.raises(NotApplicable, match=f"at epoch {gone}, the {which} one, which run"):
        run.snapshot(20).other(which)


def test_a_diverged_run_has_no_final_checkpoint(tmp_path):
    [run] = gi.train([with_recipe(lr=1e200)], store=tmp_path)
    with pytest.raises(NotApplicable, match=r"diverged at epoch 1\) does not hold; it holds 0"):
        run.snapshot(0).other("final")


def test_what_was_saved_besides_the_schedule_comes_before_too(tmp_path):
    stop = "train_accuracy >= 0.99 for 25"
    config = with_recipe(epochs=200, lr=3e-3, checkpoint_every=17, stop_when=stop)
    [run] = gi.train([config], store=tmp_path)
    assert run.epoch % 17 > 0
    assert run.snapshot().other("previous").epoch == run.epoch // 17 * 17
    assert run.snapshot(17).other("final").epoch == run.epoch


def test_a_snapshot_remembers_what_is_asked_for_once():
    shot, calls = snapshot(), []

    def count(shot, step, by=1):
        calls.append(step)
        return step + by

    assert [shot.once(count, 1), shot.once(count, 1), shot.once(count, 1, by=3)] == [2, 2, 4]
    assert calls == [1, 1]


def test_the_gradients_of_a_snapshot_are_those_of_training():
    [run] = [snapshot("pre")]
    recipe = gi.TrainConfig(epochs=1, dtype="float64")
    config = gi.RunConfig(TASK, gi.ModelConfig("pre", d_model=16, n_heads=2), recipe, seed=1)
    weights = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    for _, reports in train_together([config], [weights], [RunState.initial(weights)]):
        [report] = reports
    square = sum(g.square().sum() for g in run.train.gradients.values())
    assert square.sqrt().item() == pytest.approx(report.row["grad_norm"], rel=1e-10)


@pytest.mark.parametrize(
    ("needs", "options", "sentence"),
    [
        ("one_layer", {"n_layers": 3}, "clock is a formula for one layer, and this model has 3"),
        ("addition", {"task": ModularTask(7, "sub")}, "clock is about addition"),
    ],
)
def test_a_probe_that_needs_what_the_model_has_not_says_so(needs, options, sentence):
    snapshot().require("clock", **{needs: True})
    with pytest.raises(ValueError, match=sentence):
        snapshot(**options).require("clock", **{needs: True})
