"""The readout scale α, with its confound: the learning rate that comes with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.experiments.claim import Claim, Finding, above, below
from grokinterp.experiments.curves import generalising_epochs
from grokinterp.experiments.epochs import by_seed, trends
from grokinterp.experiments.experiment import Done, Experiment, Planned, Results
from grokinterp.experiments.recipe import PAPER, SEEDS, UNTIL_GENERALISED
from grokinterp.experiments.tables import runs_table, seeds_table
from grokinterp.figures.strip import Number, strip

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5)
RATES = {"lr fixed": False, "lr/α²": True}


class Variant(NamedTuple):
    init: Literal["lecun", "kaiming"] = "lecun"
    adam_eps: float = PAPER.adam_eps
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
    return [planned for seed in seeds for planned in _of_seed(seed)]


def _of_seed(seed: int) -> Iterator[Planned]:
    for name, variant in VARIANTS.items():
        for rate, coupled in RATES.items():
            for scale in SCALES:
                model = ModelConfig("off", readout_scale=scale, init=variant.init)
                train = replace(
                    UNTIL_GENERALISED,
                    # At a scale of 1 both rates are the same run.
                    couple_lr_to_readout=coupled and scale != 1.0,
                    adam_eps=variant.adam_eps,
                    subtract_initial_prediction=variant.subtract_initial_prediction,
                )
                if model == ModelConfig("off") and train == UNTIL_GENERALISED:
                    train = PAPER
                config = RunConfig(model=model, train=train, seed=seed)
                yield Planned(label(scale, f"{rate}{name}"), config)


def confound(done: Done) -> list[Finding]:
    runs, found = by_seed(done), {}
    for form in RATES:
        found[form] = trends(runs, {label(scale, form): scale for scale in SCALES})
    return [
        below("Kendall's τ of α and generalisation epoch, lr fixed", found["lr fixed"]),
        above("Kendall's τ of α and generalisation epoch, lr/α²", found["lr/α²"]),
    ]


def results(done: Done) -> Results:
    epochs = generalising_epochs(done)
    series: dict[str, dict[str, list[Number]]] = {}
    for form in FORMS:
        of_form = {f"α {s:g}": epochs[label(s, form)] for s in SCALES if label(s, form) in epochs}
        if of_form:
            series[form] = of_form
    figure = strip(
        series,
        "generalisation epoch",
        log=True,
        title="Readout scale, No LN: when each seed generalised",
    )
    return Results({"overview": figure}, {"seeds": seeds_table(done), "runs": runs_table(done)})


READOUT_SCALE = Experiment(
    title="Readout scale",
    question="Does a larger readout scale generalise earlier, or the learning rate behind it?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2],
    claims=(
        Claim(
            "readout_scale_confound",
            "with a fixed learning rate a larger readout scale generalises earlier; with "
            "lr/alpha^2 the order reverses",
            confound,
        ),
    ),
)
