"""Probes: functions of a snapshot to a dictionary of floats and arrays, one file per subject."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from grokinterp.registry import Registry

Values = dict[str, float | np.ndarray]
Probe = Callable[..., Values]


_FILES = {
    "algorithm": ["distance_irrelevance", "gradient_symmetricity"],
    "attention": ["attention_entropy", "attention_uniformity", "head_similarity"],
    "commutator": ["commutator_defect"],
    "compressibility": ["compressibility", "weight_spectra"],
    "embedding": ["circularity", "embedding_spectrum", "fourier_concentration"],
    "fourier_plane": ["fourier_plane"],
    "frequencies": ["key_frequencies", "neuron_frequencies"],
    "hessian": ["hessian"],
    "irrep_shares": ["irrep_shares"],
    "label_noise": ["label_noise"],
    "linear_probe": ["linear_probe"],
    "llc": ["llc"],
    "norm_readout": ["norm_readout"],
    "ntk": ["ntk"],
    "optimisation": ["logit_scale", "norms", "softmax_collapse"],
    "progress_measures": ["excluded_loss", "logit_formula", "restricted_loss"],
    "qk_ov": ["ov_table", "qk_table"],
    "shortcut": ["shortcut"],
    "singular_vectors": ["singular_vectors"],
    "similarity": ["cka", "representation_drift"],
    "trajectory": ["trajectory"],
}
PROBES: Registry[Probe] = Registry(
    "PROBES",
    {
        name: f"grokinterp.probes.{file}:{name}"
        for name, file in sorted((name, file) for file, names in _FILES.items() for name in names)
    },
)
"""Every probe by name. The package's are listed here, by the file of grokinterp.probes."""
