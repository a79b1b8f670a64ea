"""What CI is asked to run, and that no test is skipped there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent

SKIPPING = """
import pytest

def test_passes():
    pass

@pytest.mark.skipif(True, reason="has no browser")
def test_skips():
    pass

@pytest.fixture
def package():
    pytest.importorskip("no_such_package")

def test_skips_too(package):
    pass

@pytest.mark.gpu
@pytest.mark.skipif(True, reason="has no GPU")
def test_of_a_gpu():
    pass

@pytest.mark.xfail
def test_is_expected_to_fail():
    assert False
"""


@pytest.mark.parametrize(
    ("ci", "counts"),
    [("", "1 passed, 3 skipped, 1 xfailed"), ("true", "1 passed, 1 skipped, 1 xfailed, 2 errors")],
)
def test_a_test_that_would_be_skipped_fails_in_ci(tmp_path, ci, counts):
    (tmp_path / "test_skipping.py").write_text(SKIPPING)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n    gpu: needs CUDA\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "skips", str(tmp_path)],
        # No other plugin is asked for: what is installed imports arrays and event loops.
        env={
            **os.environ,
            "CI": ci,
            "PYTHONPATH": str(TESTS),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    said = ", ".join(re.findall(r"\d+ (?:failed|passed|skipped|xfailed|errors?)", done.stdout))
    assert said == counts, done.stdout
    assert ("skipped, which no test is where CI is set: has no browser" in done.stdout) == bool(ci)


def test_that_is_so_of_these_tests(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("skips")


@pytest.mark.parametrize("browser", ["", "chromium", "google-chrome"])
@pytest.mark.parametrize("apt", ["there", "fails", ""])
def test_ci_installs_a_browser_where_there_is_none(tmp_path, browser, apt):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "id", "mktemp", "rm", "env"):
        found = shutil.which(name)
        assert found is not None
        (tools / name).symlink_to(found)
    log = tmp_path / "log"
    (tools / "sudo").write_text('#!/bin/bash\nshift\n"$@"\n')
    for name in filter(None, ("make", browser, "apt-get" if apt else "")):
        code = 1 if (name, apt) == ("apt-get", "fails") else 0
        (tools / name).write_text(f'#!/bin/bash\necho "{name} $*" >> {log}\nexit {code}\n')
    for path in tools.iterdir():
        if not path.is_symlink():
            path.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / ".ci" / "run")], env={"PATH": str(tools)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    *before, tests, on_lens4 = log.read_text().splitlines()
    assert tests.startswith("make test VENV=")
    assert on_lens4.startswith("make test-lens4 VENV=")
    if browser or not apt:
        assert before == []
    elif apt == "fails":
        assert before == ["apt-get update -qq"]
        assert "could not be installed" in done.stderr
    else:
        assert before == ["apt-get update -qq", "apt-get install -y -qq chromium"]
