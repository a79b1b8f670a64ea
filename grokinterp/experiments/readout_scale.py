"""The readout scale α, with its confound: the learning rate that comes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from grokinterp.audit import rules
from grokinterp.config import ModelConfig, RunConfig
from grokinterp.placement import both_names
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import grouped_outcomes
from grokinterp.reproduction.recipe import FRESH_SEEDS, PAPER_RECIPE, SEEDS, UNTIL_GENERALISED

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
RATES = {"lr fixed": False, "lr/α²": True}


class Variant(NamedTuple):
    init: Literal["lecun", "kaiming"] = "lecun"
    adam_eps: float = PAPER_RECIPE.adam_eps
    subtract_initial_prediction: bool = False


# Each with both rates: six forms.
VARIANTS = {
    "": Variant(),
    ", kaiming, eps 0": Variant(init="kaiming", adam_eps=0.0),
    ", less the initial prediction": Variant(subtract_initial_prediction=True),
}
FORMS = tuple(f"{rate}{variant}" for variant in VARIANTS for rate in RATES)


def label(scale: float, form: str) -> str:
    return f"α {scale:g}, {form}"


def plan(seeds: Sequence[int]) -> list[Planned]:
    configs = {
        label(scale, f"{rate}{name}"): _config(scale, coupled, variant)
        for name, variant in VARIANTS.items()
        for rate, coupled in RATES.items()
        for scale in SCALES
    }
    return each_seed(configs, seeds)


def _config(scale: float, coupled: bool, variant: Variant) -> RunConfig:
    model = ModelConfig("off", readout_scale=scale, init=variant.init)
    train = replace(
        UNTIL_GENERALISED,
        # At a scale of 1 both rates are the same run.
        couple_lr_to_readout=coupled and scale != 1.0,
        adam_eps=variant.adam_eps,
        subtract_initial_prediction=variant.subtract_initial_prediction,
    )
    if model == ModelConfig("off") and train == UNTIL_GENERALISED:
        train = PAPER_RECIPE
    return RunConfig(model=model, train=train)


def settings(form: str) -> dict[str, float]:
    """The scale of each of a form's runs, by label."""
    return {label(scale, form): scale for scale in SCALES}


def results(done: Done) -> Results:
    groups = {form: {f"α {scale:g}": label(scale, form) for scale in SCALES} for form in FORMS}
    return grouped_outcomes(done, groups, f"Readout scale, {both_names('off')}")


READOUT_SCALE = Experiment(
    title="Readout scale",
    question="Does a larger readout scale generalise earlier, or the learning rate behind it?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2] + FRESH_SEEDS,
    claims=(rules.readout_scale_confound(settings("lr fixed"), settings("lr/α²")),),
)
