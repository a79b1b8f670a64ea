"""The bar that a notebook shows by itself while runs train."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from grokinterp.jupyter import in_notebook
from grokinterp.store.progress import Observer, Sentences, Warns, summary
from grokinterp.store.run_names import run_names

if TYPE_CHECKING:
    from grokinterp.config import RunConfig
    from grokinterp.store.run import Run
    from grokinterp.store.state import Report

SECONDS = 0.2
"""Between two pictures of the bar."""


class NotebookBar(Sentences):
    """A live bar over all epochs of all runs, and a line for each run at its end, as HTML."""

    def begin(self, configs: Sequence[RunConfig], runs: Sequence[Run]) -> None:
        unique = {run.path: (run, config) for run, config in zip(runs, configs, strict=True)}
        names = run_names([config for _, config in unique.values()])
        self._names = dict(zip(unique, names, strict=True))
        self._epochs: dict[Path, int] = {}
        self._start("epochs", 0)
        for run, config in unique.values():
            self._epochs[run.path] = run.epoch
            self._total += run.epoch if run.is_over else config.train.epochs
            if run.is_over:
                self._say(f"{self._name(run, config)}: in the store already ({summary(run)})")
        self._done = sum(self._epochs.values())
        self._show(now=True)

    def _start(self, what: str, total: int) -> None:
        from IPython.display import HTML, display

        self._what, self._total, self._done = what, total, 0
        self._lines: list[str] = []
        self._note, self._shown, self._html = "", 0.0, HTML
        self._handle: Any = display(HTML(""), display_id=True)

    def _name(self, run: Run, config: RunConfig) -> str:
        return self._names.get(run.path, config.name)

    def waiting(self, run: Run, owner: str) -> None:
        self._say(f"{self._name(run, run.config)}: {owner} is training it; waiting for it to end")

    def advanced(self, run: Run, config: RunConfig, report: Report) -> None:
        over = report.status != "running"
        if over:  # Of a run that stopped early no more epochs come.
            self._total -= config.train.epochs - report.epoch
        self._done += report.epoch - self._epochs[run.path]
        self._epochs[run.path] = report.epoch
        if report.row is not None:
            row = report.row
            self._note = (
                f"{self._name(run, config)} epoch {report.epoch:,}: train loss "
                f"{row['train_loss']:.2g}, test loss {row['test_loss']:.2g}, test accuracy "
                f"{row['test_accuracy']:.1%}"
            )
        if over:
            self._say(f"{self._name(run, config)}: {summary(run)}")
        self._show()

    def begin_probing(self, checkpoints: int) -> None:
        self._start("checkpoints", checkpoints)
        self._show(now=True)

    def probed(self, run: Run, epoch: int) -> None:
        self._done += 1
        self._note = f"{run.config.name} epoch {epoch:,}"
        self._show()

    def end(self) -> None:
        if self._done >= self._total:
            self._note = ""
        self._show(now=True)

    def _say(self, text: str) -> None:
        self._lines.append(text)
        self._show()

    def _show(self, now: bool = False) -> None:
        if now or time.monotonic() - self._shown > SECONDS:
            self._shown = time.monotonic()
            self._handle.update(self._html(str(self._card())))

    def _card(self) -> Markup:
        lines = Markup().join(Markup("<div>{}</div>").format(line) for line in self._lines)
        return Markup(
            '<div><progress max="{}" value="{}" style="width: 40%"></progress> {:,} of {:,} {}'
            '<div style="opacity: .7">{}</div>{}</div>'
        ).format(
            max(self._total, 1), self._done, self._done, self._total, self._what, self._note, lines
        )


def default_observer() -> Observer:
    """The observer of who gives none: a bar in a notebook; elsewhere a warning of what goes wrong,
    and nothing else."""
    return NotebookBar() if in_notebook() else Warns()
