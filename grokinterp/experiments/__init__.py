"""Experiments by name: each is one file, and one line here."""

from __future__ import annotations

from grokinterp.experiments.direction_or_norm import DIRECTION_OR_NORM
from grokinterp.experiments.experiment import Experiment
from grokinterp.experiments.transplant import TRANSPLANT
from grokinterp.experiments.uniform_attention import UNIFORM_ATTENTION

EXPERIMENTS: dict[str, Experiment] = {
    "direction-or-norm": DIRECTION_OR_NORM,
    "transplant": TRANSPLANT,
    "uniform-attention": UNIFORM_ATTENTION,
}
"""Every experiment by name."""
