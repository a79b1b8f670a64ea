"""The examples in docstrings say what the code does."""

import doctest
from importlib import import_module

import pytest

MODULES = (
    "audit.claim",
    "confidence_interval",
    "audit.statistics",
    "checks",
    "cli.arguments",
    "config.stop_rule",
    "definition",
    "experiments.progress_measures",
    "figures.style",
    "gradient_filter",
    "grokking",
    "hooks.axes",
    "optimizer_path",
    "options",
    "placement",
    "probes.algorithm",
    "probes.compressibility",
    "probes.embedding",
    "probes.fourier",
    "probes.gram",
    "probes.hessian",
    "probes.calls",
    "probes.irreps",
    "probes.optimisation",
    "probes.similarity",
    "registry",
    "reproduction.cost",
    "reproduction.recipe",
    "schedule",
    "store.provenance",
    "store.run_names",
    "task",
    "task.group",
    "task.modular",
    "task.table",
)


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module):
    results = doctest.testmod(import_module(f"grokinterp.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
