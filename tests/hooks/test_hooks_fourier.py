import numpy as np
import pytest
import torch
from cases import small_config
from grokinterp.hooks import FilterEmbedding, FilterFrequencies, Patch, applied
from grokinterp.hooks.fourier import _projectors
from torch import Tensor

import grokinterp as gi
from grokinterp.model.build import build_model

HOOKS = ("hook_embed", "blocks.0.attn.hook_pattern", "blocks.0.mlp.hook_post", "unembed.hook_in")


def close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-11)


def model_of(p: int, **options):
    task = gi.ModularTask(p=p)
    model = build_model(small_config("mlp-pre", **options), task, 0, "float64")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.3 * torch.randn(
                parameter.shape, generator=generator, dtype=torch.float64
            )
    return model, task.encode(task.pairs())[0]


def kept_frequencies(p: int, frequencies: tuple[int, ...]) -> np.ndarray:
    """Which terms of np.fft.fft have frequency 0 or one of these."""
    return np.isin(np.minimum(np.arange(p), p - np.arange(p)), (0, *frequencies))


@pytest.mark.parametrize("p", [7, 8])
@pytest.mark.parametrize("frequencies", [(), (1,), (2, 3), (3, 2), (1, 2, 3)])
def test_the_filtered_embedding_is_that_of_an_fft(p: int, frequencies: tuple[int, ...]) -> None:
    model, tokens = model_of(p)
    w_e = model.W_E.detach().numpy()
    spectrum = np.fft.fft(w_e[:p], axis=0)
    kept = kept_frequencies(p, frequencies)
    for keep in (True, False):
        mask = kept if keep else ~kept | (np.arange(p) == 0)
        expected = np.concatenate([np.fft.ifft(spectrum * mask[:, None], axis=0).real, w_e[p:]])
        with applied(model, [FilterEmbedding(frequencies, keep)]):
            _, cache = model.run_with_cache(tokens)
        close(cache["hook_embed"].detach(), torch.from_numpy(expected)[tokens])


@pytest.mark.parametrize("p", [7, 8])
def test_nothing_kept_leaves_the_mean_and_all_kept_everything(p: int) -> None:
    model, tokens = model_of(p)
    _, before = model.run_with_cache(tokens)
    every = tuple(range(1, p // 2 + 1))
    for item in (FilterEmbedding(every), FilterEmbedding((), keep=False)):
        with applied(model, [item]):
            close(model.run_with_cache(tokens)[1]["hook_embed"], before["hook_embed"])
    for item in (FilterEmbedding(()), FilterEmbedding(every, keep=False)):
        with applied(model, [item]):
            embedded = model.run_with_cache(tokens)[1]["hook_embed"]
        close(embedded[:, :2], model.W_E[:p].mean(0).expand(p * p, 2, -1))
        assert torch.equal(embedded[:, 2], before["hook_embed"][:, 2])


def test_a_filtered_embedding_is_a_model_with_that_embedding() -> None:
    model, tokens = model_of(7)
    other, _ = model_of(7)
    wave = torch.cos(2 * torch.pi * 2 / 7 * torch.arange(7, dtype=torch.float64))
    noise = torch.cos(2 * torch.pi * 3 / 7 * torch.arange(7, dtype=torch.float64))
    along = torch.arange(1.0, 9.0, dtype=torch.float64)
    with torch.no_grad():
        other.embed.W_E[:7] = wave[:, None] * along
        model.embed.W_E[:7] = wave[:, None] * along + noise[:, None] * along.flip(0)
    for item in (FilterEmbedding((2,)), FilterEmbedding((3,), keep=False)):
        with applied(model, [item]):
            close(model(tokens), other(tokens))
    with applied(model, [FilterEmbedding((3,))]):
        assert not torch.allclose(model(tokens), other(tokens))


def test_gradients_reach_only_the_kept_frequencies() -> None:
    model, tokens = model_of(7)
    with applied(model, [FilterEmbedding((2,))]):
        [gradient] = torch.autograd.grad(model(tokens)[:, -1, 0].square().sum(), [model.W_E])
    power = np.abs(np.fft.rfft(gradient[:7].numpy(), axis=0)).max(1)
    assert power[2] > 1e-3
    assert power[[1, 3]] == pytest.approx(0, abs=1e-12)


def test_tokens_in_any_order_and_number_and_precision() -> None:
    for dtype in ("float32", "float64"):
        model = build_model(small_config("off"), gi.ModularTask(p=7), 0, dtype)
        tokens = torch.tensor([[6, 6, 7], [0, 3, 7], [3, 0, 7], [7, 7, 7]])
        _, before = model.run_with_cache(tokens)
        with applied(model, [FilterEmbedding((1, 3))]):
            _, after = model.run_with_cache(tokens)
        change = after["hook_embed"] - before["hook_embed"]
        assert torch.equal(change[1, 0], change[2, 1])
        assert torch.equal(change[0, 0], change[0, 1])
        assert not torch.allclose(change[1, 0], change[1, 1])
        assert torch.equal(change[3], torch.zeros_like(change[3]))


def test_a_tied_unembedding_and_rows_that_were_put_there_stay() -> None:
    model, tokens = model_of(7, tied_unembedding=True)
    with applied(model, [FilterEmbedding((1,))]):
        _, cache = model.run_with_cache(tokens)
    close(cache["unembed.hook_out"], cache["unembed.hook_in"] @ model.W_E.T)
    put = torch.ones(49, 3, 8, dtype=torch.float64)
    with applied(model, [Patch("hook_embed", put, positions=(0,)), FilterEmbedding((1,))]):
        _, after = model.run_with_cache(tokens)
    assert torch.equal(after["hook_embed"][:, 0], put[:, 0])
    assert torch.equal(after["hook_embed"][:, 1], cache["hook_embed"][:, 1])


@pytest.mark.parametrize("p", [7, 8])
@pytest.mark.parametrize("hook", HOOKS)
def test_the_filtered_activation_is_that_of_a_2d_fft(hook: str, p: int) -> None:
    model, tokens = model_of(p)
    before = model.run_with_cache(tokens)[1][hook].detach()
    spectrum = np.fft.fft2(before.numpy().reshape(p, p, -1), axes=(0, 1))
    # Frequency p/2, where there is one, is a term of its own.
    for frequencies in ((1,), (2, 3), (4,) if p == 8 else (3,)):
        side = kept_frequencies(p, frequencies)
        block = side[:, None] & side
        constant = np.zeros((p, p), dtype=bool)
        constant[0, 0] = True
        for keep, mask in ((True, block), (False, ~block | constant)):
            expected = np.fft.ifft2(spectrum * mask[:, :, None], axes=(0, 1)).real
            with applied(model, [FilterFrequencies(hook, frequencies, keep)]):
                after = model.run_with_cache(tokens)[1][hook].detach()
            close(after, torch.from_numpy(expected).reshape(before.shape))
            assert not torch.allclose(after, before)


def test_projectors_are_projections() -> None:
    like = torch.zeros((), dtype=torch.float64)
    for p in (7, 8, 113):
        constant, chosen = _projectors(p, (1, 3), like)
        close(chosen @ chosen, chosen)
        close(chosen @ constant, torch.zeros_like(chosen))
        assert chosen.trace().item() == pytest.approx(4)
        _, every = _projectors(p, tuple(range(1, p // 2 + 1)), like)
        close(every + constant, torch.eye(p, dtype=torch.float64))


def test_controls_are_other_frequencies_of_the_same_number() -> None:
    model, _ = model_of(13)
    for item in (FilterEmbedding((2, 5)), FilterFrequencies(HOOKS[2], (2, 5), keep=False)):
        drawn = [item.control(model, seed) for seed in range(20)]
        assert all(len(control.frequencies) == 2 for control in drawn)
        assert {k for control in drawn for k in control.frequencies} == {1, 3, 4, 6}
        assert {control.keep for control in drawn} == {item.keep}
        assert drawn[2] == item.control(model, 2)
    assert FilterEmbedding(()).control(model) is None
    with pytest.raises(ValueError, match="4 of 6 frequencies are chosen, which leaves 2 others"):
        FilterEmbedding((1, 2, 3, 4)).control(model)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FilterEmbedding((4,)), "frequency 4 is not there: mod 7 they run from 1 to 3"),
        (lambda: FilterEmbedding((1,), p=8), "p is 8, and the model has 8 tokens, with the ="),
        (lambda: FilterFrequencies(HOOKS[1], (4,)), "frequency 4 is not there"),
        (
            lambda: FilterFrequencies("blocks.0.mlp.hook_pots", (1,)),
            "no hook 'blocks.0.mlp.hook_pots'; close ones: blocks.0.mlp.hook_post",
        ),
    ],
)
def test_what_does_not_fit_the_model(make, said: str) -> None:
    model, _ = model_of(7)
    with pytest.raises(ValueError, match=said), applied(model, [FilterEmbedding((1,)), make()]):
        pass
    assert model.list_hooks() == {}


def test_an_activation_that_is_not_over_the_grid() -> None:
    model, tokens = model_of(7)
    with (
        pytest.raises(ValueError, match=r"needs all 49 pairs in row-major order.*has 48 examples"),
        applied(model, [FilterFrequencies(HOOKS[2], (1,))]),
    ):
        model(tokens[1:])
    assert model.list_hooks() == {}


def test_tokens_that_cannot_be_told_apart() -> None:
    model, _ = model_of(7)
    with torch.no_grad():
        model.embed.W_E[3] = model.embed.W_E[5]
    with pytest.raises(ValueError, match="one and the same row in W_E"):
        FilterEmbedding((1,)).hooks(model)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: FilterEmbedding((0,)), "each of frequencies must be an integer of at least 1"),
        (lambda: FilterEmbedding((1, 1)), "frequencies must not repeat"),
        (lambda: FilterEmbedding((1,), p=2), "p must be an integer of at least 3; got 2"),
        (lambda: FilterEmbedding((60,), p=113), "mod 113 they run from 1 to 56"),
        (lambda: FilterEmbedding((1,), keep="no"), "keep must be True or False; got 'no'"),
        (lambda: FilterFrequencies(3, (1,)), "hook must be a name"),
    ],
)
def test_arguments_that_make_no_sense(unchecked, make, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make()
