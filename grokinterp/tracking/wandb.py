"""Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from grokinterp.tracking.tracker import Log, Tracker, folder, plain

if TYPE_CHECKING:
    from grokinterp.config import RunConfig
    from grokinterp.store.run import Run

# Seconds that an unreachable server may take: to open a run, and to take the rest of it at its end.
INIT_TIMEOUT, FINISH_TIMEOUT = 30.0, 60.0


class WandbTracker(Tracker):
    """A Weights & Biases run for each run: its id, its name, its config; a step is an epoch.

    Offline by WANDB_MODE=offline, without an API key, and when the server does not answer. The
    project is WANDB_PROJECT, or grokinterp.
    """

    kind = "wandb"
    _mode = ""

    def begin(self, configs: Sequence[RunConfig], runs: Sequence[Run]) -> None:
        if runs and not self._mode:
            settings = self._module.setup().settings
            self._mode = settings.mode
            if self._mode == "online" and not _has_key(settings):
                self._go_offline("it has no API key (wandb login sets one)", runs[0])
        super().begin(configs, runs)

    def open(self, run: Run) -> Log:
        try:
            return WandbLog(self._start(run))
        except self._module.Error as error:
            if self._mode != "online":
                raise
            self._go_offline(" ".join(str(error).split()), run)
            # Else wandb says that the failed run's id is in use; the others go on offline.
            self.end()
            self._module.teardown()
            return WandbLog(self._start(run))

    def _write(self, run: Run, rows: Sequence[Mapping[Any, Any]]) -> None:
        # Disabled, wandb keeps nothing, so nothing may count as written.
        if self._mode != "disabled":
            super()._write(run, rows)

    def _go_offline(self, reason: str, run: Run) -> None:
        self._mode = "offline"
        where = folder(run) / "wandb"
        self._say(f"wandb is offline: {reason}; wandb sync {where} uploads what it keeps")

    def _start(self, run: Run) -> Any:
        started = self._module.init(
            project=os.environ.get("WANDB_PROJECT", "grokinterp"),
            id=run.id,
            name=run.config.name,
            group=run.config.model.placement,
            config=plain(run.config),
            dir=folder(run),
            mode=self._mode,
            resume="allow",
            # Runs that train together are open together.
            reinit="create_new",
            settings=self._module.Settings(
                silent=True,
                # The scalars alone: no console, no code, no machine load.
                console="off",
                disable_git=True,
                save_code=False,
                x_disable_stats=True,
                init_timeout=INIT_TIMEOUT,
                finish_timeout=FINISH_TIMEOUT,
            ),
        )
        if self._mode == "online":
            self._say(f"{run.config.name}: {started.url}")
        return started


class WandbLog(Log):
    """An open Weights & Biases run."""

    def __init__(self, run: Any) -> None:
        self._run = run

    def write(self, epoch: int, scalars: Mapping[str, float]) -> None:
        # Without commit, a row would wait for the next one, and a kill would lose it.
        self._run.log({"epoch": epoch, **scalars}, step=epoch, commit=True)

    def close(self, over: bool) -> None:
        self._run.finish(exit_code=0 if over else 1)


def _has_key(settings: Any) -> bool:
    """Whether wandb would find credentials; asked of wandb itself, it would prompt for them."""
    from requests.utils import get_netrc_auth

    given = settings.api_key or settings.identity_token_file
    return bool(given or get_netrc_auth(settings.base_url))
