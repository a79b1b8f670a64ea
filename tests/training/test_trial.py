"""What of a user's own cannot train is refused by a sentence, before anything is written."""

import re
from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from runs_cases import with_recipe

import grokinterp as gi
from grokinterp.custom_loss import Loss, UnknownLoss
from grokinterp.gradient_filter import GradientFilter, UnknownFilter


class TrialFilter(GradientFilter):
    pass


class TrialScalar(GradientFilter):
    def filtered(self, tensor, gradient, memory):
        return gradient.mean()


class TrialMixed(GradientFilter):
    def filtered(self, tensor, gradient, memory):
        return gradient / gradient.norm()


class TrialNoise(GradientFilter):
    def filtered(self, tensor, gradient, memory):
        return gradient + torch.randn_like(gradient)


class TrialAssigns(GradientFilter):
    remembers = ("average",)

    def filtered(self, tensor, gradient, memory):
        memory["average"] = 0.9 * memory["average"] + gradient
        return memory["average"]


class TrialForgets(GradientFilter):
    remembers = ("average",)

    def filtered(self, tensor, gradient, memory):
        return 0.9 * memory["average"] + gradient


class TrialLoss(Loss):
    pass


class TrialMean(Loss):
    def losses(self, logits, labels):
        return logits.square().mean()


class TrialHard(Loss):
    def losses(self, logits, labels):
        return (logits.argmax(-1) != labels).double()


class TrialHardest(Loss):
    """Weighs each example by the others of its batch, which training evaluates in blocks."""

    def losses(self, logits, labels):
        each = F.cross_entropy(logits.mT, labels, reduction="none")
        return each * (each / each.mean(1, keepdim=True)).detach()


class Outside(torch.optim.SGD):
    """Counts its steps where no state is kept."""

    steps = 0

    def step(self, closure=None):
        self.steps += 1
        self.param_groups[0]["lr"] /= self.steps
        return super().step(closure)


class Noisy(torch.optim.SGD):
    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = parameter.grad + torch.randn_like(parameter)
        return super().step(closure)


BAD = [
    ({"gradient_filters": (TrialFilter(),)}, "TrialFilter must define filtered"),
    ({"gradient_filters": (GradientFilter(),)}, "GradientFilter must define filtered"),
    ({"gradient_filters": (TrialScalar(),)}, "must give a tensor like the gradient"),
    ({"gradient_filters": (TrialMixed(),)}, "must not mix runs"),
    ({"gradient_filters": (TrialNoise(),)}, "nor draw at random"),
    ({"gradient_filters": (TrialAssigns(),)}, "must change what it remembers in place"),
    ({"gradient_filters": (TrialForgets(),)}, "must change what it remembers in place"),
    ({"gradient_filters": (UnknownFilter('{"name": "X"}', "X is unknown"),)}, "X is unknown"),
    ({"loss": TrialLoss()}, "TrialLoss must define losses"),
    ({"loss": Loss()}, "Loss must define losses"),
    ({"loss": TrialMean()}, "must give a loss for each example"),
    ({"loss": TrialHard()}, "does not require grad"),
    ({"loss": TrialHardest()}, "by its own logits and label"),
    ({"loss": UnknownLoss('{"name": "X"}', "X is unknown")}, "X is unknown"),
    ({"optimizer": f"{__name__}.Outside"}, "an interrupted run would go on otherwise"),
    ({"optimizer": f"{__name__}.Noisy"}, "it draws at random"),
    ({"optimizer": "torch.optim.Muon", "weight_decay": 0.1}, "only supports 2D parameters"),
]


@pytest.mark.parametrize(("recipe", "sentence"), BAD)
def test_what_cannot_train_leaves_no_run(tmp_path, recipe, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)) as error:
        gi.train(with_recipe(**recipe), store=tmp_path / "runs")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.glob("runs/*/"))


@dataclass(frozen=True)
class TrialWeighted(Loss):
    """A weight for each class, of which there are as many as the model has."""

    weights: tuple[float, ...] = (1.0, 2.0, 1.0, 1.0, 3.0, 1.0)

    def losses(self, logits, labels):
        weights = torch.tensor(self.weights, dtype=logits.dtype, device=logits.device)
        return F.cross_entropy(logits.mT, labels, reduction="none") * weights[labels]


class TrialClip(GradientFilter):
    """Each run's tensor to a norm of 1."""

    def filtered(self, tensor, gradient, memory):
        norm = gradient.flatten(1).norm(dim=1).clamp(min=1e-30)
        return gradient / norm.view(-1, *[1] * (gradient.ndim - 1))


# Other tests list the classes that there are.
OWN = {
    name: (root, root.classes.pop(name))
    for root in (Loss, GradientFilter)
    for name in [*root.classes]
    if name.startswith("Trial")
}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    for name, (root, kind) in OWN.items():
        monkeypatch.setitem(root.classes, name, kind)


@pytest.mark.parametrize(
    "recipe",
    [
        {"gradient_filters": (TrialClip(),)},
        {"loss": TrialWeighted(), "loss_dtype": "float32"},
        {"loss": TrialWeighted(), "batch_size": 5},
        # Of a gradient and its opposite, the sum of the steps is 0.
        {"optimizer": "torch.optim.SGD", "weight_decay": 0.0},
    ],
)
def test_what_can_train_does(tmp_path, recipe):
    assert gi.train(with_recipe(**recipe, epochs=2), store=tmp_path).status == "finished"


def test_what_is_over_is_not_tried_again(tmp_path, monkeypatch):
    done = gi.train(with_recipe(gradient_filters=(TrialClip(),), epochs=2), store=tmp_path)
    monkeypatch.delitem(GradientFilter.classes, "TrialClip")
    [run] = gi.open_store(tmp_path).select()
    assert gi.train(run.config, store=tmp_path).path == done.path
    with pytest.raises(ValueError, match="gradient filter TrialClip"):
        gi.train(with_recipe(run.config, checkpoint_every=1), store=tmp_path)
