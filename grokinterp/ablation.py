"""Loss and accuracy with interventions attached, beside random controls of the same size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from grokinterp.hooks import Intervention, applied, distinct_controls, parse_intervention
from grokinterp.hooks.neurons import AblateNeurons
from grokinterp.options import parse_call, parse_options, parse_value
from grokinterp.probes import PROBES
from grokinterp.snapshot import Snapshot, Split

SIDES: tuple[Split, ...] = ("train", "test")
SCORES = ("train_loss", "train_accuracy", "test_loss", "test_accuracy")


def ablate(
    snapshot: Snapshot,
    interventions: Sequence[Intervention],
    controls: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """What the model loses under these interventions, all attached at once.

    An intervention over the grid of all pairs, such as FilterFrequencies, runs on all of them, and
    the scores are of the train and the test pairs among these; for a mean ablation beside it the
    batch is the grid then.

    To the snapshot's model, with what is attached to it already: of a run that trained under
    interventions, `intact` is the model as it trained.

    The random control puts in place of each intervention that chose some of several (heads,
    neurons, frequencies) the same on as many others: `controls` different ones, or all that there
    are where they are fewer, as the three other heads for one of four. Where none of them chose,
    as with a whole pathway, there is no control of the same size, and no such row.

    Returns:
        A row for `intact`, `ablated` and each `control`; columns condition, draw, and train and
        test loss (the task's cross-entropy of the model's logits: nats, float64; without what a
        recipe adds to it) and accuracy (0 to 1).
    """
    rows = [{"condition": "intact", "draw": 0, **_intact(snapshot)}]
    rows.append({"condition": "ablated", "draw": 0, **_under(snapshot, interventions)})
    drawn = distinct_controls(interventions, snapshot.model, controls, seed)
    for draw, control in enumerate(drawn):
        rows.append({"condition": "control", "draw": draw, **_under(snapshot, control)})
    return pd.DataFrame(rows)


ablate.version = 2  # type: ignore[attr-defined]


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """A row for each condition: means, and `n`, how many different controls they are of.

    Beside the controls' mean, their standard deviation (of a sample); of fewer than two there is
    none, and no such row.
    """
    grouped = table.groupby("condition", sort=False)[list(SCORES)]
    found = grouped.mean()
    n = grouped.size()
    if n.get("control", 0) > 1:
        found.loc["control (std)"] = grouped.std(ddof=1).loc["control"]
        n["control (std)"] = n["control"]
    return found.assign(n=n.astype(int))


def scalars(table: pd.DataFrame) -> dict[str, float]:
    """The summary by name, such as `ablated.test_loss`, and `control.n`; what the store keeps."""
    found = summarise(table)
    values = {
        f"{str(condition).replace(' (std)', '_std')}.{name}": float(value)
        for condition, row in found[list(SCORES)].iterrows()
        for name, value in row.items()
    }
    counts = found["n"].to_dict()
    return values | ({"control.n": float(counts["control"])} if "control" in counts else {})


def cluster(snapshot: Snapshot, frequency: int, kind: str = "zero") -> AblateNeurons:
    """The ablation of the neurons that serve a frequency (probe neuron_frequencies)."""
    found = snapshot.once(PROBES["neuron_frequencies"])
    fve, of = np.asarray(found["fve"]), np.asarray(found["cluster"])
    chosen = np.flatnonzero((of == frequency) & (fve.max(1) > 0.85))
    if not len(chosen):
        sizes = np.asarray(found["sizes"])
        served = ", ".join(str(k + 1) for k in np.flatnonzero(sizes)) or "none"
        raise ValueError(
            f"no neuron serves frequency {frequency}; the frequencies with a cluster: {served}"
        )
    return AblateNeurons(tuple(int(n) for n in chosen), kind=kind)


def parse(snapshot: Snapshot, text: str) -> Intervention:
    """An intervention from the command line; `cluster:5` is a frequency's neurons."""
    name, written = parse_call(text)
    if name != "cluster":
        return parse_intervention(text)
    takes = "cluster takes a frequency, and kind, as in cluster:5,kind=mean"
    try:
        options = parse_options(written, ("frequency", "kind"))
    except ValueError as error:
        raise ValueError(f"{takes}; {error} in {text!r}") from None
    frequency = parse_value(options.get("frequency", ""))
    if type(frequency) is not int or not options.keys() <= {"frequency", "kind"}:
        raise ValueError(f"{takes}; got {text!r}")
    return cluster(snapshot, frequency, options.get("kind", "zero"))


def _intact(snapshot: Snapshot) -> dict[str, float]:
    return _scores(snapshot, {side: snapshot.inputs(side).logits for side in SIDES})


def _under(snapshot: Snapshot, interventions: Sequence[Intervention]) -> dict[str, float]:
    on_grid = any(item.on_grid for item in interventions)
    if on_grid:
        snapshot.require_unmixed("an ablation on the grid", snapshot.grid)
    with torch.no_grad(), applied(snapshot.model, interventions) as model:
        if on_grid:
            grid = model(snapshot.grid.tokens)[:, -1]
            p = snapshot.task.n_elements
            pairs = {side: snapshot.inputs(side).tokens[:, :2] for side in SIDES}
            logits = {side: grid[ab[:, 0] * p + ab[:, 1]] for side, ab in pairs.items()}
        else:
            logits = {side: model(snapshot.inputs(side).tokens)[:, -1] for side in SIDES}
    return _scores(snapshot, logits)


def _scores(snapshot: Snapshot, logits: dict[Split, Tensor]) -> dict[str, float]:
    values = {}
    for side, z in logits.items():
        inputs = snapshot.inputs(side)
        values[f"{side}_loss"] = F.cross_entropy(z.double(), inputs.labels).item()
        values[f"{side}_accuracy"] = (z.argmax(-1) == inputs.labels).double().mean().item()
    return values
