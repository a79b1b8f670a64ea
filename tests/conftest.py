"""The annotations of shapes in what computes are checked while the tests run (shapes.py)."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before anything imports grokinterp, or the modules are loaded unchecked.
CHECKED = (
    *("circuits", "figures", "inputs", "loss", "model", "probes", "snapshot"),
    # A checked function is decorated where it is defined: those that are defined inside others, as
    # the pullbacks of the rest of training are, would be so at each call.
    *("training.forward", "training.optimizer"),
)

# The files that take longest, so that no process is left with one of them at the end.
LONGEST = (
    *("reproduction/test_reproduction.py", "sweep/test_sweep.py", "report/test_report.py"),
    *("test_docs.py", "training/test_train.py", "training/test_engine.py", "test_readme.py"),
    *("experiments/test_experiment_figures.py", "store/test_recordings.py"),
    *("training/test_kill.py", "tracking/test_tracking.py", "test_user_files.py"),
)

pytest_plugins = ["skips"]

# No test fails for being slow.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_configure(config: pytest.Config) -> None:
    hands_out = config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")
    if hands_out:  # It runs no test, and its processes start when this has ended.
        return
    # What a checked module imports first is looked up among checked modules, where no bytecode of
    # it is: it would be compiled anew.
    import transformer_lens  # noqa: F401
    from shapes import check_shapes

    check_shapes(f"grokinterp.{name}" for name in CHECKED)

    import torch

    # The models of the tests are too small to share between cores.
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    rank = {tests / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without those checks, as users run it: what is tested is the library's own answer."""
    import jaxtyping

    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
