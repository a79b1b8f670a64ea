"""What is of another class than a public function takes is refused in a sentence."""

import re

import pytest

import grokinterp as gi

CONFIG = gi.RunConfig()
OF_ANOTHER_CLASS = {
    "a placement for a model's config": (
        lambda: gi.build_model("mlp-pre", CONFIG.task),
        "config must be of class ModelConfig, such as ModelConfig(\"mlp-pre\"); got 'mlp-pre'",
    ),
    "a modulus for a task": (
        lambda: gi.build_model(CONFIG.model, 113),
        "task must be of class Task, such as ModularTask(113); got 113",
    ),
    "a run's id for its metrics": (
        lambda: gi.grokking_times("88ee6a12a0907576"),
        "metrics must be of class DataFrame, such as run.metrics; got '88ee6a12a0907576'",
    ),
    "no metrics": (
        lambda: gi.plateau(None, "test_loss"),
        "metrics must be of class DataFrame, such as run.metrics; got None",
    ),
    "a run's id for the run": (
        lambda: gi.lead_times("88ee6a12a0907576"),
        "run must be of class Run, such as one of open_store('runs'); got '88ee6a12a0907576'",
    ),
    "a placement for a snapshot": (
        lambda: gi.measure("mlp-pre", ["norms"]),
        "snapshot must be of class Snapshot, such as run.snapshot(); got 'mlp-pre'",
    ),
    "an experiment's name for it": (
        lambda: gi.results_of("ln-position"),
        "experiment must be of class Experiment, such as EXPERIMENTS['ln-position']; got 'ln-pos",
    ),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("case", OF_ANOTHER_CLASS)
def test_what_is_of_another_class_is_refused(case):
    call, sentence = OF_ANOTHER_CLASS[case]
    with pytest.raises(ValueError, match=re.escape(sentence)):
        call()


def test_a_wrong_name_is_told_close_ones():
    with pytest.raises(KeyError, match=r"PROBES has no 'key_frequencys'; did you mean key_freq"):
        gi.PROBES["key_frequencys"]
    with pytest.raises(KeyError, match="EXPERIMENTS has no 5; it holds ln-position,"):
        gi.EXPERIMENTS[5]
    assert gi.PROBES.get("key_frequencys") is None
