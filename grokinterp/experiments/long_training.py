"""Past the paper's 10,000 epochs: what does not generalise within them, does it never, or later?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from grokinterp.config import ModelConfig, RunConfig
from grokinterp.reproduction.experiment import Done, Experiment, Planned, Results, each_seed
from grokinterp.reproduction.outcomes import outcomes
from grokinterp.reproduction.recipe import FRESH_INIT, SEEDS, UNTIL_GENERALISED

EPOCHS = 30_000
DECAYS = (0.1, 0.2, 0.5)


def plan(seeds: Sequence[int]) -> list[Planned]:
    decay = UNTIL_GENERALISED.weight_decay
    configs = {name: _config(name, decay) for name in ("attn-pre", "attn-pre-qk")}
    configs |= {f"off, decay {decay:g}": _config("off", decay) for decay in DECAYS}
    return each_seed(configs, seeds)


def _config(placement: str, weight_decay: float) -> RunConfig:
    return RunConfig(
        # Drawn where PyTorch 2.11 did.
        model=ModelConfig(placement, init=FRESH_INIT),
        train=replace(UNTIL_GENERALISED, epochs=EPOCHS, weight_decay=weight_decay),
    )


def results(done: Done) -> Results:
    return outcomes(done, "Past 10,000 epochs")


LONG_TRAINING = Experiment(
    title="Long training",
    question="What does not generalise within 10,000 epochs: does it within 30,000?",
    plan=plan,
    results=results,
    seeds=SEEDS[:2],
)
