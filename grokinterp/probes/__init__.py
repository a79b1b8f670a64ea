"""Probes: functions of a snapshot to a dictionary of floats and arrays, one file per subject."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grokinterp.probes.attention import attention_entropy, attention_uniformity, head_similarity
from grokinterp.probes.compressibility import compressibility, weight_spectra
from grokinterp.probes.embedding import fourier_concentration
from grokinterp.probes.optimisation import logit_scale, norms, softmax_collapse
from grokinterp.probes.shortcut import shortcut

Values = dict[str, float | np.ndarray]

PROBES: dict[str, Callable[..., Values]] = {
    "attention_entropy": attention_entropy,
    "attention_uniformity": attention_uniformity,
    "compressibility": compressibility,
    "fourier_concentration": fourier_concentration,
    "head_similarity": head_similarity,
    "logit_scale": logit_scale,
    "norms": norms,
    "shortcut": shortcut,
    "softmax_collapse": softmax_collapse,
    "weight_spectra": weight_spectra,
}
"""Every probe by name."""
