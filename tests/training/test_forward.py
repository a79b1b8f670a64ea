"""The fast path is the hooked model: same values, same gradients."""

import pytest
import torch
from cases import (
    EVERY_PLACEMENT,
    TASK,
    TOKENS,
    perturbed_model,
    small_config,
    values_and_gradients,
)
from grokinterp.hooks import UniformAttention, applied
from torch import Tensor

from grokinterp.config import ModelConfig
from grokinterp.model.build import build_model
from grokinterp.task import GroupTask, TableTask, Task
from grokinterp.training.forward import last_position

OPTIONS = {
    "gated": {"gated_mlp": True},
    "final": {"final_norm": "learned"},
    "center-only": {"final_norm": "center-only"},
    "tied": {"tied_unembedding": True},
    "alpha": {"readout_scale": 1.5},
    "causal": {"causal": True},
    "residues": {"answers": "p"},
    "tied-residues": {"answers": "p", "tied_unembedding": True},
    "frozen-biases": {"freeze_mlp_biases": True},
    "all": {"gated_mlp": True, "final_norm": "learned", "tied_unembedding": True,
            "readout_scale": 0.5, "causal": True, "answers": "p"},
}  # fmt: skip
every_norm = pytest.mark.parametrize("norm", ["layer", "rms"])
every_placement = pytest.mark.parametrize("placement", EVERY_PLACEMENT)
every_depth = pytest.mark.parametrize("n_layers", [1, 2, 3])


def close(actual: Tensor, expected: Tensor) -> None:
    error = (actual - expected).abs() / expected.abs().clamp(min=1)
    assert error.max().item() < 1e-10


def readout_scale(config: ModelConfig, runs: int = 1) -> Tensor:
    return torch.full((runs,), config.readout_scale, dtype=torch.float64)


def random_like(x: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    return torch.randn(x.shape, generator=generator, dtype=x.dtype)


def check_values_and_gradients(
    config: ModelConfig, uniform: bool = False, task: Task = TASK
) -> None:
    model = perturbed_model(config, task=task)
    tokens, _ = task.encode(task.pairs())
    parameters = dict(model.named_parameters())
    trained = [parameter for parameter in parameters.values() if parameter.requires_grad]
    seen: list[Tensor] = []  # A cache would hold it detached.
    last = f"blocks.{config.n_layers - 1}.hook_resid_post"
    interventions = UniformAttention().hooks(model) if uniform else []
    logits = model.run_with_hooks(
        tokens, fwd_hooks=[*interventions, (last, lambda x, hook: seen.append(x))]
    )
    logits, resid = logits[:, -1], seen[0][:, -1]
    of_logits, of_residual = random_like(logits), random_like(resid)
    fast_logits, fast_resid, actual = values_and_gradients(
        config,
        {name: value[None] for name, value in parameters.items()},
        tokens[None],
        readout_scale(config),
        of_logits[None],
        of_residual[None],
        uniform,
    )
    close(fast_logits[0], logits)
    close(fast_resid[0], resid)
    hooked = (logits * of_logits).sum() + (resid * of_residual).sum()
    expected = torch.autograd.grad(hooked, trained, allow_unused=True, materialize_grads=True)
    names = [name for name, parameter in parameters.items() if parameter.requires_grad]
    assert list(actual) == names
    for name, theirs in zip(names, expected, strict=True):
        reads_pattern = name.endswith((".W_Q", ".W_K")) or (
            ".ln1." in name and not config.ln.v and config.ln.style == "pre"
        )
        assert (theirs.abs().max() > 0) == (not (uniform and reads_pattern))
        close(actual[name][0], theirs)


@every_depth
@every_norm
@every_placement
def test_equals_the_hooked_model(placement: str, norm: str, n_layers: int) -> None:
    check_values_and_gradients(small_config(placement, norm=norm, n_layers=n_layers))


@pytest.mark.parametrize(
    "task", [GroupTask("S3"), GroupTask("D4"), TableTask.from_function(max, 4)], ids=str
)
@pytest.mark.parametrize("n_layers", [1, 2])
@every_placement
def test_equals_the_hooked_model_of_any_task(placement: str, n_layers: int, task: Task) -> None:
    check_values_and_gradients(small_config(placement, n_layers=n_layers), task=task)


@pytest.mark.parametrize("n_layers", [1, 3])
@every_placement
def test_equals_the_hooked_model_under_uniform_attention(placement: str, n_layers: int) -> None:
    check_values_and_gradients(small_config(placement, n_layers=n_layers), uniform=True)


def test_uniform_attention_of_a_causal_model_is_over_what_a_query_sees() -> None:
    config = small_config("pre", n_layers=2, causal=True)
    check_values_and_gradients(config, uniform=True)
    model = perturbed_model(config)
    with applied(model, [UniformAttention()]):
        _, cache = model.run_with_cache(TOKENS)
    rows = [[1, 0, 0], [1 / 2, 1 / 2, 0], [1 / 3, 1 / 3, 1 / 3]]
    expected = torch.tensor(rows, dtype=torch.float64)
    for layer in range(2):
        close(cache["pattern", layer], expected.expand_as(cache["pattern", layer]))


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@every_norm
@pytest.mark.parametrize("placement", ["off", "pre", "k+mlp", "post", "peri"])
def test_equals_the_hooked_model_with_options(placement: str, norm: str, options: dict) -> None:
    check_values_and_gradients(small_config(placement, norm=norm, n_layers=2, **options))


@pytest.mark.parametrize("n_layers", [1, 2])
@every_norm
@every_placement
def test_runs_side_by_side_equal_each_alone(placement: str, norm: str, n_layers: int) -> None:
    config = small_config(placement, norm=norm, n_layers=n_layers, final_norm="learned")
    models = [perturbed_model(config, seed) for seed in range(3)]
    tokens = torch.stack([TOKENS[seed::3][:8] for seed in range(3)])
    together = {
        name: torch.stack([model.get_parameter(name) for model in models])
        for name, _ in models[0].named_parameters()
    }
    scale = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    of_logits = random_like(torch.empty(3, 8, TASK.d_vocab, dtype=torch.float64))
    logits, resid, gradients = values_and_gradients(
        config, together, tokens, scale, of_logits, None
    )
    for run, model in enumerate(models):
        one = slice(run, run + 1)
        own_logits, own_resid, own_gradients = values_and_gradients(
            config,
            {name: value[None] for name, value in model.named_parameters()},
            tokens[one],
            scale[one],
            of_logits[one],
            None,
        )
        close(logits[run], own_logits[0])
        close(resid[run], own_resid[0])
        for name, own in own_gradients.items():
            close(gradients[name][run], own[0])


@pytest.mark.parametrize("placement", ["off", "pre", "post", "peri"])
def test_the_order_of_the_examples_does_not_matter(placement: str) -> None:
    config = small_config(placement, n_layers=2)
    parameters = {n: p[None] for n, p in perturbed_model(config).named_parameters()}
    order = torch.randperm(len(TOKENS), generator=torch.Generator().manual_seed(0))
    logits, _ = last_position(config, parameters, TOKENS[None], readout_scale(config))
    shuffled, _ = last_position(config, parameters, TOKENS[order][None], readout_scale(config))
    close(shuffled[0], logits[0, order])


@pytest.mark.parametrize("placement", ["off", "pre", "post", "peri"])
def test_float32_is_as_near_as_float32_can_be(placement: str) -> None:
    config = small_config(placement, n_layers=2)
    model = perturbed_model(config)
    single = build_model(config, TASK)
    single.load_state_dict(model.state_dict())
    parameters = {name: value[None] for name, value in single.named_parameters()}
    logits, _ = last_position(config, parameters, TOKENS[None], torch.ones(1))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits[0].double(), model(TOKENS)[:, -1], rtol=1e-4, atol=1e-4)
