"""What takes seconds to import is imported where it is used."""

import subprocess
import sys

import pytest

SMALL = "--p 5 --d-model 8 --n-heads 2 --epochs 5 --store"


@pytest.mark.parametrize(
    ("more", "loaded"),
    [
        ([], "False"),
        pytest.param(
            ["--probes", "attention_entropy", "5", "--intervene", "UnitNorm:mlp"],
            "True",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_transformer_lens_is_loaded_where_a_probe_or_a_hook_needs_it(tmp_path, more, loaded):
    code = (
        "import sys; from grokinterp import cli\n"
        "cli.main(sys.argv[1:])\n"
        "print('transformer_lens' in sys.modules)"
    )
    command = [sys.executable, "-c", code, "train", *SMALL.split(), str(tmp_path), *more]
    printed = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL)
    assert printed.splitlines()[-1] == loaded
