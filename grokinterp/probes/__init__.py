"""Probes: functions of a snapshot to a dictionary of floats and arrays, one file per subject."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from importlib import import_module

import numpy as np

Values = dict[str, float | np.ndarray]
Probe = Callable[..., Values]


class Registry(MutableMapping[str, Probe]):
    """Probes by name; a user's own are added as to a dictionary.

    The names are known at once, and a file of the package is imported when a probe of it is first
    asked for: so a wrong name is told before torch is there.
    """

    def __init__(self, files: Mapping[str, Sequence[str]]) -> None:
        self._file = {name: file for file, names in files.items() for name in names}
        self._probes: dict[str, Probe | None] = dict.fromkeys(sorted(self._file))

    def __getitem__(self, name: str) -> Probe:
        probe = self._probes[name]
        if probe is None:
            module = import_module(f"grokinterp.probes.{self._file[name]}")
            probe = self._probes[name] = getattr(module, name)
        return probe

    def __setitem__(self, name: str, probe: Probe) -> None:
        self._probes[name] = probe

    def __delitem__(self, name: str) -> None:
        del self._probes[name]

    def __contains__(self, name: object) -> bool:
        return name in self._probes

    def __iter__(self) -> Iterator[str]:
        return iter(self._probes)

    def __len__(self) -> int:
        return len(self._probes)

    def __repr__(self) -> str:
        return f"PROBES({', '.join(self)})"


PROBES = Registry(
    {
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
)
"""Every probe by name. The package's are listed here, by the file of grokinterp.probes."""
