"""The numbers behind two pictures: circles of the embedding, and direct logit attribution."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from cases import EVERY_PLACEMENT, TASK, perturbed_model, small_config
from torch import Tensor

from grokinterp import circuits
from grokinterp.circuits.picture import unpack
from grokinterp.model.build import build_model
from grokinterp.model.transformer import PlacedTransformer
from grokinterp.probes.frequencies import neuron_frequencies
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask

P, D_MODEL = 113, 128


def phases(k: int, p: int = P) -> Tensor:
    return 2 * torch.pi * k * torch.arange(p, dtype=torch.float64) / p


@pytest.mark.parametrize("answers", ["p", "p+1"])
def test_the_table_of_a_head_s_effect_has_every_answer(answers: str) -> None:
    model = perturbed_model(small_config("off", answers=answers))
    [frame] = circuits.circuit_tables(Snapshot(model, TASK)).frames
    shapes = [panel["values"]["shape"] for panel in frame.data["panels"]]
    assert shapes == [[2, TASK.p]] * 2 + [[TASK.p, TASK.p]] * 2


def roundness(points: np.ndarray, k: int) -> float:
    """Mean of the part of each point that is where a circle has it."""
    angle = phases(k, len(points)).numpy()
    return float((points[:, 0] * np.cos(angle) + points[:, 1] * np.sin(angle)).mean())


def random_embedding(p: int = P) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(p, D_MODEL, generator=generator, dtype=torch.float64)


def test_planted_circles_come_out_unchanged() -> None:
    axes = torch.linalg.qr(random_embedding().T)[0]
    circle = {k: torch.stack([phases(k).cos(), phases(k).sin()]) for k in (14, 35)}
    embedding = (
        axes[:, 4] + 2.0 * (axes[:, :2] @ circle[14]).T + 0.5 * (axes[:, 2:4] @ circle[35]).T
    )
    for k, radius in ((14, 2.0), (35, 0.5)):
        points = circuits.circle_coordinates(embedding, k)
        np.testing.assert_allclose(points, radius * circle[k].numpy().T, atol=1e-9)


def test_random_weights_fall_on_the_dashed_ring() -> None:
    task = ModularTask(p=P)
    model = build_model(small_config("off"), task, dtype="float64")
    (frame,) = circuits.frequency_circles(Snapshot(model, task), range(1, 57)).frames
    wide = [
        roundness(unpack(panel["points"]), panel["frequency"]) / panel["ring"]
        for panel in frame.data["panels"]
    ]
    assert np.mean(wide) == pytest.approx(1, abs=0.05)
    assert max(wide) < 2


def test_the_last_frequency_of_an_even_p_is_a_line() -> None:
    points = circuits.circle_coordinates(random_embedding(6), 3)
    assert (points[:, 1] == 0).all()
    assert np.isfinite(points).all()


def test_the_drawn_circles_are_those_of_the_embedding() -> None:
    snapshot = Snapshot(perturbed_model(small_config("off")), TASK)
    panels = circuits.frequency_circles(snapshot, [2, 1]).frames[0].data["panels"]
    w_e = snapshot.model.W_E[:5].detach()
    shares = []
    for k, panel in zip((2, 1), panels, strict=True):
        expected = circuits.circle_coordinates(w_e, k).astype(np.float32)
        np.testing.assert_array_equal(unpack(panel["points"]), expected)
        shares.append(float(panel["note"].split("%")[0]))
    constant = 100 * 5 * (w_e.mean(0).norm() / w_e.norm()).item() ** 2
    assert sum(shares) + constant == pytest.approx(100, abs=0.2)


@contextmanager
def norms_and_later_parts_held(model: PlacedTransformer) -> Iterator[dict[str, Tensor]]:
    """Scales are constants, and attention and MLP do not pass gradients to what they read."""
    kept: dict[str, Tensor] = {}

    def detach(x: Tensor, hook: Any) -> Tensor:
        return x.detach()

    def keep(x: Tensor, hook: Any) -> None:
        x.retain_grad()
        kept[hook.name] = x

    held = ("hook_scale", "mlp.hook_in", "hook_q_in", "hook_k_in", "hook_v_in")
    parts = ("hook_z", "mlp.hook_post", "hook_embed")
    hooks: list[Any] = [(name, detach) for name in model.hook_dict if name.endswith(held)]
    hooks += [(name, keep) for name in model.hook_dict if name.endswith(parts)]
    with model.hooks(hooks):
        yield kept


CONFIGS = [
    *(small_config(placement) for placement in EVERY_PLACEMENT),
    *(small_config(placement, final_norm="learned") for placement in ("off", "peri", "pre")),
    small_config("pre", final_norm="center-only"),
    *(small_config(placement, norm="rms", final_norm="learned") for placement in ("pre", "post")),
    *(small_config(placement, n_layers=2) for placement in ("pre", "post", "peri")),
    small_config("mlp-pre", gated_mlp=True, readout_scale=0.3),
]


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_the_parts_sum_to_the_models_own_logit_and_are_gradient_times_activation(
    config: Any,
) -> None:
    model = perturbed_model(config)
    snapshot = Snapshot(model, TASK)
    found = circuits.direct_logit_attribution(snapshot)
    logits, labels = snapshot.grid.logits, snapshot.grid.labels
    own = (logits[torch.arange(25), labels] - logits[:, :5].mean(1)).mean().item()
    assert found["correct_logit"] == pytest.approx(own, rel=1e-12)
    parts = found["direct"] + found["heads"].sum() + found["neurons"].sum() + found["biases"]
    assert parts == pytest.approx(own, rel=1e-9, abs=1e-12)
    grouped = found["clusters"].sum() + found["unclustered"].sum()
    assert grouped == pytest.approx(found["neurons"].sum(), rel=1e-9, abs=1e-12)

    with norms_and_later_parts_held(model) as kept:
        out = model(snapshot.grid.tokens)[:, -1]
        (out[torch.arange(25), labels] - out[:, :5].mean(1)).mean().backward()
    for layer in range(config.n_layers):
        z, post = (kept[f"blocks.{layer}.{name}"] for name in ("attn.hook_z", "mlp.hook_post"))
        heads = (z * z.grad).sum((0, 1, 3)).detach().numpy()
        neurons = (post * post.grad).sum((0, 1)).detach().numpy()
        np.testing.assert_allclose(found["heads"][layer], heads, rtol=1e-8, atol=1e-12)
        np.testing.assert_allclose(found["neurons"][layer], neurons, rtol=1e-8, atol=1e-12)
    model.zero_grad()


def test_a_part_that_reads_no_input_favours_no_answer() -> None:
    """Without a norm on the way, what all inputs share cannot know which answer is right."""
    found = circuits.direct_logit_attribution(Snapshot(perturbed_model(small_config("off")), TASK))
    assert abs(found["direct"]) < 1e-12
    assert abs(found["biases"]) < 1e-12
    assert np.abs(found["heads"]).max() > 1e-3


def planted_clusters() -> tuple[Snapshot, dict[int, list[int]]]:
    """Neurons 0 to 3 read frequency 1 of a and b, 4 to 7 frequency 2, and the others nothing."""
    task = ModularTask(p=11)
    model = build_model(small_config("off"), task, dtype="float64")
    angle = torch.arange(11, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        columns = [f(2 * torch.pi * k * angle / 11) for k in (1, 2) for f in (torch.cos, torch.sin)]
        model.W_E[:11, :4] = torch.stack(columns, 1)
        attn, mlp = model.blocks[0].attn, model.blocks[0].mlp
        attn.W_V[0, :4] = torch.eye(4, dtype=torch.float64)
        attn.W_O[0, :, :4] = torch.eye(4, dtype=torch.float64)
        mlp.W_in[:2, :4] = 1.0
        mlp.W_in[2:4, 4:8] = 1.0
        generator = torch.Generator().manual_seed(0)
        mlp.W_out.normal_(generator=generator)
        model.unembed.W_U.normal_(generator=generator)
    return Snapshot(model, task), {1: [0, 1, 2, 3], 2: [4, 5, 6, 7]}


def test_planted_clusters_are_found() -> None:
    snapshot, clusters = planted_clusters()
    assert neuron_frequencies(snapshot)["sizes"].tolist() == [4, 4, 0, 0, 0]
    found = circuits.direct_logit_attribution(snapshot)
    assert found["cluster_sizes"].tolist() == [[4, 4, 0, 0, 0]]
    for k, neurons in clusters.items():
        expected = found["neurons"][0, neurons].sum()
        assert abs(expected) > 1e-3
        assert found["clusters"][0, k - 1] == pytest.approx(expected)
    assert found["clusters"][0, 2:].tolist() == [0, 0, 0]
    assert found["unclustered"][0] == pytest.approx(found["neurons"][0, 8:].sum(), abs=1e-12)

    bars = circuits.logit_attribution(snapshot).frames[0].data["bars"]
    shown = {bar["label"]: bar for bar in bars}
    assert list(shown) == [
        *("direct path of “=”", "head 0", "head 1"),
        *("neurons of frequency 1", "neurons of frequency 2", "neurons of no one frequency"),
        *("biases", "correct logit"),
    ]
    assert shown["neurons of frequency 2"]["value"] == found["clusters"][0, 1]
    assert shown["neurons of frequency 2"]["note"] == "4 neurons"
    parts = sum(bar["value"] for bar in bars[:-1])
    assert parts == pytest.approx(shown["correct logit"]["value"])


def test_random_neurons_have_no_cluster() -> None:
    task = ModularTask(p=31)
    found = circuits.direct_logit_attribution(
        Snapshot(build_model(small_config("off"), task), task)
    )
    assert found["cluster_sizes"].sum() <= 1
    assert found["unclustered"] == pytest.approx(found["neurons"].sum(1), rel=0.2)
