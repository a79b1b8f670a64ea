"""Small runs by the engine itself, without a store."""

from grokinterp.config import ModelConfig, RunConfig, TrainConfig
from grokinterp.model.parameters import initial_weights
from grokinterp.store.state import Report, RunState
from grokinterp.task import ModularTask
from grokinterp.training.engine import train_together

TASK = ModularTask(p=7)
SMALL = RunConfig(
    task=TASK,
    model=ModelConfig(d_model=16, n_heads=2),
    train=TrainConfig(epochs=12, eval_every=1, checkpoint_every=None, dtype="float64"),
    seed=1,
)


def start(config):
    return initial_weights(config.model, config.task, config.seed, config.train.dtype)


def run_together(configs, starts=None, width=None):
    """Each run's rows and last weights, and its last report."""
    starts = starts or [start(config) for config in configs]
    rows = [[] for _ in configs]
    last: list[Report | None] = [None] * len(configs)
    weights = [None] * len(configs)
    states = [RunState.initial(weights) for weights in starts]
    for ensemble, reports in train_together(configs, starts, states, width):
        for report in reports:
            last[report.run] = report
            if report.row is not None:
                rows[report.run].append({"epoch": report.epoch, **report.row})
            if report.status != "diverged":
                weights[report.run] = ensemble.state(report.run).weights
    return rows, weights, last
