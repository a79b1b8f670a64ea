"""Write the findings' table of probe values, from the pretrained models: python docs/probes.py.

It takes some minutes, most of them for `commutator_defect`, `hessian`, `linear_probe` and `llc`
(the extra `llc`).
"""

from __future__ import annotations

from collections.abc import Iterable
from math import isnan
from typing import get_args

from tables import fill, markdown

import grokinterp as gi
from grokinterp.pretrained import Stage
from grokinterp.probes.measurement import measure
from grokinterp.snapshot import Snapshot

PLACEMENTS = ("mlp-pre", "off")
# Probe, value, and what the value is.
ROWS = (
    ("attention_entropy", "mean", "nats, per head at the last query"),
    ("attention_entropy:convention=paper", "mean", "nats, of the head average"),
    ("attention_uniformity", "mean", "share of ln 3"),
    ("head_similarity", "cosine", ""),
    ("qk_table", "spread", "std of scores over tokens"),
    ("ov_table", "norm", ""),
    ("fourier_concentration", "value", ""),
    ("embedding_spectrum", "gini_powers", ""),
    ("circularity", "value", ""),
    ("key_frequencies", "count", "of 56"),
    ("neuron_frequencies", "clustered", "share of neurons"),
    ("logit_formula", "fve", ""),
    ("restricted_loss", "loss", "nats, all pairs"),
    ("restricted_loss", "full", "the whole model, all pairs"),
    ("excluded_loss", "loss", "nats, train"),
    ("gradient_symmetricity", "value", ""),
    ("distance_irrelevance", "value", ""),
    ("shortcut", "train_loss_rise", "nats, unit norm"),
    ("shortcut:kind=shuffle_norm", "train_loss_rise", "nats, norms shuffled"),
    ("norm_readout", "rise", "accuracy above shuffled labels"),
    ("compressibility", "effective_rank", "of 128"),
    ("compressibility", "alpha", ""),
    ("weight_spectra", "mean.effective_rank", ""),
    ("ntk", "relative_distance", "sum of logits"),
    ("ntk", "kernel_distance", "1 - cosine"),
    ("ntk", "centred_alignment", ""),
    ("hessian", "largest", ""),
    ("hessian", "trace", ""),
    ("commutator_defect", "value", "limit for small steps"),
    ("cka", "blocks.0.mlp.hook_post", "with epoch 10,000"),
    ("linear_probe", "blocks.0.hook_resid_post.r2_max", "best cos, sin ω(a+b)"),
    ("linear_probe", "blocks.0.hook_resid_post.accuracy", "label"),
    ("representation_drift:other={before}", "value", "since the column before"),
    ("llc", "value", ""),
    ("norms", "total", ""),
    ("logit_scale", "top2_margin", ""),
    ("softmax_collapse", "one_hot", "share of train"),
)


def written(value: float) -> str:
    """To about three digits.

    >>> [written(value) for value in (0.0, 1e-8, -0.001, 0.456, 56.0, 54.41, 42_612.0)]
    ['0', '1e-8', '-1e-3', '0.46', '56', '54.4', '42,600']
    """
    if isnan(value):
        return "–"
    if value.is_integer() and abs(value) < 1000:
        return f"{value + 0.0:.0f}"
    if abs(value) < 0.005:
        digits, exponent = f"{value:.0e}".split("e")
        return f"{digits}e{int(exponent)}"
    if abs(value) < 100:
        return f"{value:.{2 if abs(value) < 10 else 1}f}"
    return f"{float(f'{value:.3g}'):,.0f}"


def values(snapshot: Snapshot, probes: Iterable[str]) -> dict[tuple[str, str], float]:
    """The scalars of these probes."""
    found = measure(snapshot, probes)
    if found.failures:
        raise ValueError(f"at epoch {snapshot.epoch}: {found.failures}")
    return found.scalars


def table(rows: Iterable[tuple[str, str, str]] = ROWS) -> str:
    rows = list(rows)
    head, columns = ["probe", "value"], []
    for placement in PLACEMENTS:
        before = None
        for stage in get_args(Stage):
            snapshot = gi.pretrained_snapshot(placement, stage)
            at = f" ({snapshot.epoch:,})" if snapshot.epoch else ""
            head.append(f"{placement}: {stage}{at}")
            # The first column has none before it to compare with.
            comparable = [probe for probe, _, _ in rows if before is not None or "{" not in probe]
            asked = {probe.format(before=before): probe for probe in comparable}
            found = values(snapshot, asked)
            columns.append({(asked[probe], name): v for (probe, name), v in found.items()})
            before = snapshot.epoch
    lines = []
    for probe, name, what in rows:
        if not any((probe, name) in column for column in columns):
            raise ValueError(f"{probe} has no value {name}")
        cells = [written(column.get((probe, name), float("nan"))) for column in columns]
        shown = probe.partition(":other")[0]
        lines.append([f"`{shown}`", f"{name}: {what}" if what else name, *cells])
    return markdown(head, lines)


if __name__ == "__main__":
    fill({"probes": table})
