"""Runs that ship are drawn without training; what is missing is planned, and only that trained."""

import json
import re
import shutil
from dataclasses import replace
from functools import partial
from io import StringIO

import pytest
import torch
from runs_cases import SMALL_RUN, with_model
from shipped import SHIPPED

import grokinterp as gi
from grokinterp import results as shipping
from grokinterp.audit.rules import STEP
from grokinterp.cli import main
from grokinterp.config.recorded import METRICS
from grokinterp.experiments import EXPERIMENTS, planned_runs, verdicts
from grokinterp.experiments.feature_evolution import MOVEMENT
from grokinterp.model.build import build_model
from grokinterp.placement import PLACEMENTS
from grokinterp.pretrained import pretrained_card
from grokinterp.pretrained.evolution import EVOLVED, pretrained_evolution
from grokinterp.probes import PROBES
from grokinterp.probes.calls import ProbeCall
from grokinterp.reproduction import cost, verdict_text
from grokinterp.reproduction.experiment import (
    Afterwards,
    Experiment,
    Planned,
    Results,
    nearest,
    on_device,
)
from grokinterp.reproduction.plan import make_plan
from grokinterp.reproduction.published import generalisation_epochs
from grokinterp.reproduction.reproduce import reproduce
from grokinterp.reproduction.train_missing import train_missing
from grokinterp.results import ship, shipped_runs
from grokinterp.store.files import StoreError
from grokinterp.store.writer import RunWriter

NOWHERE = "there/is/no/store"


def with_shipped_runs():
    """Told by the names of folders: nothing is read while tests are collected."""
    ids = {folder.name.partition("-")[0] for folder in shipping.FOLDER.iterdir()}
    return [
        name
        for name, one in EXPERIMENTS.items()
        if any(planned.config.id in ids for planned in one.plan(one.seeds))
    ]


def test_what_ships_are_whole_runs_of_the_experiments():
    wanted = {one.config.id for one in planned_runs()}
    wanted |= {pretrained_card(name)["run"] for name in PLACEMENTS}
    wanted |= {pretrained_evolution(name).card["run"] for name in EVOLVED}
    runs = shipped_runs().select()
    assert runs
    for run in runs:
        assert run.is_over
        # What diverged did so after its last row, and before the next.
        since = run.epoch - run.metrics["epoch"].iloc[-1]
        assert 0 <= since < (run.config.train.eval_every if run.status == "diverged" else 1)
        assert run.id in wanted


def test_what_ships_is_small():
    total = sum(path.stat().st_size for path in shipping.FOLDER.rglob("*") if path.is_file())
    assert total < 25e6


QUICK = ("ln-position", "shortcut", "optimizers")
"""The figures of all of them are looked at in test_experiment_figures.py, of two seeds each."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in with_shipped_runs()
    ],
)
def test_an_experiment_is_drawn_from_what_ships(name, monkeypatch):
    for function in ("train", "probe"):
        monkeypatch.setattr(
            f"grokinterp.reproduction.train_missing.{function}", None
        )  # Calling it would fail.
    plan = make_plan(EXPERIMENTS[name], NOWHERE, read=SHIPPED)
    found = plan.experiment.results(plan.done)
    assert found.figures
    for table in found.tables.values():
        assert len(table)
    assert len(plan.done) == sum(run is not None for run in plan.runs)
    assert len(plan.missing) + sum(plan.whole) == len(plan.planned)


def test_a_probe_that_no_figure_reads_may_get_another_definition(monkeypatch):
    """What ships recorded it: its values are no longer shown, and the runs are found as before."""

    def plans(read):
        few = ("ln-position", "shortcut")
        return {name: make_plan(EXPERIMENTS[name], NOWHERE, read=read).done for name in few}

    before = {name: len(done) for name, done in plans(SHIPPED).items()}
    monkeypatch.setattr(PROBES["softmax_collapse"], "version", 99, raising=False)
    found = plans({})
    assert {name: len(done) for name, done in found.items()} == before
    recorded = [run for _, run in found["ln-position"] if "softmax_collapse" in run.definitions]
    assert recorded
    for run in recorded:
        assert not [name for name in run.metrics if name.startswith("softmax_collapse")]
        assert "compressibility.effective_rank" in run.metrics
        assert "softmax_collapse" not in set(run.probes["probe"])


def test_a_folder_that_is_no_store_is_not_taken_for_an_empty_one(tmp_path):
    experiment = EXPERIMENTS["ln-position"]
    assert make_plan(experiment, str(tmp_path)).found  # Empty: what ships is there.
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(StoreError, match="is not a run store"):
        make_plan(experiment, str(tmp_path))


def test_a_run_in_the_store_is_preferred_and_one_that_is_not_over_is_missing(tmp_path):
    experiment = EXPERIMENTS["ln-position"]
    store = gi.open_store(tmp_path, create=True)
    [there] = [p for p in make_plan(experiment, NOWHERE, [456]).planned if p.label == "off"]
    run = store.create(there.config)
    assert make_plan(experiment, str(tmp_path), [456]).found[run.id].path != run.path
    shipped = shipping.shipped(run.id)
    assert shipped is not None
    shutil.copytree(shipped.path, tmp_path / shipped.path.name)
    assert make_plan(experiment, str(tmp_path), [456]).found[run.id].path.parent == tmp_path


def tiny(*probes: Afterwards, epochs: int = 20) -> Experiment:
    """Two placements, as quick as a test."""

    def plan(seeds):
        train = gi.TrainConfig(epochs=epochs, checkpoint_every=10)
        return [
            Planned(
                placement,
                replace(with_model(SMALL_RUN, placement=placement), train=train, seed=seed),
                afterwards=probes,
            )
            for placement in ("off", "mlp-pre")
            for seed in seeds
        ]

    def results(done):
        return Results()

    return Experiment("Tiny", "Is it quick?", plan, results, seeds=(1, 2))


def test_only_what_is_missing_is_trained(tmp_path):
    experiment, store = tiny(), str(tmp_path)
    trained = []

    def train_all(configs, store, observer):
        trained.append([config.seed for config in configs])
        return gi.train(configs, store=store, observer=observer)

    train_missing(make_plan(experiment, store, [1]).missing, store, train_all=train_all)
    plan = make_plan(experiment, store)
    assert [one.config.seed for one in plan.missing] == [2, 2]
    # Whichever experiments ask for a run, it is trained once.
    train_missing([*plan.missing, *plan.missing], store, train_all=train_all)
    assert trained == [[1, 1], [2, 2]]
    assert make_plan(experiment, store).missing == []
    train_missing([], store, train_all=train_all)
    assert len(trained) == 2


def test_probes_afterwards_make_a_run_whole(tmp_path):
    store = str(tmp_path)
    train_missing(make_plan(tiny(), store).missing, store)
    probed = tiny(Afterwards(("norms", "circularity"), near=(0, 12, 900)))
    plan = make_plan(probed, store)
    assert len(plan.missing) == 4
    before = {p.config.id: gi.open_store(store).select(id=p.config.id)[0] for p in plan.planned}
    stamps = {id: (run.path / "metrics.parquet").stat().st_mtime_ns for id, run in before.items()}
    train_missing(plan.missing, store)
    assert make_plan(probed, store).missing == []
    for id, run in before.items():
        assert (run.path / "metrics.parquet").stat().st_mtime_ns == stamps[id]  # not trained anew
        assert set(run.records.probes()) == {0, 10, 20}
    # What ships keeps no checkpoints, and is as whole without them.
    for run in before.values():
        shutil.rmtree(run.path / "checkpoints")
    assert make_plan(probed, store).missing == []


def test_a_run_is_drawn_without_what_it_was_not_asked_for_when_it_shipped(tmp_path):
    store = str(tmp_path)
    norms = Afterwards(("norms",), near=(20,))
    train_missing(make_plan(tiny(norms), store, [1]).missing, store)
    for wanted, drawn in ((Afterwards(("circularity",), at=10), 0), (None, 2)):
        wanted = wanted or Afterwards(("circularity",), at=10, drawn_without=True)
        plan = make_plan(tiny(norms, wanted), store, [1])
        assert (len(plan.done), len(plan.missing)) == (drawn, 2)
    train_missing(plan.missing, store)
    whole = make_plan(tiny(norms, wanted), store, [1])
    assert (len(whole.done), whole.missing) == (2, [])
    for _, run in whole.done:
        assert {e for e, found in run.records.probes().items() if "circularity" in found} == {10}
    # Where a run has no such checkpoint, it is asked for nothing.
    beyond = tiny(norms, Afterwards(("circularity",), at=500))
    train_missing(beyond.plan([1]), store)
    assert make_plan(beyond, store, [1]).missing == []


def test_what_the_claim_of_movement_reads_is_planned(tmp_path):
    for planned in EXPERIMENTS["feature-evolution"].plan([456]):
        schedule = planned.config.train.checkpoint_schedule()
        moved = [one for one in planned.afterwards if one.at is not None]
        assert [one.at for one in moved] == list(MOVEMENT)
        for one in moved:
            assert one.at in schedule
            assert one.at - STEP in schedule
            [probe] = one.probes
            assert ProbeCall.parse(probe).options == {"other": one.at - STEP}


def test_a_run_that_two_experiments_plan_is_probed_as_each_asks(tmp_path):
    store = str(tmp_path)
    probed, plain = tiny(Afterwards(("norms",))).plan([1]), tiny().plan([1])
    train_missing([*probed, *plain], store)
    assert make_plan(tiny(Afterwards(("norms",))), store, [1]).missing == []


def test_a_run_is_read_from_where_each_plan_finds_it(tmp_path, monkeypatch):
    store = str(tmp_path / "runs")
    plan = make_plan(tiny(), store, [1])
    train_missing(plan.missing, store)
    shipped = tmp_path / "shipped"
    shutil.copytree(tmp_path / "runs", shipped)
    probed = tiny(Afterwards(("norms",)))
    train_missing(make_plan(probed, str(shipped), [1]).missing, str(shipped))
    monkeypatch.setattr("grokinterp.reproduction.plan.shipped_runs", lambda: gi.open_store(shipped))
    read = {}
    for experiment, folder in ((tiny(), "runs"), (probed, "shipped")):
        found = make_plan(experiment, store, [1], read=read).done
        assert {run.path.parent.name for _, run in found} == {folder}


def test_a_run_that_diverged_at_once_is_said_and_not_drawn(tmp_path, monkeypatch, capsys):
    experiment = EXPERIMENTS["readout-scale"]
    lost = experiment.plan([456])[0].config
    monkeypatch.setattr("grokinterp.reproduction.plan.shipped_runs", lambda: Without(lost.id))
    store = gi.open_store(tmp_path / "runs", create=True)
    RunWriter(store.create(lost)).close([], "diverged", 1, "diverged at epoch 1: test_loss is nan")
    plan = make_plan(experiment, str(store.path), [456])
    assert lost.id not in {one.config.id for one in plan.missing}
    assert lost.id not in {run.id for _, run in plan.done}

    args = ["reproduce", "readout-scale", "--seeds", "1", "--no-train"]
    folders = ["--store", str(store.path), "--results", str(tmp_path / "results")]
    main([*args, *folders])
    shown = capsys.readouterr().out
    assert "not drawn: α 0.5, lr fixed, seed 456 diverged at epoch 1: test_loss is nan" in shown
    assert lost.id not in (tmp_path / "results" / "readout-scale" / "runs.csv").read_text()


class Without(gi.Store):
    """What ships, but for a run."""

    def __init__(self, lost):
        super().__init__(shipping.FOLDER)
        self.lost = lost

    def recordings(self, id):
        return [] if id == self.lost else super().recordings(id)


@pytest.fixture(scope="module")
def bare():
    """The first run alone, without a column of a probe."""
    return Bare(next(run for run in shipped_runs() if run.config.start == "seed").path)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_figures_of_nothing_are_left_out(name, bare):
    experiment = EXPERIMENTS[name]
    planned = experiment.plan(experiment.seeds)[0]
    if name != "direction-or-norm":  # Its numbers are those of probes.
        found = experiment.results([(planned, bare)])
        assert all(len(table) for table in found.tables.values()) or name == "shortcut"


class Bare(gi.Run):
    """A run of which only losses, accuracies and norms are known."""

    @property
    def metrics(self):
        return super().metrics[["epoch", *METRICS]]

    @property
    def probes(self):
        return super().probes.iloc[:0]


def test_training_is_asked_for_with_its_cost(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "_seconds_per_epoch", lambda kind: 60.0)
    store, results, told, asked, trained = str(tmp_path / "runs"), tmp_path, [], [], []
    experiments = {"one": tiny(), "two": tiny(Afterwards(("norms",)))}

    def train(missing):
        trained.extend(missing)
        train_missing(missing, store)

    def run(answer, train=train):
        def approve(question):
            asked.append(question)
            return answer

        return reproduce(
            experiments, store, results, train, approve, told.append, lambda problems: None, [1, 2]
        )

    assert run(True, train=None) == 0
    assert not asked
    assert run(False) == 0
    assert not trained
    assert not (results / "one").exists()
    [question] = asked
    epochs = sum(one.config.train.epochs for one in tiny().plan([1, 2]))
    assert question == (
        f"Train or probe 4 runs, about {cost.hours_and_minutes(60.0 * epochs)} one after the other?"
    )
    [table] = [one for one in told if "all together" in one]
    last = table.splitlines()[-1].split()
    assert last[2:6] == ["8", "0", "4", f"{epochs:,}"]
    assert run(True) == 0
    assert {one.config.seed for one in trained} == {1, 2}
    assert (results / "two").is_dir()
    assert run(True) == 0
    assert len(asked) == 2


def test_the_command_asks_on_a_terminal(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cost, "_seconds_per_epoch", lambda kind: 1.0)
    monkeypatch.setattr("sys.stdin", Terminal("no\n"))
    main(["reproduce", "lattice", "--store", str(tmp_path / "runs"), "--results", str(tmp_path)])
    assert "one after the other? [y/N]" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


class Terminal(StringIO):
    def isatty(self):
        return True


def test_fewer_epochs_are_another_run(tmp_path):
    experiment = tiny()
    whole, short = (make_plan(experiment, NOWHERE, [1], epochs) for epochs in (None, 5))
    assert {p.config.train.epochs for p in short.planned} == {5}
    assert not {p.config.id for p in short.planned} & {p.config.id for p in whole.planned}
    longer = make_plan(experiment, NOWHERE, [1], 500)
    assert [p.config for p in longer.planned] == [p.config for p in whole.planned]


def test_the_nearest_checkpoints_each_once():
    assert nearest([0, 5, 9, 100], [0, 6, 7, 1000]) == [0, 5, 100]
    assert nearest([0, 5, 9, 100], []) == [100]


def test_a_fork_is_the_same_run_on_every_machine():
    first, second = ({p.config.id for p in EXPERIMENTS["transplant"].plan([456])} for _ in range(2))
    assert first == second
    assert len(first) == len(EXPERIMENTS["transplant"].plan([456]))


def test_a_run_that_began_elsewhere_is_not_trained_from_its_seed(tmp_path):
    config = replace(SMALL_RUN, start="elsewhere@10")
    with pytest.raises(ValueError, match=r"starts from .*elsewhere@10.*give them as init"):
        gi.train([config], store=tmp_path)


def test_runs_ship_without_their_checkpoints(tmp_path):
    [run] = gi.train([SMALL_RUN], store=tmp_path / "runs")
    gi.probe([run], ["norms"], epochs=[0])
    unfinished = gi.open_store(tmp_path / "runs").create(replace(SMALL_RUN, seed=99))
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "store.json").write_text('{"format": 2}')
    assert ship([run, unfinished], folder) == [run.id]
    [kept] = gi.open_store(folder).select()
    assert kept.metrics.equals(run.metrics)
    assert kept.probes.equals(run.probes)
    assert kept.config == run.config
    with pytest.raises(StoreError, match="has no checkpoint yet"):
        kept.model()


def test_the_cost_is_what_an_epoch_of_each_kind_takes(monkeypatch):
    config = replace(SMALL_RUN, train=gi.TrainConfig(epochs=100))
    assert cost.training_seconds([config]) > 0
    measured = []

    def two_seconds(kind):
        measured.append(kind)
        return 2.0

    monkeypatch.setattr(cost, "_seconds_per_epoch", two_seconds)
    assert cost.training_seconds([config] * 3) == 600.0
    assert len(measured) == 1
    assert cost.hours_and_minutes(90.0) == "2 min"


def test_the_paper_s_numbers_are_of_the_paper_s_placements():
    assert list(generalisation_epochs()) == ["off", "attn-pre", "pre", "mlp-pre"]


@pytest.fixture(scope="module")
def judged():
    return verdicts(NOWHERE, SHIPPED)


def test_the_audit_judges_all_claims_and_says_what_is_missing(judged):
    claims = {claim.name for one in EXPERIMENTS.values() for claim in one.claims}
    assert {one.claim.name for one in judged} == claims
    assert {one.convention for one in judged if one.claim.name == "norm_shortcut"} == {
        "paper",
        "isolated",
        "shuffled",
    }
    for one in judged:
        if any(not finding.n for finding in one.of("all")):
            assert f"grokinterp reproduce {one.experiments[0]}" in one.command
    written = verdict_text.markdown(judged)
    assert verdict_text.overview(judged) in written
    rows = [line for line in written.splitlines() if line.startswith("|")]
    assert {line.count("|") - line.count("\\|") for line in rows} == {5, 9}
    assert verdict_text.summary(judged) in verdict_text.text(judged)
    # How many findings there are of each verdict, because one keeps a claim undecided.
    for one in judged:
        fresh = one.of("confirmatory")
        said = verdict_text.tally(fresh)
        assert f"by fresh seeds: {said}" in verdict_text.text([one])
        assert said.startswith(f"{len(fresh)} finding")
        assert sum(map(int, re.findall(r", (\d+)", said))) == len(fresh)


FIELDS = {
    *("what", "unit", "values", "seeds", "group", "estimate", "interval", "coverage", "null"),
    *("direction", "size", "n", "verdict", "lean", "missing"),
}


def test_the_audit_s_json_says_no_more_than_its_numbers(judged):
    found = json.loads(json.dumps(verdict_text.data(judged), allow_nan=False))
    for claim in found:
        assert {"claim", "convention", "verdict", "findings"} <= claim.keys()
        fresh = [f for f in claim["findings"] if f["group"] == "confirmatory"]
        assert fresh
        if claim["verdict"] != "undecided":
            assert all(finding["n"] >= 6 for finding in fresh)
        for finding in claim["findings"]:
            assert finding.keys() >= FIELDS
            assert len(finding["values"]) == len(finding["seeds"]) == finding["n"]
            assert (finding["interval"] is None) == (finding["n"] < 2)
            assert (finding["missing"] is None) == (finding["verdict"] != "undecided")
            if finding["verdict"] == "contradicted":
                low, high = finding["interval"]
                beyond = low > finding["null"] if finding["direction"] == "below" else None
                assert high < finding["null"] if beyond is None else beyond
            if finding["group"] == "exploratory":
                assert not {444, 555, 666, 777, 888, 999} & {*finding["seeds"]}
            elif finding["group"] == "confirmatory":
                assert {*finding["seeds"]} <= {444, 555, 666, 777, 888, 999}


@pytest.mark.usefixtures("unchecked")  # Reading every run takes twice as long with the checks.
def test_commands(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("grokinterp.experiments.verdicts", partial(verdicts, read=SHIPPED))
    paths = ["--store", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
    main(["reproduce", "ln-position", "--no-train", *paths])
    said = capsys.readouterr().out
    assert "LN position. Does where LN sits" in said
    # The table of every run is saved, and too long to be told.
    assert "Table of 44 rows: runs.csv" in said
    assert not any(one.config.id in said for one in EXPERIMENTS["ln-position"].plan([456]))
    *_, figures, judged = said.splitlines()
    assert figures.startswith("Figures: ")
    assert "overview" in figures
    for claim in EXPERIMENTS["ln-position"].claims:
        assert f"grokinterp audit --claim {claim.name}" in judged
    saved = {path.name for path in (tmp_path / "results" / "ln-position").iterdir()}
    assert {"overview.png", "overview.pdf", "seeds.csv", "runs.csv"} <= saved
    assert not (tmp_path / "runs").exists()
    main(["audit", "--store", str(tmp_path / "runs")])
    claims = {claim.name for one in EXPERIMENTS.values() for claim in one.claims}
    assert f"verdicts on {len(claims)} claims" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["reproduce", "ln-position", "--seeds", "9", *paths])
    assert "seeds must be a number from 1 to 5; got 9" in capsys.readouterr().err


def shipped_from_seeds():
    """A run of each kind that ships and began from its seed."""
    kinds = {}
    for run in shipping.shipped_runs():
        if run.config.start == "seed" and not run.config.train.interventions:
            kinds.setdefault(replace(run.config.model, readout_scale=1.0), []).append(run)
    return [
        pytest.param(run, id=f"{run.config.name}, {run.id}", marks=marks)
        for runs in kinds.values()
        for run, marks in ((runs[0], ()), (runs[-1], pytest.mark.slow))
    ]


@pytest.mark.parametrize("run", shipped_from_seeds())
def test_a_run_that_ships_began_with_the_weights_that_its_config_draws(run):
    config = run.config
    model = build_model(config.model, config.task, config.drawn_by, "float32")
    split = config.task.split(config.seed)
    with torch.no_grad():
        logits = model(split.train_tokens)[:, -1].double() * config.train.loss_logit_scale
    if config.train.subtract_initial_prediction:
        logits = torch.zeros_like(logits)
    loss = torch.nn.functional.cross_entropy(logits, split.train_labels).item()
    assert run.metrics["train_loss"].iloc[0] == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("name", ["transplant", "ln-position"])
def test_where_an_experiment_trains_is_no_part_of_its_runs(name):
    experiment = EXPERIMENTS[name]
    here, there = (one.plan([456]) for one in (experiment, on_device(experiment, "cuda:1")))
    assert [one.config.id for one in there] == [one.config.id for one in here]
    forks = [one.fork for one in there if one.fork]
    assert bool(forks) == (name == "transplant")
    for config in [*(one.config for one in there), *(fork.parent for fork in forks)]:
        assert config.train.device == "cuda:1"
    assert {one.config.train.device for one in here} == {"cpu"}


@pytest.mark.parametrize("command", [["demo"], ["reproduce", "edge", "--seeds", "5"]])
def test_a_missing_gpu_is_said_before_anything_trains(tmp_path, monkeypatch, capsys, command):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store"
    with pytest.raises(SystemExit):
        main([*command, "--device", "cuda", "--store", str(store)])
    assert "needs a CUDA GPU" in capsys.readouterr().err
    assert not store.exists()
