"""A user's own loss, gradient filters and optimiser, tried on a little before a run is begun."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from grokinterp.component import Unknown
from grokinterp.config import RunConfig
from grokinterp.custom_loss import Loss
from grokinterp.gradient_filter import GradientFilter
from grokinterp.loss import losses_and_gradient
from grokinterp.model.parameters import parameter_shapes
from grokinterp.optimizer_path import OURS
from grokinterp.training.by_path import check_optimizer


def try_recipe(config: RunConfig) -> None:
    """ValueError if what the recipe holds of a user's own cannot train a run, or not alike
    whichever runs and examples it trains beside. What is unknown here is not tried."""
    recipe = config.train
    if recipe.optimizer not in OURS:
        check_optimizer(recipe)
    for one in recipe.gradient_filters:
        if not isinstance(one, Unknown):
            _check(one, partial(_try_filter, one, config))
    if isinstance(recipe.loss, Loss) and not isinstance(recipe.loss, Unknown):
        _check(recipe.loss, partial(_try_loss, config))


def _check(part: Loss | GradientFilter, attempt: Callable[[], str]) -> None:
    try:
        problem = attempt()
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        raise ValueError(f"{part.noun} {part!r} cannot train here: {problem}")


def _try_filter(one: GradientFilter, config: RunConfig) -> str:
    """What is wrong; nothing if nothing is."""
    generator, dtype = torch.Generator().manual_seed(0), getattr(torch, config.train.dtype)
    shapes = {torch.Size(shape) for shape in parameter_shapes(config.model, config.task).values()}
    changed = False
    for shape in sorted(shapes):
        tensor, *gradients = torch.randn(3, 2, *shape, generator=generator).to(dtype)

        def steps(
            runs: slice, tensor: Tensor = tensor, gradients: list[Tensor] = gradients
        ) -> list[Tensor]:
            nonlocal changed
            kept = {name: torch.zeros_like(tensor[runs]) for name in one.remembers}
            memory = dict(kept)
            with torch.no_grad():
                seen = [
                    one.filtered(tensor[runs].clone(), gradient[runs].clone(), memory)
                    for gradient in gradients
                ]
            in_place = all(memory[name] is value for name, value in kept.items())
            changed |= in_place and any(bool(value.any()) for value in kept.values())
            return seen

        for found, first, second in zip(
            *map(steps, (slice(2), slice(1), slice(1, 2))), strict=True
        ):
            if not isinstance(found, Tensor) or found.shape != tensor.shape:
                return (
                    f"filtered must give a tensor like the gradient, {tuple(tensor.shape)}; "
                    f"it gave {_told(found)}"
                )
            if not _alike(found, torch.cat([first, second])):
                return (
                    "filtered must not mix runs, which lie along the first axis, nor draw at "
                    "random: of each alone it gave another result"
                )
    if one.remembers and not changed:
        return (
            "filtered must change what it remembers in place, as in "
            f"memory[{one.remembers[0]!r}].mul_(0.9).add_(gradient); what it was given stayed 0"
        )
    return ""


def _try_loss(config: RunConfig) -> str:
    generator, dtype = torch.Generator().manual_seed(0), getattr(torch, config.train.dtype)
    classes = parameter_shapes(config.model, config.task).get("unembed.W_U")
    size = config.task.d_vocab if classes is None else classes[-1]
    logits = torch.randn(2, 3, size, generator=generator).to(dtype)
    labels = torch.randint(config.task.equals_token, (2, 3), generator=generator)
    together = losses_and_gradient(config.train, logits, labels)
    for run in range(2):
        for row in range(3):
            alone = losses_and_gradient(
                config.train, logits[run, row][None, None], labels[run, row][None, None]
            )
            for whole, part in zip(together, alone, strict=True):
                if not _alike(whole[run, row], part[0, 0]):
                    return (
                        "losses must give each example's by its own logits and label, and not "
                        "draw at random: of one alone it gave another, or another gradient"
                    )
    return ""


def _alike(one: Tensor, other: Tensor) -> bool:
    """As near as two ways to the same numbers come, in float32 too."""
    return torch.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True)


def _told(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
