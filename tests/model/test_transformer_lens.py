"""TransformerLens' features on every placement: exact, or refused with what to use instead.

Each is recomputed here in float64 from the definition. The table of the docs is made of what is
found, so that a cell can say nothing else.
"""

import copy
import re
import warnings
from pathlib import Path

import pytest
import torch
from cases import TASK, perturbed_model, slow_but, small_config
from lens import HookedTransformer, plain_model
from transformer_lens import SVDInterpreter

import grokinterp as gi
from grokinterp.model.cache import PlacedCache
from grokinterp.placement import PLACEMENTS

try:
    from transformer_lens.patching import get_act_patch_direct_path
except ImportError:  # TransformerLens 3
    from transformer_lens.tools.analysis import get_act_patch_direct_path

TOKENS = TASK.encode(TASK.pairs())[0]
OTHER_TOKENS = TOKENS.roll(7, 0)
EXACT, REFUSED = "exact", "refused"
DOCS = Path(__file__).parents[2] / "docs" / "transformer-lens.md"


def model_of(placement, folded=False, **options):
    """Two layers, α = 2, no gain at 1 and no bias at 0; where asked and possible, folded."""
    model = perturbed_model(small_config(placement, n_layers=2, readout_scale=2.0, **options))
    model.requires_grad_(False)
    if folded and placement != "post":
        fold(model)
    return model


def fold(model):
    model.process_weights_(center_writing_weights=False, center_unembed=False)


def cache_of(model):
    logits, cache = model.run_with_cache(TOKENS)
    assert isinstance(cache, PlacedCache)
    return logits, cache


def folding(model):
    before = model(TOKENS)
    fold(model)
    assert all((norm.w == 1).all() for norm in norms_in_front(model))
    return model(TOKENS), before


def norms_in_front(model):
    for block in model.blocks:
        if block.placement.attention and block.placement.style != "post":
            yield block.ln1
        if block.placement.mlp:
            yield block.ln2
    if model.cfg.normalization_type is not None:
        yield model.ln_final


def centring_what_is_written(model):
    before = model(TOKENS)
    model.process_weights_(fold_ln=False, center_unembed=False)
    written = torch.stack([model.W_O.mean(-1).norm(), model.W_out.mean(-1).norm()])
    assert written.max() < 1e-12
    return model(TOKENS), before


def centring_the_unembedding(model):
    before = model(TOKENS).log_softmax(-1)
    model.process_weights_(fold_ln=False, center_writing_weights=False)
    assert model.W_U.mean(1).abs().max() < 1e-12
    return model(TOKENS).log_softmax(-1), before


def logit_lens(model):
    logits, cache = cache_of(model)
    lens = cache.accumulated_resid(apply_ln=True) @ model.W_U + model.b_U
    read = [model(cache["resid_pre", i], start_at_layer=2) for i in range(2)]
    return lens, torch.stack([*read, logits])


def decomposed_stream(model):
    _, cache = cache_of(model)
    return cache.decompose_resid().sum(0), cache["resid_post", 1]


def into_the_mlp(model):
    _, cache = cache_of(model)
    parts = cache.decompose_resid(1, mlp_input=True, apply_ln=True)
    return parts.sum(0), cache["blocks.1.mlp.hook_in"]


def into_attention(model):
    _, cache = cache_of(model)
    parts = cache.decompose_resid(1, apply_ln=True).sum(0)
    reads = [cache[f"blocks.1.attn.hook_{name}_in"] for name in "qkv"]
    return torch.stack([parts] * 3), torch.stack(reads)


def logits_of_parts(model):
    logits, cache = cache_of(model)
    stack = cache.decompose_resid(pos_slice=-1)
    return cache.logit_attrs(stack, TOKENS[:, 0], pos_slice=-1).sum(0), at_first_token(
        logits - model.b_U
    )


def at_first_token(logits):
    return logits[torch.arange(len(TOKENS)), -1, TOKENS[:, 0]]


def logit_directions(model):
    logits, cache = cache_of(model)
    directions = model.tokens_to_residual_directions(TOKENS[:, 0])
    read = (cache["unembed.hook_in"][:, -1] * directions).sum(-1)
    return read, at_first_token(logits - model.b_U)


def heads(model):
    _, cache = cache_of(model)
    found = cache.stack_head_results(2, pos_slice=-1).unflatten(0, (2, 2)).sum(1)
    written = [cache["attn_out", layer][:, -1] - model.b_O[layer] for layer in range(2)]
    return found, torch.stack(written)


def neurons(model):
    _, cache = cache_of(model)
    found = cache.stack_neuron_results(2, pos_slice=-1).unflatten(0, (2, 12)).sum(1)
    written = [cache["mlp_out", layer][:, -1] - model.b_out[layer] for layer in range(2)]
    return found, torch.stack(written)


def every_part_on_a_logit(model):
    logits, cache = cache_of(model)
    parts = cache.get_full_resid_decomposition(
        apply_ln=True, pos_slice=-1, project_output_onto=model.W_U[:, 3]
    )
    return parts.sum(0), logits[:, -1, 3] - model.b_U[3]


def biases(model):
    _, cache = cache_of(model)
    rest = sum(cache["attn_out", i] + cache["mlp_out", i] for i in range(2))
    pre = [cache.stack_head_results(2).sum(0), cache.stack_neuron_results(2).sum(0)]
    return model.accumulated_bias(2).expand_as(rest), rest - sum(pre)


def attention_scores(model):
    _, cache = cache_of(model)
    q, k = cache["blocks.1.attn.hook_q_in"], cache["blocks.1.attn.hook_k_in"]
    products = torch.einsum("bqm,hmn,bkn->bhqk", q, model.QK.AB[1], k)
    return products / 2, cache["attn_scores", 1]


def singular_vectors(which, **options):
    """In float32, in which alone SVDInterpreter works in every release."""

    def found_and_expected(model):
        ours = SVDInterpreter(model.to(torch.float32))
        found = ours.get_singular_vectors(which, 1, 4, **options)
        block = model.to(torch.float64).blocks[1]
        gain = block.ln2.w if block.placement.mlp else 1
        w_in = block.mlp.W_in.T * gain
        matrix = {"w_in": w_in, "w_out": block.mlp.W_out, "OV": block.attn.OV.AB[0]}[which]
        v = torch.linalg.svd(matrix)[2][:4]
        # The sign of a singular vector is open.
        return found[:, 0].double().abs(), (v @ model.W_U).T.abs()

    return found_and_expected


def direct_path(pathway):
    def found_and_expected(model):
        model.eval()  # TransformerLens 4 asks for it.
        clean, corrupted = (model.run_with_cache(tokens)[1] for tokens in (OTHER_TOKENS, TOKENS))
        found = get_act_patch_direct_path(
            model, TOKENS, clean, corrupted, lambda logits: logits[0, -1, 2], 0, 1, pathway, False
        )[1]
        z = clean["z", 0][:, :, 1] - corrupted["z", 0][:, :, 1]
        written = z @ model.W_O[0, 1]
        if not model.cfg.uses_rms_norm:
            written = written - written.mean(-1, keepdim=True)
        read = written / corrupted["blocks.1.ln1.hook_scale"]
        weight = getattr(model, f"W_{pathway.upper()}")[1]
        expected = []
        for head in range(2):

            def patch(x, hook, head=head):
                x = x.clone()
                x[:, :, head] += read @ weight[head]
                return x

            hook = (f"blocks.1.attn.hook_{pathway}", patch)
            expected.append(model.run_with_hooks(TOKENS, fwd_hooks=[hook])[0, -1, 2])
        # The function keeps its results in float32.
        return found, torch.stack(expected).float()

    return found_and_expected


def loss(model):
    return model(TOKENS, return_type="loss"), None


FINAL = [{"final_norm": "none"}, {"final_norm": "learned"}]
BOTH = [{**final, "norm": norm} for final in FINAL for norm in ("layer", "rms")]
LEARNED = [{"final_norm": "learned", "norm": norm} for norm in ("layer", "rms")]
LAYER, RMS = [{"final_norm": "learned"}], [{"final_norm": "learned", "norm": "rms"}]
BARE = [{"norm": norm} for norm in ("layer", "rms")]
TIED = [{**options, "tied_unembedding": True} for options in BOTH]
TIED_FINAL = [{**options, "tied_unembedding": True} for options in LEARNED]
GATED = [{**options, "gated_mlp": True} for options in BOTH]

FEATURES = {
    "`process_weights_(fold_ln=True)`": (folding, BOTH + GATED, False),
    "`process_weights_(fold_ln=True)`, tied unembedding, final norm": (folding, TIED_FINAL, False),
    "`center_writing_weights`, a final LayerNorm": (centring_what_is_written, LAYER, True),
    "`center_writing_weights`, else": (centring_what_is_written, BARE + RMS + TIED, False),
    "`center_unembed`": (centring_the_unembedding, BOTH, False),
    "`center_unembed`, tied unembedding": (centring_the_unembedding, TIED, False),
    "`accumulated_resid(apply_ln=True)` (logit lens)": (logit_lens, BOTH + TIED, False),
    "`decompose_resid()`": (decomposed_stream, BOTH, False),
    "`decompose_resid(l, mlp_input=True, apply_ln=True)`": (into_the_mlp, BOTH, False),
    "`decompose_resid(l, mlp_input=True, apply_ln=True)`, folded": (into_the_mlp, BOTH, True),
    "`decompose_resid(l, apply_ln=True)`": (into_attention, BOTH, False),
    "`decompose_resid(l, apply_ln=True)`, folded": (into_attention, BOTH, True),
    "`logit_attrs`, no final norm": (logits_of_parts, BARE, False),
    "`logit_attrs`, final norm": (logits_of_parts, LEARNED, False),
    "`logit_attrs`, final norm folded": (logits_of_parts, LEARNED, True),
    "`tokens_to_residual_directions`": (logit_directions, BOTH + TIED, False),
    "`stack_head_results`": (heads, BOTH, False),
    "`stack_neuron_results`": (neurons, BOTH + GATED, False),
    "`get_full_resid_decomposition(apply_ln=True)`, folded": (every_part_on_a_logit, BOTH, True),
    "`accumulated_bias`": (biases, BOTH, False),
    "`model.QK`": (attention_scores, BOTH, False),
    "`SVDInterpreter`, `w_in`": (singular_vectors("w_in"), BOTH + TIED, False),
    "`SVDInterpreter`, `w_out`": (singular_vectors("w_out"), BOTH + TIED, False),
    "`SVDInterpreter`, `OV`": (singular_vectors("OV", head_index=0), BOTH + TIED, False),
    "`get_act_patch_direct_path`, `q`": (direct_path("q"), BOTH, False),
    "`get_act_patch_direct_path`, `q`, folded": (direct_path("q"), BOTH, True),
    "`get_act_patch_direct_path`, `v`, folded": (direct_path("v"), BOTH, True),
    "`model(tokens, return_type='loss')`": (loss, BOTH, False),
}  # fmt: skip
TOLERANCE = {"SVDInterpreter": 1e-4, "direct_path": 1e-6}


def outcome(feature, placement):
    """What the feature is on all of its variants; they must agree."""
    function, variants, folded = FEATURES[feature]
    tolerance = next((v for name, v in TOLERANCE.items() if name in feature), 1e-9)
    found = set()
    for options in variants:
        model = model_of(placement, folded, **options)
        try:
            actual, expected = function(model)
        except ValueError as refusal:
            told = re.search(r"\b(use|must|first)\b", str(refusal).casefold())
            found.add(REFUSED if told else f"refused without advice: {refusal}")
            continue
        torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
        assert actual.abs().max() > 0.01
        found.add(EXACT)
    [one] = found
    return one


@pytest.mark.filterwarnings("ignore:get_act_patch_direct_path is most accurate")
@pytest.mark.parametrize(
    "placement", slow_but(("off", "attn-pre-v", "pre", "post", "peri"), PLACEMENTS)
)
@pytest.mark.parametrize("feature", FEATURES)
def test_each_feature_is_exact_or_refused_as_the_docs_say(feature, placement):
    expected = documented()[feature, placement]
    if HookedTransformer is None and "direct_path" in feature:
        expected = REFUSED
    assert outcome(feature, placement) == expected


def documented():
    """The table of the docs, by feature and placement; in the order of both."""
    block = re.search(r"<!-- table features -->\n(.*?)<!-- end -->", DOCS.read_text(), re.DOTALL)
    header, _, *rows = block[1].strip().splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in (header, *rows)]
    return {
        (feature, placement.strip("`")): cell
        for feature, *row in cells[1:]
        for placement, cell in zip(cells[0][1:], row, strict=True)
    }


def test_the_table_has_every_feature_and_placement():
    expected = [(feature, placement) for feature in FEATURES for placement in PLACEMENTS]
    assert list(documented()) == expected


@pytest.mark.parametrize("option", ["past_kv_cache", "attention_mask", "shortformer_pos_embed"])
def test_what_is_for_language_models_is_refused(option):
    with pytest.raises(ValueError, match=f"{option} must not be given"):
        model_of("off")(TOKENS, **{option: torch.ones(1)})


def test_folding_is_refused_before_anything_changes():
    model = model_of("pre", final_norm="learned", tied_unembedding=True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="center_unembed must be False"):
        model.process_weights_(fold_ln=False, center_writing_weights=False)
    with pytest.raises(ValueError, match="fold_ln must be False"):
        model.process_weights_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_is_folded_is_no_start_of_a_training(tmp_path):
    config = gi.RunConfig(TASK, small_config("pre"), gi.TrainConfig(epochs=1))
    model = perturbed_model(config.model)
    fold(model)
    with pytest.raises(ValueError, match="b_Q must be zero"):
        gi.train([config], store=tmp_path / "runs", init=model)


def test_the_state_dict_functions_are_refused():
    model = model_of("pre")
    for name in ("load_and_process_state_dict", "fold_layer_norm", "center_unembed"):
        with pytest.raises(ValueError, match="does not know where the norms are; use"):
            getattr(model, name)(model.state_dict())


def test_a_cache_of_some_examples_is_as_careful():
    _, cache = cache_of(model_of("post"))
    for some in (cache.apply_slice_to_batch_dim(slice(3)), cache.apply_slice_to_batch_dim(0)):
        with pytest.raises(ValueError, match="direct_logit_attribution"):
            some.decompose_resid()


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_layers_are_counted_as_of_a_list(placement):
    model = model_of(placement)
    logits, cache = cache_of(model)
    for layer in (0, 1, -1, -2):
        before = cache["resid_pre", layer % 2]
        close(model(TOKENS, stop_at_layer=layer), before)
        close(model(before, start_at_layer=layer), logits)
    close(model(TOKENS, stop_at_layer=2), cache["resid_post", 1])


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def test_one_answer_an_example_is_no_answer_a_position():
    """Where there are as many examples as positions."""
    model = model_of("off")
    logits, cache = model.run_with_cache(TOKENS[:3])
    answers = torch.tensor([4, 0, 2])
    found = cache.logit_attrs(cache.decompose_resid(), answers).sum(0)
    expected = logits[torch.arange(3), :, answers] - model.b_U[answers][:, None]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("switch", ["set_use_attn_in", "set_use_split_qkv_input"])
def test_a_norm_of_each_head_s_input_is_no_one_norm(switch):
    model = model_of("pre", folded=True)
    getattr(model, switch)(True)
    _, cache = model.run_with_cache(TOKENS[:1])
    with pytest.raises(ValueError, match="ln1 must run once for all heads"):
        cache.decompose_resid(1, apply_ln=True, pos_slice=-1)


def test_a_processed_model_is_not_probed():
    model = model_of("pre")
    gi.Snapshot(model, TASK)
    fold(model)
    for processed in (model, copy.deepcopy(model)):
        with pytest.raises(ValueError, match="must be as it trained"):
            gi.Snapshot(processed, TASK)


def test_its_config_says_where_it_is_and_how_precise():
    model = model_of("pre")
    for move, dtype in (
        (model.float, torch.float32),
        (lambda: model.to("cpu", torch.float64), torch.float64),
        (lambda: model.to(dtype=torch.float32), torch.float32),
        (lambda: model.to(torch.float64, print_details=False), torch.float64),
    ):
        assert move() is model
        assert (model.cfg.dtype, model.W_E.dtype, model.cfg.device) == (dtype, dtype, "cpu")


@pytest.mark.parametrize("name", ["generate", "loss_fn", "init_weights", "input_to_embed"])
def test_methods_for_language_models_are_refused(name):
    with pytest.raises(ValueError, match="this is for language models"):
        getattr(model_of("off"), name)(TOKENS)


if HookedTransformer is None:

    @pytest.mark.parametrize("placement", PLACEMENTS)
    def test_the_logit_lens_of_transformer_lens_4(placement):
        model = model_of(placement, final_norm="learned").eval()
        logits, cache = model.run_with_cache(TOKENS)
        found = cache.logit_lens(positions=None).values
        torch.testing.assert_close(found[-1], logits)


@pytest.mark.hooked_transformer
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_plain_model_of_its_config_is_refused(placement):
    model = model_of(placement)
    assert isinstance(model, HookedTransformer)
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(ValueError, match=r"build it with grokinterp\.build_model"),
    ):
        HookedTransformer(model.cfg)


@pytest.mark.hooked_transformer
def test_it_takes_the_weights_of_a_plain_model():
    plain = plain_model(
        n_layers=1,
        d_model=8,
        d_head=4,
        n_heads=2,
        d_mlp=12,
        n_ctx=3,
        d_vocab=6,
        act_fn="relu",
        normalization_type=None,
        attention_dir="bidirectional",
        seed=0,
        dtype=torch.float64,
    )
    ours = perturbed_model(small_config("off"))
    ours.load_state_dict(plain.state_dict())
    torch.testing.assert_close(ours(TOKENS), plain(TOKENS), rtol=1e-12, atol=1e-12)


def table():
    """What the docs' table must be."""
    lines = [["", *(f"`{name}`" for name in PLACEMENTS)], ["---"] * (1 + len(PLACEMENTS))]
    lines += [[f, *(outcome(f, p) for p in PLACEMENTS)] for f in FEATURES]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
