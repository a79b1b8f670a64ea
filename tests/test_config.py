import json
import os
import re
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from grokinterp.hooks import RemoveNorm, UnitNorm
from hypothesis import given
from hypothesis import strategies as st

from grokinterp.config import METRICS, ModelConfig, RunConfig, StopRule, TrainConfig
from grokinterp.task import ModularTask

# Another value of every field than the default.
OTHER = {
    "task": {
        "p": 97,
        "operation": "mul",
        "test_fraction": 0.5,
        "operand": 2,
        "train_pairs": ((0, 1), (1, 1)),
    },
    "model": {
        "placement": "pre",
        "norm": "rms",
        "n_layers": 2,
        "d_model": 64,
        "n_heads": 2,
        "d_mlp": 32,
        "final_norm": "center-only",
        "tied_unembedding": True,
        "gated_mlp": True,
        "freeze_ln": True,
        "readout_scale": 1.5,
        "init": "kaiming",
        "weight_init_scale": 0.5,
    },
    "train": {
        "epochs": 500,
        "lr": 3e-3,
        "weight_decay": 0.5,
        "betas": (0.9, 0.99),
        "adam_eps": 0.0,
        "couple_lr_to_readout": True,
        "couple_decay_to_lr": True,
        "reference_lr": 2e-3,
        "subtract_initial_prediction": True,
        "loss_logit_scale": 2.0,
        "effective_rank_penalty": 0.1,
        "eval_every": 5,
        "checkpoint_every": None,
        "checkpoint_epochs": (3, 7),
        "checkpoint_ratio": 1.5,
        "keep_optimizer": True,
        "stop_when": "test_accuracy >= 0.9",
        "dtype": "float64",
        "loss_dtype": "float64",
        "device": "cuda:1",
        "probes": {"ntk": 1000, "cheap": 100},
        "interventions": (UnitNorm("mlp"), RemoveNorm("q", from_epoch=3, until_epoch=9)),
    },
    "run": {"seed": 789, "start": "0123"},
}
# The operand is part of a bit game only.
DEFAULT = RunConfig(task=ModularTask(operation="xor"))


def changed(part: str, **changes: object) -> RunConfig:
    if part == "run":
        return replace(DEFAULT, **changes)
    return replace(DEFAULT, **{part: replace(getattr(DEFAULT, part), **changes)})


def every_change() -> list[tuple[str, str]]:
    return [(part, name) for part, values in OTHER.items() for name in values]


def test_the_table_of_changes_is_complete() -> None:
    for part in ("task", "model", "train"):
        assert set(OTHER[part]) == {f.name for f in fields(getattr(DEFAULT, part))}
    assert {*OTHER["run"], "task", "model", "train"} == {f.name for f in fields(RunConfig)}


@pytest.mark.parametrize(("part", "name"), every_change())
def test_every_field_enters_the_identity_and_survives_json(part: str, name: str) -> None:
    run = changed(part, **{name: OTHER[part][name]})
    assert run.id != DEFAULT.id
    again = RunConfig.from_dict(json.loads(json.dumps(run.to_dict())))
    assert again == run
    assert again.id == run.id


def test_no_two_of_the_changes_share_an_identity() -> None:
    ids = [changed(part, **{name: OTHER[part][name]}).id for part, name in every_change()]
    assert len(set(ids)) == len(ids)


def test_a_run_of_before_a_field_existed_keeps_its_identity() -> None:
    run = RunConfig(train=TrainConfig(lr=0.01), seed=789)
    older = run.to_dict()
    del older["train"]["probes"], older["model"]["gated_mlp"]
    assert RunConfig.from_dict(older).id == run.id == "a6be805e8c484a2b"


def test_all_changes_together_survive_json() -> None:
    run = RunConfig(
        ModularTask(**OTHER["task"]),
        ModelConfig(**OTHER["model"]),
        TrainConfig(**OTHER["train"]),
        **OTHER["run"],
    )
    assert RunConfig.from_dict(run.to_dict()) == run


def test_the_identity_is_the_same_in_another_process() -> None:
    code = "from grokinterp.config import RunConfig; print(RunConfig().id)"
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        output = subprocess.check_output([sys.executable, "-c", code], env=environment, text=True)
        assert output.strip() == RunConfig().id


@pytest.mark.parametrize(
    ("part", "one", "other"),
    [
        ("model", {"readout_scale": 1}, {"readout_scale": 1.0}),
        ("model", {"weight_init_scale": 2}, {"weight_init_scale": 2.0}),
        ("train", {"lr": 1}, {"lr": 1.0}),
        ("train", {"reference_lr": 1}, {"reference_lr": 1.0}),
        ("train", {"weight_decay": 1}, {"weight_decay": 1.0}),
        ("train", {"adam_eps": 0}, {"adam_eps": 0.0}),
        ("train", {"loss_logit_scale": 2}, {"loss_logit_scale": 2.0}),
        ("train", {"effective_rank_penalty": 1}, {"effective_rank_penalty": 1.0}),
        ("train", {"betas": (0, 0.9)}, {"betas": (0.0, 0.9)}),
        ("train", {"checkpoint_ratio": 2}, {"checkpoint_ratio": 2.0}),
        ("train", {"checkpoint_epochs": (7, 3, 7)}, {"checkpoint_epochs": (3, 7)}),
        ("model", {"placement": "M+A*"}, {"placement": "pre"}),
        ("model", {"placement": "mlp+k+v+q"}, {"placement": "pre"}),
        ("model", {"d_mlp": None}, {"d_mlp": 512}),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_one_run_written_in_two_ways_has_one_identity(part: str, one: dict, other: dict) -> None:
    assert changed(part, **one).id == changed(part, **other).id


def test_the_paper_s_recipe_is_the_default() -> None:
    run = RunConfig()
    assert (run.train.epochs, run.lr, run.weight_decay) == (10_000, 1e-3, 1.0)
    assert (run.train.betas, run.train.adam_eps) == ((0.9, 0.98), 1e-8)
    model = run.model
    assert (model.n_layers, model.d_model, model.n_heads, model.d_head) == (1, 128, 4, 32)
    assert (model.d_mlp, model.readout_scale, model.init) == (512, 1.0, "lecun")


def test_couplings() -> None:
    model = ModelConfig(readout_scale=0.5)
    assert RunConfig(model=model).lr == 1e-3
    assert RunConfig(model=model, train=TrainConfig(couple_lr_to_readout=True)).lr == 4e-3
    coupled = RunConfig(train=TrainConfig(lr=5e-3, couple_decay_to_lr=True))
    assert coupled.lr * coupled.weight_decay == pytest.approx(1e-3)
    assert RunConfig(train=TrainConfig(lr=5e-3)).weight_decay == 1.0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"checkpoint_every": None}, (0, 10)),
        ({"checkpoint_every": 4}, (0, 4, 8, 10)),
        ({"checkpoint_every": 5}, (0, 5, 10)),
        ({"checkpoint_every": 100}, (0, 10)),
        ({"checkpoint_every": None, "checkpoint_epochs": (7, 3)}, (0, 3, 7, 10)),
        ({"checkpoint_every": None, "checkpoint_ratio": 2.0}, (0, 1, 2, 4, 8, 10)),
        ({"checkpoint_every": 6, "checkpoint_ratio": 3.0, "checkpoint_epochs": (6,)},
         (0, 1, 3, 6, 9, 10)),
    ],
)  # fmt: skip
def test_checkpoint_schedule(options: dict, expected: tuple[int, ...]) -> None:
    assert TrainConfig(epochs=10, **options).checkpoint_schedule() == expected


@given(st.integers(1, 300), st.integers(1, 40), st.floats(1.05, 4))
def test_a_checkpoint_schedule_ascends_from_zero_to_the_end(
    epochs: int, every: int, ratio: float
) -> None:
    config = TrainConfig(epochs=epochs, checkpoint_every=every, checkpoint_ratio=ratio)
    schedule = config.checkpoint_schedule()
    assert (schedule[0], schedule[-1]) == (0, epochs)
    assert list(schedule) == sorted(set(schedule))
    assert set(range(0, epochs, every)) <= set(schedule)


def test_evaluated_epochs() -> None:
    config = TrainConfig(epochs=25, eval_every=10)
    assert [epoch for epoch in range(1, 26) if config.is_evaluated(epoch)] == [1, 10, 20, 25]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("test_accuracy >= 0.995 for 200", StopRule("test_accuracy", ">=", 0.995, 200)),
        ("test_loss<=1e-3", StopRule("test_loss", "<=", 1e-3, 0)),
        (" train_loss  <=  .5 for 3 epochs ", StopRule("train_loss", "<=", 0.5, 3)),
        ("grad_norm >= -2.", StopRule("grad_norm", ">=", -2.0, 0)),
    ],
)
def test_stop_rule(text: str, rule: StopRule) -> None:
    assert StopRule.parse(text) == rule
    assert TrainConfig(stop_when=text).stop_rule == rule


def test_a_stop_rule_is_met_on_its_side_of_the_threshold() -> None:
    above, below = StopRule("test_loss", ">=", 0.5), StopRule("test_loss", "<=", 0.5)
    assert [above.met(value) for value in (0.4, 0.5, 0.6)] == [False, True, True]
    assert [below.met(value) for value in (0.4, 0.5, 0.6)] == [True, True, False]
    assert not above.met(float("nan"))
    assert TrainConfig().stop_rule is None


def test_flat_holds_every_field_once() -> None:
    flat = DEFAULT.flat()
    parts = ("task", "model", "train", "run")
    assert set(flat) == {name for part in parts for name in OTHER[part]}
    assert (flat["p"], flat["placement"], flat["epochs"], flat["seed"]) == (
        113, "mlp-pre", 10_000, 456,
    )  # fmt: skip


BOOLEANS = [
    (ModelConfig, {name: 1}, [name, "True or False", "got 1"])
    for name in ("tied_unembedding", "gated_mlp", "freeze_ln")
] + [
    (TrainConfig, {name: "no"}, [name, "True or False", "got 'no'"])
    for name in (
        "couple_lr_to_readout",
        "couple_decay_to_lr",
        "subtract_initial_prediction",
        "keep_optimizer",
    )
]
POSITIVE_INTEGERS = [
    (config, {name: value}, [name, "integer of at least 1", f"got {value!r}"])
    for config, name in (
        *((ModelConfig, name) for name in ("n_layers", "d_model", "n_heads", "d_mlp")),
        *((TrainConfig, name) for name in ("epochs", "eval_every", "checkpoint_every")),
    )
    for value in (0, 1.5, True)
]
POSITIVE_NUMBERS = [
    (config, {name: value}, [name, "finite number above 0", f"got {value!r}"])
    for config, name in (
        (ModelConfig, "readout_scale"),
        (ModelConfig, "weight_init_scale"),
        (TrainConfig, "lr"),
        (TrainConfig, "reference_lr"),
        (TrainConfig, "loss_logit_scale"),
    )
    for value in (0, float("inf"), "1")
]
OTHERS = [
    (ModelConfig, {"placement": "preln"}, ["placement", "'preln'", "mlp-pre"]),
    (ModelConfig, {"norm": "batch"}, ["norm", "'batch'", "layer, rms"]),
    (ModelConfig, {"final_norm": True}, ["final_norm", "True", "none, learned, center-only"]),
    (ModelConfig, {"init": "xavier"}, ["init", "'xavier'", "lecun, kaiming"]),
    (ModelConfig, {"n_heads": 3}, ["n_heads must divide", "n_heads=3", "d_model=128"]),
    *(
        (TrainConfig, {name: -1}, [name, "at least 0", "got -1"])
        for name in ("weight_decay", "adam_eps", "effective_rank_penalty")
    ),
    (TrainConfig, {"betas": (0.9,)}, ["betas", "[0, 1)", "got (0.9,)"]),
    (TrainConfig, {"betas": (0.9, 1.0)}, ["betas", "[0, 1)", "got (0.9, 1.0)"]),
    (TrainConfig, {"betas": ("x", 0.5)}, ["betas", "[0, 1)", "got ('x', 0.5)"]),
    (TrainConfig, {"checkpoint_ratio": 1}, ["checkpoint_ratio", "at least 1.001", "got 1"]),
    (TrainConfig, {"checkpoint_ratio": "2"}, ["checkpoint_ratio", "at least 1.001", "got '2'"]),
    *(
        (TrainConfig, {"checkpoint_epochs": (value, 1), "epochs": 9},
         ["checkpoint_epochs", "epochs=9", f"got {value!r}"])
        for value in (10, -1, 2.5, True, "3")
    ),
    (TrainConfig, {"dtype": "float16"}, ["dtype", "'float16'", "float32, float64"]),
    (TrainConfig, {"loss_dtype": "half"}, ["loss_dtype", "'half'", "float32, float64"]),
    (TrainConfig, {"device": "tpu"}, ["device", "'tpu'", "cpu, cuda, cuda:N, mps"]),
    (TrainConfig, {"device": "mps", "dtype": "float64"}, ["mps", "float64", "cpu"]),
    (TrainConfig, {"stop_when": "soon"}, ["stop_when", "for 200", "'soon'"]),
    (TrainConfig, {"stop_when": "test_loss <= 1.2.3"}, ["stop_when", "'test_loss <= 1.2.3'"]),
    (TrainConfig, {"stop_when": "loss <= 1"}, ["stop_when", "'loss'", *METRICS]),
    (TrainConfig, {"interventions": ("UnitNorm",)}, ["interventions", "'UnitNorm'"]),
    (TrainConfig, {"interventions": ({"name": "Unit"},)}, ["'Unit'", "UnitNorm", "RemoveNorm"]),
    (RunConfig, {"seed": -1}, ["seed", "at least 0", "got -1"]),
    (RunConfig, {"seed": True}, ["seed", "integer", "got True"]),
    (RunConfig, {"seed": 1.0}, ["seed", "integer", "got 1.0"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "arguments", "words"), BOOLEANS + POSITIVE_INTEGERS + POSITIVE_NUMBERS + OTHERS
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(config: type, arguments: dict, words: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        config(**arguments)
    assert all(word in str(error.value) for word in words), str(error.value)
