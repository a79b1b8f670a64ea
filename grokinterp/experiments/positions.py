"""LN positions, which several experiments share: their runs, and their claimed order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from grokinterp.audit.claim import Finding, above
from grokinterp.audit.statistics import by_seed, ratios
from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.experiments.experiment import Afterwards, Done, Planned, each_seed
from grokinterp.experiments.recipe import PAPER

LN_POSITIONS = ("off", "attn-pre", "pre", "mlp-pre")
PATHWAYS = (*LN_POSITIONS, "attn-pre-qk", "attn-pre-v", "pre-v")


def placements(
    names: Iterable[str],
    seeds: Sequence[int],
    train: TrainConfig = PAPER,
    afterwards: Afterwards | None = None,
) -> list[Planned]:
    """Runs of these placements, labelled by them."""
    configs = {name: RunConfig(model=ModelConfig(name), train=train) for name in names}
    return each_seed(configs, seeds, afterwards)


def position_order(
    done: Done, of: str = "", paper: Mapping[str, int] | None = None
) -> list[Finding]:
    """M < M+A* < A* <= No LN, in generalisation epochs; `of` begins what each finding is called."""
    runs = by_seed(done)
    return [
        above(
            f"{of}generalisation epoch, {later} / {earlier}",
            ratios(runs, later, earlier),
            1.0,
            published=f"{paper[later] / paper[earlier]:.2g}" if paper else "",
        )
        for later, earlier in (("pre", "mlp-pre"), ("attn-pre", "pre"), ("off", "attn-pre"))
    ]
