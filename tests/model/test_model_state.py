"""What a snapshot shares is of the model as it is: nothing old after a change, nothing computed
twice without one."""

from functools import partial

import grokinterp.hooks as gh
import pytest
import torch
from cases import TASK, perturbed_model, small_config
from torch.nn.modules.module import register_module_forward_hook

from grokinterp.model.memo import ModelState, Remembered
from grokinterp.snapshot import Snapshot


def snapshot(placement="mlp-pre", **options) -> Snapshot:
    return Snapshot(perturbed_model(small_config(placement, **options)), TASK, seed=1)


def direct(shot: Snapshot) -> torch.Tensor:
    with torch.no_grad():
        return shot.model(shot.train.tokens)[:, -1]


def edit_in_place(model):
    with torch.no_grad():
        model.W_E[0, 0] += 1


def edit_data(model):
    model.blocks[0].mlp.W_out.data[0] *= 2


def step(model):
    logits = model(torch.tensor([[0, 1, 5]]))
    logits.square().sum().backward()
    torch.optim.SGD(model.parameters(), lr=0.1).step()
    model.zero_grad()


def load(model):
    model.load_state_dict({name: 0.9 * v for name, v in model.state_dict().items()})


def replace_parameter(model):
    model.pos_embed.W_pos = torch.nn.Parameter(model.pos_embed.W_pos.detach() + 1)


def set_buffer(model):
    model.blocks[0].attn.b_O.fill_(0.5)


def rescale(model):
    model.unembed.readout_scale = 2.0


def change_eps(model):
    model.blocks[0].ln2.eps = 1.0


def replace_activation(model):
    model.blocks[0].mlp.act_fn = torch.tanh


def replace_forward(model):
    whole = model.blocks[0].mlp.forward
    model.blocks[0].mlp.forward = lambda x: 2 * whole(x)


CHANGES = [
    edit_in_place,
    edit_data,
    step,
    load,
    replace_parameter,
    set_buffer,
    rescale,
    change_eps,
    replace_activation,
    replace_forward,
    lambda model: model.add_perma_hook("blocks.0.hook_attn_out", lambda x, hook: 2 * x),
    lambda model: model.blocks[0].mlp.register_forward_hook(lambda m, i, out: 2 * out),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_model_is_seen(change):
    shot = snapshot()
    before, gradients = shot.train.logits, shot.train.gradients
    norm = shot.once(lambda s: s.train.logits.norm().item())
    change(shot.model)
    assert not torch.allclose(direct(shot), before)
    torch.testing.assert_close(shot.train.logits, direct(shot))
    torch.testing.assert_close(shot.train.last("unembed.hook_out"), direct(shot))
    assert not all(torch.equal(g, gradients[n]) for n, g in shot.train.gradients.items())
    assert shot.once(lambda s: s.train.logits.norm().item()) != norm


def fresh(shot):
    """Another one whenever it is computed."""
    return object()


FACTOR = 2.0


class Scales:
    def __init__(self) -> None:
        self.by = 2.0

    def __call__(self, x, hook):
        return self.by * x


def of_global(monkeypatch):
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    return lambda x, hook: FACTOR * x, lambda: globals().update(FACTOR=5.0)


def of_closure(monkeypatch):
    by = torch.tensor(2.0)
    return lambda x, hook: by * x, lambda: by.fill_(5.0)


def of_object(monkeypatch):
    scales = Scales()
    return scales, lambda: vars(scales).update(by=5.0)


def of_partial(monkeypatch):
    by = [2.0]
    return partial(lambda by, x, hook: by[0] * x, by), lambda: by.__setitem__(0, 5.0)


@pytest.mark.parametrize("made", [of_global, of_closure, of_object, of_partial])
def test_a_hook_whose_values_change_is_seen(made, monkeypatch):
    """In a notebook: `with model.hooks(...)`, and a number that the hook names set anew."""
    shot = snapshot()
    hook, change = made(monkeypatch)
    with shot.model.hooks(fwd_hooks=[("blocks.0.hook_attn_out", hook)]):
        before, passes = shot.train.logits, shot.once(fresh)
        assert shot.once(fresh) is passes
        change()
        assert not torch.allclose(direct(shot), before)
        torch.testing.assert_close(shot.train.logits, direct(shot))


def test_a_hook_that_collects_is_no_change():
    shot, seen = snapshot(), []
    with shot.model.hooks(fwd_hooks=[("hook_embed", lambda x, hook: seen.append(x))]):
        assert torch.equal(shot.train.logits, shot.train.last("unembed.hook_out"))
    assert len(seen) == 1


def test_a_forward_whose_values_change_is_seen():
    shot, by = snapshot(), [2.0]
    attn, whole = shot.model.blocks[0].attn, shot.model.blocks[0].attn.forward
    attn.forward = lambda *given, **named: by[0] * whole(*given, **named)
    before, passes = shot.train.logits, shot.once(fresh)
    assert shot.once(fresh) is passes
    by[0] = 5.0
    torch.testing.assert_close(shot.train.logits, direct(shot))
    assert not torch.allclose(shot.train.logits, before)


def test_what_is_read_under_hooks_is_under_them_and_afterwards_is_not():
    shot = snapshot()
    intact = shot.train.logits
    for first_read_inside in (shot, snapshot()):
        with gh.applied(first_read_inside.model, [gh.AblateHead(0)]):
            inside = first_read_inside.train.logits
            torch.testing.assert_close(inside, direct(first_read_inside))
        assert (inside - intact).abs().max() > 1e-3
        torch.testing.assert_close(first_read_inside.train.logits, intact)


def test_once_is_of_the_model_as_it_is():
    shot = snapshot()

    def largest(shot):
        return shot.train.logits.abs().max().item()

    intact = shot.once(largest)
    with gh.applied(shot.model, [gh.UnitNorm("mlp")]):
        assert shot.once(largest) != intact
    assert shot.once(largest) == intact


@pytest.mark.parametrize("early", [gh.UniformAttention(), gh.RemoveNorm("mlp")])
def test_a_pass_under_other_hooks_is_no_start_for_the_last_mlp(early):
    shot = snapshot()
    with gh.applied(shot.model, [early]):
        assert shot.train.logits.isfinite().all()
    with gh.applied(shot.model, [gh.UnitNorm("mlp")]):
        torch.testing.assert_close(shot.train.rerun_last_mlp(), direct(shot))
    late = snapshot()
    with gh.applied(late.model, [gh.UnitNorm("mlp")]):
        # The first pass of all.
        torch.testing.assert_close(late.train.rerun_last_mlp(), direct(late))
        assert late.train.logits.isfinite().all()
        torch.testing.assert_close(late.train.rerun_last_mlp(), direct(late))
    edit_data(late.model)
    torch.testing.assert_close(late.train.rerun_last_mlp(), direct(late))


def test_the_last_mlp_starts_from_the_shared_pass(monkeypatch):
    shot = snapshot()
    assert shot.train.logits.isfinite().all()
    ran = []
    handle = register_module_forward_hook(lambda module, given, made: ran.append(type(module)))
    try:
        with gh.applied(shot.model, [gh.UnitNorm("mlp")]):
            assert shot.train.rerun_last_mlp().isfinite().all()
    finally:
        handle.remove()
    assert type(shot.model.unembed) in ran
    assert type(shot.model.embed) not in ran


def test_nothing_is_computed_twice_without_a_change():
    shot, calls = snapshot(), []
    remembered = Remembered(shot.model)

    def compute():
        calls.append(1)
        return len(calls)

    assert [remembered.once("a", compute) for _ in range(3)] == [1, 1, 1]
    assert remembered.once("b", compute) == 2
    with gh.applied(shot.model, []):
        # Nothing is attached.
        assert remembered.once("a", compute) == 1
    shot.model(shot.train.tokens).sum().backward()
    assert remembered.once("a", compute) == 1
    shot.model.W_E.requires_grad_(False)
    assert remembered.once("a", compute) == 3
    assert remembered.get("b") is None


def test_the_state_is_a_copy():
    model = snapshot().model
    state = ModelState(model)
    assert state.holds(model)
    edit_data(model)
    assert not state.holds(model)
    assert ModelState(model).holds(model)
