"""The command line: a thin function for each command, in a file of its own.

Options come from the functions' arguments and the configs' own fields.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Sequence
from importlib import import_module
from itertools import takewhile
from textwrap import fill
from typing import NoReturn

from grokinterp.checks import did_you_mean

COMMANDS = {
    "demo": "train LN before the MLP until it groks (about a minute), and draw what happened",
    "train": "train runs: any placement, task, seed and recipe; resumes what was interrupted",
    "sweep": "train many runs in workers: processes here, or a Ray cluster; vary any field",
    "runs": "list the runs of a store, filter them, show one in detail",
    "probe": "compute probes on the checkpoints of runs, and keep them in the store",
    "reproduce": "draw an experiment of the paper, or all; ask, and train what is missing",
    "audit": "judge each claim of the paper by the runs that are there",
    "report": "write one HTML page of experiments, verdicts, runs and circuits; works offline",
    "ablate": "take a pathway, head, cluster or frequency away from a run, beside a random control",
}
SAVE = ("demo", "train", "sweep", "probe", "reproduce")
"""What was interrupted goes on; the others are over in a minute, and begin anew."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: `grokinterp COMMAND [options]`."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    for stream in (sys.stdout, sys.stderr):
        # What the terminal's encoding has not, such as τ, is replaced: it must not end the command.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        try:
            _run([word for word in given if word != "--debug"], debug)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # `grokinterp runs | head` has read what it wants.
        # Python flushes once more when it ends, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(arguments: Sequence[str], debug: bool) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_overview())
        return
    if arguments[0] == "--version":
        import grokinterp

        print(f"grokinterp {grokinterp.__version__}")
        return
    command, options = arguments[0], arguments[1:]
    if command not in COMMANDS:
        hint = did_you_mean(command, COMMANDS)
        _fail(f"unknown command {command!r}; {hint}choose one of {', '.join(COMMANDS)}")

    from grokinterp.cli.arguments import bound
    from grokinterp.failure import failure_of
    from grokinterp.training.interrupt import Terminated, cleaned_up
    from grokinterp.user_files import load_files

    try:
        function = getattr(import_module(f"grokinterp.cli.{command}"), command)
        with cleaned_up():
            load_files(_values(options, "--load"))
            bound(function, command, options)()
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, Terminated) as ended:
        if debug:
            raise
        how, code = ("terminated", 143) if isinstance(ended, Terminated) else ("interrupted", 130)
        on = "; the same command goes on from the last save" if command in SAVE else ""
        _fail(how + on, code)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError):
            _fail(str(error))
        failure = failure_of(error)
        said = "\n".join([failure.reason, *getattr(error, "__notes__", ())])
        if failure.traceback:  # A bug.
            _fail(f"{said}; the same command with --debug shows where", 1)
        _fail(said)


def _values(options: Sequence[str], name: str) -> list[str]:
    """What stands after an option, up to the next one; or beside it, as in --load=FILE."""
    beside = [word.partition("=")[2] for word in options if word.startswith(f"{name}=")]
    if name not in options:
        return beside
    after = options[options.index(name) + 1 :]
    return beside + list(takewhile(lambda word: not word.startswith("-"), after))


def _overview() -> str:
    # As on a page, however wide the terminal is.
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    lines = [
        fill(
            f"  {name:<11}{what}",
            width,
            subsequent_indent=" " * (13 if width > 60 else 4),
            break_on_hyphens=False,
        )
        for name, what in COMMANDS.items()
    ]
    return "\n".join(
        [
            "usage: grokinterp COMMAND [options]",
            "",
            fill("Mechanistic interpretability of grokking, on TransformerLens.", width),
            "",
            *lines,
            "",
            fill("grokinterp COMMAND --help lists a command's options.", width),
            fill("--debug shows where in the code an error arose.", width),
        ]
    )


def _fail(message: str, code: int = 2) -> NoReturn:
    """End the program by one line."""
    lines = [line.strip() for line in message.splitlines()]
    print(f"grokinterp: {'; '.join(filter(None, lines))}", file=sys.stderr)
    raise SystemExit(code)
