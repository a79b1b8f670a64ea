"""The path of the weights against paths that are known."""

import copy

import numpy as np
import pytest
import torch
from cases import TASK, perturbed_model, small_config
from runs_cases import SMALL_RUN
from sklearn.decomposition import PCA

import grokinterp as gi
from grokinterp.probes.trajectory import trajectory
from grokinterp.snapshot import NotApplicable, Snapshot

W_IN = "blocks.0.mlp.W_in"


def path(points) -> list[Snapshot]:
    """Checkpoints whose weights are these points, 10 epochs apart."""
    model = perturbed_model(small_config("off"))
    names, sizes = zip(*((n, p.numel()) for n, p in model.named_parameters()), strict=True)
    shots: list[Snapshot] = []

    def others(at):
        def give(which):
            if which == "previous":
                return shots[at - 1]
            return {"initial": shots[0], "final": shots[-1]}[which]

        return give

    for at, point in enumerate(points):
        mine = copy.deepcopy(model)
        parts = dict(zip(names, torch.as_tensor(point).split(sizes), strict=True))
        with torch.no_grad():
            for name, parameter in mine.named_parameters():
                parameter.copy_(parts[name].view_as(parameter))
        shots.append(Snapshot(mine, TASK, epoch=10 * at, others=others(at)))
    return shots


def size() -> int:
    return sum(p.numel() for p in perturbed_model(small_config("off")).parameters())


def directions(count, seed=0) -> np.ndarray:
    """Orthonormal directions in the space of the weights."""
    noise = np.random.default_rng(seed).standard_normal((size(), count))
    return np.linalg.qr(noise)[0].T


def test_a_straight_line_has_one_component_and_the_length_of_its_displacement():
    [way] = directions(1)
    times = np.array([0.0, 1.0, 4.0, 5.0])
    found = [trajectory(shot) for shot in path(3 + times[:, None] * way)]
    for values, at in zip(found, times, strict=True):
        assert values["share"] == pytest.approx(1, abs=1e-12)
        assert values["shares"] == pytest.approx([1, 0, 0], abs=1e-12)
        assert values["path_length"] == pytest.approx(at, abs=1e-12)
        assert values["net_displacement"] == pytest.approx(at, abs=1e-12)
        # The mean time is 2.5; the start and the end are as far from it as each other.
        assert abs(values["component_1"]) == pytest.approx(abs(at - 2.5), abs=1e-12)
        assert (values["component_2"], values["component_3"]) == pytest.approx((0, 0), abs=1e-6)
        assert values["epochs"].tolist() == [0, 10, 20, 30]
    assert np.isnan(found[0]["path_over_net"])
    assert [one["path_over_net"] for one in found[1:]] == pytest.approx([1, 1, 1], abs=1e-12)


def test_back_and_forth_is_longer_than_its_displacement():
    [way] = directions(1)
    *_, last = path(np.array([0.0, 2.0, 1.0])[:, None] * way)
    found = trajectory(last)
    assert found["share"] == pytest.approx(1, abs=1e-12)
    assert found["path_over_net"] == pytest.approx(3, rel=1e-12)


def test_a_circle_has_two_components_that_are_alike():
    n, radius, ways = 12, 3.0, directions(2)
    angles = 2 * np.pi * np.arange(n) / n
    points = radius * (np.cos(angles)[:, None] * ways[0] + np.sin(angles)[:, None] * ways[1])
    shots = path(points + 1)
    found = trajectory(shots[-1])
    assert found["shares"][:3] == pytest.approx([0.5, 0.5, 0], abs=1e-12)
    assert found["share_of_three"] == pytest.approx(1, abs=1e-12)
    assert np.linalg.norm(found["coordinates"], axis=1) == pytest.approx([radius] * n, rel=1e-9)
    chord = 2 * radius * np.sin(np.pi / n)
    assert found["path_length"] == pytest.approx((n - 1) * chord, rel=1e-12)
    assert found["net_displacement"] == pytest.approx(chord, rel=1e-12)
    half = trajectory(shots[n // 2])
    assert half["path_over_net"] == pytest.approx(n / 2 * chord / (2 * radius), rel=1e-12)


def test_a_random_walk_has_the_shares_of_cosines():
    """The negative control: nothing is there but chance, and it looks like a path."""
    steps = 400
    noise = np.random.default_rng(0).standard_normal((steps, size()))
    found = trajectory(path(np.cumsum(noise, axis=0))[-1])
    expected = 6 / (np.pi * np.arange(1, 4)) ** 2
    assert found["shares"][:3] == pytest.approx(expected, rel=0.2)
    assert found["share_of_three"] == pytest.approx(expected.sum(), rel=0.05)
    assert found["path_over_net"] == pytest.approx((steps - 1) ** 0.5, rel=0.1)


@pytest.mark.parametrize("parameter", [None, W_IN])
def test_a_run_against_scikit_learn(tmp_path, parameter):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    epochs = run.checkpoint_epochs
    weights = []
    for epoch in epochs:
        named = {n: p.detach().double() for n, p in run.model(epoch).named_parameters()}
        chosen = named.values() if parameter is None else [named[parameter]]
        weights.append(torch.cat([p.flatten() for p in chosen]).numpy())
    points = np.stack(weights)
    fitted = PCA(3).fit(points)
    reference = fitted.transform(points)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    for at, epoch in enumerate(epochs):
        found = trajectory(run.snapshot(epoch), parameter)
        assert found["epochs"].tolist() == list(epochs)
        assert found["shares"][:3] == pytest.approx(fitted.explained_variance_ratio_, rel=1e-9)
        assert np.abs(found["coordinates"]) == pytest.approx(np.abs(reference), abs=1e-9)
        largest = np.abs(reference).argmax(0)
        assert (found["coordinates"][largest, range(3)] > 0).all()
        mine = [found[f"component_{k}"] for k in (1, 2, 3)]
        assert mine == found["coordinates"][at].tolist()
        assert found["path_length"] == pytest.approx(steps[:at].sum(), rel=1e-12)
        net = np.linalg.norm(points[at] - points[0])
        assert found["net_displacement"] == pytest.approx(net, rel=1e-12)


def test_one_pca_serves_all_checkpoints_of_a_run(tmp_path, monkeypatch):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    table = gi.probe(run, "trajectory")
    assert set(table["epoch"]) == {*run.checkpoint_epochs}
    assert table[table["name"] == "share"]["value"].nunique() == 1
    read = []
    real = gi.Run.checkpoint
    monkeypatch.setattr(
        gi.Run, "checkpoint", lambda self, epoch=None: read.append(epoch) or real(self, epoch)
    )
    once = gi.Run(run.path)
    for epoch in once.checkpoint_epochs:
        trajectory(once.snapshot(epoch))
    # Each checkpoint's own snapshot, the final one's, and those before it.
    assert len(read) == 2 * len(once.checkpoint_epochs)


def test_what_stands_still_has_no_components():
    *_, last = path(np.ones((3, size())))
    found = trajectory(last)
    assert np.isnan(found["share"])
    assert found["path_length"] == 0
    assert np.isnan(found["path_over_net"])


def test_a_parameter_that_does_not_move_has_none_and_one_that_does_has():
    [way] = directions(1)
    line = np.arange(3.0)[:, None] * way
    shots = path(line)
    with torch.no_grad():
        for shot in shots:
            shot.model.W_pos.zero_()
    assert np.isnan(trajectory(shots[-1], "pos_embed.W_pos")["share"])
    assert trajectory(shots[-1], W_IN)["share"] == pytest.approx(1)


def test_what_it_refuses(tmp_path):
    shots = path(np.zeros((2, size())))
    with pytest.raises(NotApplicable, match=r"no parameter 'blocks.0.mlp.W_inn'; close ones: .*W_"):
        trajectory(shots[-1], "blocks.0.mlp.W_inn")
    [alone] = path(np.zeros((1, size())))
    with pytest.raises(NotApplicable, match="there is one alone"):
        trajectory(alone)
    model = perturbed_model(small_config("off"))
    unknown = Snapshot(model, TASK, others=lambda which: Snapshot(model, TASK))
    with pytest.raises(NotApplicable, match="of this snapshot none is known"):
        trajectory(unknown)
    loop = Snapshot(model, TASK, epoch=3, others=lambda which: loop)
    with pytest.raises(NotApplicable, match="before epoch 3 must be of an earlier one"):
        trajectory(loop)
    with pytest.raises(NotApplicable, match="take it from a run"):
        trajectory(Snapshot(model, TASK))
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    run.checkpoint_path(10).unlink()
    with pytest.raises(NotApplicable, match="at epoch 10, the previous one, which run"):
        trajectory(run.snapshot())
