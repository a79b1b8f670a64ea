"""Every annotation of the library is checked while the tests run: shapes by jaxtyping."""

from collections.abc import Iterator

import jaxtyping
import pytest

# Before anything imports grokinterp, or the modules are loaded unchecked.
jaxtyping.install_import_hook(["grokinterp", "grokinterp.hooks"], "beartype.beartype")

import torch  # noqa: E402

# The models of the tests are too small to share between cores.
torch.set_num_threads(1)


@pytest.fixture
def unchecked() -> Iterator[None]:
    """Without those checks, as users run it: what is tested is the library's own answer."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
