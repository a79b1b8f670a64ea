import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass, field, fields, replace

import numpy as np
import pytest
from grokinterp.hooks import RemoveNorm, Temperature, UniformAttention, UnitNorm
from hypothesis import given
from hypothesis import strategies as st

from grokinterp.config import ModelConfig, RunConfig, StopRule, TrainConfig
from grokinterp.config.identity import AS_BEFORE, identity
from grokinterp.config.recorded import METRICS, RECORDED
from grokinterp.gradient_filter import Grokfast, Orthogonal
from grokinterp.reproduction.recipe import PAPER_RECIPE
from grokinterp.schedule import schedule_factor
from grokinterp.sweep.grid import grid
from grokinterp.task import GroupTask, ModularTask, TableTask

# Another value of every field than the default.
OTHER = {
    "task": {
        "p": 97,
        "operation": "mul",
        "test_fraction": 0.5,
        "operand": 2,
        "train_pairs": ((0, 1), (1, 1)),
        "label_noise": 0.5,
    },
    "model": {
        "placement": "pre",
        "norm": "rms",
        "n_layers": 2,
        "d_model": 64,
        "n_heads": 2,
        "d_mlp": 32,
        "causal": True,
        "answers": "p",
        "final_norm": "center-only",
        "tied_unembedding": True,
        "gated_mlp": True,
        "freeze_ln": True,
        "freeze_mlp_biases": True,
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
        "loss_dtype": "float32",
        "loss_form": "margins",
        "optimizer": "sgd",
        "momentum": 0.5,
        "batch_size": 1,
        "lr_schedule": "warmup:10",
        "decay_schedule": "step:300=0",
        "gradient_filters": (Grokfast(alpha=0.9), Orthogonal()),
        "max_norm": 20.0,
        "loss": "stablemax",
        "device": "cuda:1",
        "probes": {"ntk": 1000, "cheap": 100},
        "interventions": (UnitNorm("mlp"), RemoveNorm("q", from_epoch=3, until_epoch=9)),
    },
    "run": {"seed": 789, "start": "0123", "weights_seed": 1},
}
# The operand is part of a bit game only.
DEFAULT = RunConfig(task=ModularTask(operation="xor"))


def changed(part: str, **changes: object) -> RunConfig:
    if part == "run":
        return replace(DEFAULT, **changes)
    if "momentum" in changes:  # Which SGD alone reads.
        changes = {"optimizer": "sgd", **changes}
    return replace(DEFAULT, **{part: replace(getattr(DEFAULT, part), **changes)})


def every_change() -> list[tuple[str, str]]:
    return [(part, name) for part, values in OTHER.items() for name in values]


def test_the_table_of_changes_is_complete() -> None:
    for part in ("task", "model", "train"):
        assert set(OTHER[part]) == {f.name for f in fields(getattr(DEFAULT, part))}
    assert {*OTHER["run"], "task", "model", "train"} == {f.name for f in fields(RunConfig)}


@pytest.mark.parametrize(("part", "name"), every_change())
def test_a_field_is_identity_if_it_changes_the_training_and_survives_json(part, name) -> None:
    run = changed(part, **{name: OTHER[part][name]})
    assert (run.id == DEFAULT.id) == (name in RECORDED | {"device"})
    again = RunConfig.from_dict(json.loads(json.dumps(run.to_dict())))
    assert again == run
    assert again.id == run.id


KINDS = {
    "group": (
        GroupTask("S4"),
        {"group": "D7", "test_fraction": 0.5, "train_pairs": ((0, 1),), "label_noise": 0.1},
    ),
    "table": (
        TableTask(((0, 1), (1, 0))),
        {
            "table": ((0, 1), (1, 1)),
            "test_fraction": 0.5,
            "train_pairs": ((0, 1), (1, 1)),
            "label_noise": 0.1,
        },
    ),
}
"""A task of each other kind, and another value of each of its fields."""


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_of_another_kind_of_task_is_identity_and_survives_json(kind) -> None:
    task, other = KINDS[kind]
    assert list(other) == [f.name for f in fields(task)]
    runs = [RunConfig(task), *(RunConfig(replace(task, **{n: v})) for n, v in other.items())]
    assert len({run.id for run in [*runs, RunConfig()]}) == len(runs) + 1
    for run in runs:
        data = json.loads(json.dumps(run.to_dict()))
        again = RunConfig.from_dict(data)
        assert (again, again.id, hash(again)) == (run, run.id, hash(run))
        assert type(again.task) is type(task)
        assert run.flat().items() >= {n: getattr(run.task, n) for n in other}.items()
        assert "operation" not in run.flat()
    for name in {*other} - {*AS_BEFORE}:
        data = RunConfig(task).to_dict()
        del data["task"][name]
        with pytest.raises(KeyError, match=f"lack .*{name}|lack p, operation"):
            RunConfig.from_dict(data)
    data = RunConfig(task).to_dict()
    data["task"]["operand"] = 1
    with pytest.raises(ValueError, match=r"task\.operand, which this version has not"):
        RunConfig.from_dict(data)


def test_a_field_that_a_task_has_not_is_not_varied() -> None:
    found = grid(RunConfig(GroupTask("S3")), {"group": ("S3", "D4"), "test_fraction": (0.5, 0.7)})
    assert [str(one.task) for one in found] == ["S3", "S3", "D4", "D4"]
    with pytest.raises(ValueError, match="p cannot be varied: the task is S3, which has group, te"):
        grid(RunConfig(GroupTask("S3")), {"p": (5, 7)})
    with pytest.raises(ValueError, match=r"group cannot be varied: the task is add \(p = 113\)"):
        grid(RunConfig(), {"group": ("S3", "D4")})


def test_no_two_of_the_changes_share_an_identity() -> None:
    recorded = RECORDED | {"device"}
    changes = [(part, name) for part, name in every_change() if name not in recorded]
    ids = [changed(part, **{name: OTHER[part][name]}).id for part, name in changes]
    assert len(set(ids)) == len(ids)


@pytest.mark.usefixtures("unchecked")
def test_numpy_s_numbers_are_numbers() -> None:
    """A seed or an epoch of an array is one, though json writes none of them."""
    task = ModularTask(p=np.int64(7), operand=np.int8(1), test_fraction=np.float64(0.5))
    model = ModelConfig(n_heads=np.int64(2), d_mlp=np.uint8(64), readout_scale=np.float64(3))
    train = TrainConfig(
        epochs=np.int64(30),
        eval_every=np.int32(5),
        lr=np.float64(0.5),
        weight_decay=np.float32(0.5),
        betas=np.array([0.5, 0.75]),
        checkpoint_epochs=np.arange(3, 9),
        probes={"norms": np.int64(10)},
    )
    given = RunConfig(task, model, train, seed=np.int64(3), weights_seed=np.int16(4))
    written = RunConfig.from_dict(json.loads(json.dumps(given.to_dict())))
    assert (written, written.id) == (given, given.id)
    assert given.seed == 3
    assert (given.model.d_mlp, given.train.checkpoint_epochs) == (64, (3, 4, 5, 6, 7, 8))


def test_the_weights_seed_that_is_the_seed_is_no_other_run() -> None:
    named = replace(DEFAULT, weights_seed=DEFAULT.seed)
    assert (named.id, named.name) == (DEFAULT.id, DEFAULT.name)
    assert replace(named, seed=7).drawn_by == DEFAULT.seed
    assert grid(DEFAULT, {"seed": (1, 2), "weights_seed": (1, 2)}) == [
        replace(DEFAULT, seed=split, weights_seed=weights) for split in (1, 2) for weights in (1, 2)
    ]
    assert len({one.id for one in grid(DEFAULT, {"seed": (1, 2), "weights_seed": (1, 2)})}) == 4


GOLDEN = {
    "307d2fe1295a4e66": RunConfig(),
    "7730dacd0093ab58": RunConfig(model=ModelConfig("off"), seed=111),
    "3735a2443657b8b6": RunConfig(train=TrainConfig(loss_dtype="float32")),
    "89fe10c101ffa12f": RunConfig(train=TrainConfig(lr=0.01, couple_decay_to_lr=True), seed=789),
    "ecfbf433c2b4e7e3": RunConfig(train=TrainConfig(stop_when="test_accuracy >= 0.995 for 200")),
    "9af957a93a196bd8": RunConfig(task=GroupTask("S5")),
    "9e9f72328fd4dc4e": RunConfig(task=TableTask(((0, 1), (1, 0)))),
    "ac8243db9ccbab7f": RunConfig(
        task=ModularTask(p=97, operation="xor", operand=3),
        model=ModelConfig("q+mlp", norm="rms", n_layers=2, readout_scale=0.5),
        train=TrainConfig(interventions=(UnitNorm("mlp", from_epoch=3), UniformAttention())),
        start="0123456789abcdef@500, unchanged",
    ),
}
"""Ids as they are in stores: whatever changes one makes every run of it another run."""


@pytest.mark.parametrize("id", GOLDEN)
def test_an_identity_is_for_good(id: str) -> None:
    assert GOLDEN[id].id == id


def test_what_is_recorded_is_no_part_of_the_identity() -> None:
    assert RunConfig(model=ModelConfig("off"), train=PAPER_RECIPE, seed=456).id == (
        RunConfig(model=ModelConfig("off"), train=TrainConfig(), seed=456).id
    )
    recorded = {name: OTHER["train"][name] for name in RECORDED}
    assert changed("train", **recorded, epochs=500).id == changed("train", epochs=500).id


def test_the_epochs_that_a_stop_rule_looks_at_are() -> None:
    ids = {
        changed("train", eval_every=every, stop_when=rule).id
        for every in (5, 10)
        for rule in (None, "test_loss <= 1 for 20")
    }
    assert len(ids) == 3


@dataclass(frozen=True)
class Tomorrow(RunConfig):
    """With another recipe as the default."""

    train: TrainConfig = field(default_factory=lambda: TrainConfig(lr=3e-3))


def test_another_default_changes_no_identity() -> None:
    assert Tomorrow(train=TrainConfig()).id == RunConfig().id
    assert Tomorrow().id == RunConfig(train=TrainConfig(lr=3e-3)).id


def test_a_field_that_was_added_later_leaves_older_runs_as_they_were(monkeypatch) -> None:
    """Here readout_scale, and the pathway of an intervention, as if they were new."""
    older = changed("train", interventions=(UnitNorm("mlp"),)).to_dict()
    del older["model"]["readout_scale"], older["train"]["interventions"][0]["pathway"]
    id = identity(older)
    monkeypatch.setitem(AS_BEFORE, "readout_scale", 0.5)
    monkeypatch.setitem(AS_BEFORE, "UnitNorm.pathway", "mlp")
    run = RunConfig.from_dict(older)
    assert (run.model.readout_scale, run.train.interventions) == (0.5, (UnitNorm("mlp"),))
    assert run.id == id
    assert replace(run, model=ModelConfig(readout_scale=1.0)).id != id


def test_no_field_is_filled_in_with_today_s_default() -> None:
    for part in ("task", "model", "train"):
        for name in OTHER[part].keys() - AS_BEFORE.keys():
            data = RunConfig().to_dict()
            del data[part][name]
            with pytest.raises(KeyError, match=f"lack {name}; give them"):
                RunConfig.from_dict(data)


def test_of_older_data_no_precision_of_the_loss_means_the_model_s() -> None:
    for dtype in ("float32", "float64"):
        data = changed("train", dtype=dtype).to_dict()
        data["train"]["loss_dtype"] = None
        assert RunConfig.from_dict(data).train.loss_dtype == dtype


NOT_TOGETHER = ({"loss", "optimizer", "momentum"}, {"loss_form", "betas", "adam_eps"})
"""Of these, those of one set read what those of the other would leave unread."""


@pytest.mark.parametrize("unread", NOT_TOGETHER)
@pytest.mark.parametrize("without", ["start", "weights_seed"])
def test_all_changes_together_survive_json(without, unread) -> None:
    run = RunConfig(
        ModularTask(**OTHER["task"]),
        ModelConfig(**OTHER["model"]),
        TrainConfig(**{name: v for name, v in OTHER["train"].items() if name not in unread}),
        **{name: value for name, value in OTHER["run"].items() if name != without},
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
        ("train", {"stop_when": "test_loss<=1"}, {"stop_when": " test_loss <= 1.0 for 0"}),
        (
            "train",
            {"interventions": (Temperature(2),)},
            {"interventions": (Temperature(2.0),)},
        ),
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
    assert (run.train.dtype, run.train.loss_dtype) == ("float32", "float64")
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
    config = TrainConfig(epochs=25, eval_every=10, probes={"ntk": 15})
    assert [epoch for epoch in range(1, 26) if config.is_judged(epoch)] == [1, 10, 20, 25]
    assert [epoch for epoch in range(1, 26) if config.is_evaluated(epoch)] == [1, 10, 15, 20, 25]


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
    for name in ("causal", "tied_unembedding", "gated_mlp", "freeze_ln", "freeze_mlp_biases")
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
    (ModelConfig, {"answers": "p-1"}, ["answers", "'p-1'", "p+1, p"]),
    (ModelConfig, {"init": "xavier"}, ["init", "'xavier'", "lecun, lecun-icdf, kaiming"]),
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
    (TrainConfig, {"loss": "hinge"}, ["loss", "'hinge'", "cross-entropy, stablemax, mse"]),
    (TrainConfig, {"optimizer": "Adam"}, ["optimizer", "'Adam'", "adamw, adam, sgd, muon"]),
    (TrainConfig, {"optimizer": 3}, ["optimizer", "3", "adamw"]),
    (TrainConfig, {"optimizer": "adam:eps=1"}, ["optimizer", "'adam:eps=1'", "import path"]),
    (TrainConfig, {"optimizer": "torch.optim.NAdam:0.1"}, ["by name", "'0.1'"]),
    (TrainConfig, {"optimizer": "torch.optim.NAdam:lr=0.1"}, ["lr", "the field lr"]),
    (TrainConfig, {"optimizer": "no_such.Lion"}, ["no_such.Lion", "--load"]),
    (TrainConfig, {"optimizer": "json.dumps"}, ["json.dumps", "a class", "function"]),
    (TrainConfig, {"optimizer": "torch.optim.NAdam", "betas": (0.9, 0.9)}, ["betas", "muon"]),
    (TrainConfig, {"gradient_filters": ("smooth",)}, ["'smooth'", "Grokfast, Orthogonal"]),
    (TrainConfig, {"gradient_filters": (3,)}, ["gradient_filters", "3"]),
    (TrainConfig, {"gradient_filters": "grokfast:alpha=1"}, ["alpha", "[0, 1)", "1"]),
    (TrainConfig, {"gradient_filters": "orthogonal:1"}, ["Orthogonal takes nothing", "'1'"]),
    (TrainConfig, {"loss": 3}, ["loss", "3"]),
    (TrainConfig, {"batch_size": 0}, ["batch_size", "at least 1", "0"]),
    (RunConfig, {"train": TrainConfig(batch_size=3831)}, ["batch_size", "3831", "smaller"]),
    (TrainConfig, {"momentum": 0.5}, ["momentum", "optimizer='sgd' or 'muon'", "0.5"]),
    (TrainConfig, {"optimizer": "sgd", "momentum": 1.0}, ["momentum", "[0, 1)", "1.0"]),
    (TrainConfig, {"optimizer": "sgd", "betas": (0.9, 0.99)}, ["betas", "adamw", "0.99"]),
    (TrainConfig, {"loss": "mse", "loss_form": "margins"}, ["loss_form", "cross-entropy"]),
    (TrainConfig, {"max_norm": 0}, ["max_norm", "0"]),
    (TrainConfig, {"betas": 3}, ["betas", "two numbers", "3"]),
    (TrainConfig, {"lr_schedule": "linear"}, ["lr_schedule", "'linear'", "warmup:EPOCHS"]),
    (TrainConfig, {"lr_schedule": "warmup"}, ["lr_schedule", "warmup:EPOCHS", "'warmup'"]),
    (TrainConfig, {"decay_schedule": "step:10"}, ["decay_schedule", "step:EPOCH=FACTOR"]),
    (TrainConfig, {"decay_schedule": "step:0=1"}, ["decay_schedule", "epoch", "0"]),
    (TrainConfig, {"lr_schedule": "step:5=-1"}, ["lr_schedule", "from 0", "-1"]),
    (TrainConfig, {"lr_schedule": 3}, ["lr_schedule", "3"]),
    (TrainConfig, {"loss_form": "exact"}, ["loss_form", "'exact'", "log-softmax, margins"]),
    (TrainConfig, {"device": "mps"}, ["mps", "float64", "loss_dtype='float32'", "cpu"]),
    (TrainConfig, {"loss_dtype": None}, ["loss_dtype", "None", "float32, float64"]),
    (TrainConfig, {"stop_when": "soon"}, ["stop_when", "for 200", "'soon'"]),
    (TrainConfig, {"stop_when": "test_loss <= 1.2.3"}, ["stop_when", "'test_loss <= 1.2.3'"]),
    (TrainConfig, {"stop_when": "loss <= 1"}, ["stop_when", "'loss'", *METRICS]),
    (TrainConfig, {"interventions": ("UnitNorm",)}, ["interventions", "'UnitNorm'"]),
    (TrainConfig, {"interventions": ({"name": "Unit"},)}, ["'Unit'", "UnitNorm", "RemoveNorm"]),
    (RunConfig, {"seed": -1}, ["seed", "at least 0", "got -1"]),
    (RunConfig, {"seed": True}, ["seed", "integer", "got True"]),
    (RunConfig, {"seed": 1.0}, ["seed", "integer", "got 1.0"]),
    (RunConfig, {"weights_seed": -1}, ["weights_seed", "at least 0", "got -1"]),
    (RunConfig, {"weights_seed": 1, "start": "0123"}, ["weights_seed", "start='0123'"]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "arguments", "words"), BOOLEANS + POSITIVE_INTEGERS + POSITIVE_NUMBERS + OTHERS
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_named(config: type, arguments: dict, words: list[str]) -> None:
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        config(**arguments)
    assert all(word in str(error.value) for word in words), str(error.value)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("warmup:10+cosine", "cosine + warmup:10"),
        (" cosine  +  warmup: 10.0 ", "cosine + warmup:10"),
        ("constant+constant", "constant"),
        ("step:1e2=1e+3", "step:100=1000"),
        ("step:3000=0", "step:3000=0"),
    ],
)
def test_equal_schedules_make_equal_runs(text, canonical) -> None:
    one, other = (changed("train", lr_schedule=spelt) for spelt in (text, canonical))
    assert one.train.lr_schedule == canonical
    assert one.id == other.id


@pytest.mark.parametrize(
    "text", ["step:=5=0", "step:1,000=0.5", "warmup:", "cosine:3", "+cosine", ""]
)
def test_a_malformed_schedule_is_refused(text) -> None:
    with pytest.raises(ValueError, match="lr_schedule must be constant, warmup:EPOCHS"):
        changed("train", lr_schedule=text)


@pytest.mark.parametrize(
    ("schedule", "spelt", "factor"),
    [
        ("step:3=0.5 + step:3=0.5", "step:3=0.5 + step:3=0.5", 0.25),
        ("warmup:4+constant+warmup:4", "warmup:4 + warmup:4", 0.5625),
        ("step:1=0.1234567890123456", "step:1=0.1234567890123456", 0.1234567890123456),
        ("step:2e0=1e-7", "step:2=1e-07", 1e-7),
    ],
)
def test_a_schedule_in_its_one_spelling_is_the_same_schedule(schedule, spelt, factor):
    assert TrainConfig(lr_schedule=schedule).lr_schedule == spelt
    assert schedule_factor(schedule, 3, 10) == schedule_factor(spelt, 3, 10) == factor
