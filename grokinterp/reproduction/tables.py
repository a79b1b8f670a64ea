"""Tables that experiments share: a row for each run, and a row for each label over its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from grokinterp.grokking import GENERALISED_ACCURACY, HOLD_EPOCHS, Crossing, first_crossing
from grokinterp.reproduction.curves import by_label
from grokinterp.reproduction.experiment import Done
from grokinterp.store.run import Run


def runs_table(done: Done) -> pd.DataFrame:
    """When each run memorised and generalised, and where it ended."""
    rows = []
    for planned, run in done:
        metrics, times = run.metrics, run.grokking
        last = metrics.iloc[-1]
        rows.append(
            {
                "label": planned.label,
                "seed": run.config.seed,
                "status": run.status,
                "memorised": str(times.memorised),
                "generalised": str(times.generalised),
                f"held {HOLD_EPOCHS} epochs": str(times.generalised_for_good),
                "test loss 0.01": str(times.generalised_by_loss),
                "epochs": int(last["epoch"]),
                "test accuracy": last["test_accuracy"],
                "weight norm": last["weight_norm"],
                "run": run.id,
            }
        )
    return pd.DataFrame(rows)


def seeds_table(done: Done, paper: Mapping[str, int] | None = None) -> pd.DataFrame:
    """Over the seeds of each label: each generalising epoch, their median, and that of the mean
    curve, which is the paper's convention."""
    rows = []
    for label, runs in by_label(done).items():
        epochs = [run.grokking.generalised for run in runs]
        places = [np.inf if one.by is None else one.by for one in epochs]
        median = float(np.median(places))
        row = {
            "label": label,
            "seeds": len(runs),
            "generalised": "; ".join(map(str, epochs)),
            "median": f"{median:,.0f}" if np.isfinite(median) else "not within",
            "of the mean curve": str(mean_curve_crossing(runs) or "–"),
        }
        if paper is not None:
            row["paper, mean of five"] = f"{paper[label]:,}" if label in paper else "–"
        rows.append(row)
    return pd.DataFrame(rows)


def mean_curve_crossing(runs: Sequence[Run]) -> Crossing | None:
    """When the mean test accuracy of a label's runs reaches 0.995; None where one ended early."""
    if len({run.epoch for run in runs}) > 1:
        return None
    curves = [run.metrics.set_index("epoch")["test_accuracy"] for run in runs]
    mean = pd.concat(curves, axis=1).dropna().mean(axis=1)
    return first_crossing(mean.index.tolist(), (mean >= GENERALISED_ACCURACY).tolist())
