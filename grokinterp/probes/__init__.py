"""Probes: functions of a snapshot to a dictionary of floats and arrays, one file per subject."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grokinterp.probes.algorithm import distance_irrelevance, gradient_symmetricity
from grokinterp.probes.attention import attention_entropy, attention_uniformity, head_similarity
from grokinterp.probes.compressibility import compressibility, weight_spectra
from grokinterp.probes.embedding import circularity, embedding_spectrum, fourier_concentration
from grokinterp.probes.frequencies import key_frequencies, neuron_frequencies
from grokinterp.probes.hessian import hessian
from grokinterp.probes.linear_probe import linear_probe
from grokinterp.probes.llc import llc
from grokinterp.probes.norm_readout import norm_readout
from grokinterp.probes.ntk import ntk
from grokinterp.probes.optimisation import logit_scale, norms, softmax_collapse
from grokinterp.probes.progress_measures import excluded_loss, logit_formula, restricted_loss
from grokinterp.probes.qk_ov import ov_table, qk_table
from grokinterp.probes.shortcut import shortcut
from grokinterp.probes.similarity import cka, representation_drift

Values = dict[str, float | np.ndarray]

PROBES: dict[str, Callable[..., Values]] = {
    "attention_entropy": attention_entropy,
    "attention_uniformity": attention_uniformity,
    "circularity": circularity,
    "cka": cka,
    "compressibility": compressibility,
    "distance_irrelevance": distance_irrelevance,
    "embedding_spectrum": embedding_spectrum,
    "excluded_loss": excluded_loss,
    "fourier_concentration": fourier_concentration,
    "gradient_symmetricity": gradient_symmetricity,
    "head_similarity": head_similarity,
    "hessian": hessian,
    "key_frequencies": key_frequencies,
    "linear_probe": linear_probe,
    "llc": llc,
    "logit_formula": logit_formula,
    "logit_scale": logit_scale,
    "neuron_frequencies": neuron_frequencies,
    "norm_readout": norm_readout,
    "norms": norms,
    "ntk": ntk,
    "ov_table": ov_table,
    "qk_table": qk_table,
    "representation_drift": representation_drift,
    "restricted_loss": restricted_loss,
    "shortcut": shortcut,
    "softmax_collapse": softmax_collapse,
    "weight_spectra": weight_spectra,
}
"""Every probe by name."""
