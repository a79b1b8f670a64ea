"""Sweeps: what workers do is what one process does, whoever dies meanwhile."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hang import HANG
from runs_cases import SMALL_RUN, same_run, with_model, with_recipe
from sweep_functions import die_so_often, fail, not_for_pickle, read_environment, sleep, square

import grokinterp as gi
from grokinterp.cli import main
from grokinterp.config import RunConfig
from grokinterp.store.files import StoreError, read_json
from grokinterp.store.lock import RunLock
from grokinterp.store.progress import Observer
from grokinterp.sweep import map_over, on_ray
from grokinterp.sweep.grid import grid, parse_axis
from grokinterp.sweep.store_watcher import StoreWatcher
from grokinterp.sweep.train_over import _train_here, pending_units, train_over
from grokinterp.user_files import Loaded, load_file

# A gradient filter that waits, halfway through a run, for a file OPEN beside its own, so that a
# kill meets training. Its count of steps is saved with a run and goes on with it. (A probe could
# wait as well, but each worker would import TransformerLens for it, which takes seconds.)
GATE = """
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import grokinterp as gi

OPEN = Path(__file__).with_name("OPEN")


@dataclass(frozen=True)
class Gate(gi.GradientFilter):
    remembers: ClassVar[tuple[str, ...]] = ("steps",)

    def filtered(self, tensor, gradient, memory):
        steps = memory["steps"].add_(1)
        while steps.max() == 100 and not OPEN.exists():
            time.sleep(0.02)
        return gradient / steps
"""


class Killer(Observer):
    """Kills the worker of the first run that is seen to train, notes how far that was, and opens
    the gate."""

    def __init__(self, gate: Path) -> None:
        self._gate = gate
        self.killed: gi.Run | None = None
        self.reasons: list[str] = []
        self.epochs: dict[str, list[int]] = {}

    def advanced(self, run, config, report) -> None:
        if report.row is not None:
            self.epochs.setdefault(run.id, []).append(report.epoch)
        owner = run.path / "owner.json"
        if self.killed is None and report.status == "running" and owner.exists():
            pid = read_json(owner)["pid"]
            assert pid != os.getpid()
            self.killed = run
            self.kept = run.checkpoint_path(5).stat()
            os.kill(pid, signal.SIGKILL)
            self._gate.with_name("OPEN").touch()

    def died(self, configs, reason) -> None:
        self.reasons.append(reason)

    def check(self) -> None:
        """One worker died, and its run went on from a save: what was there is not written anew."""
        assert self.killed is not None
        assert len(self.reasons) == 1
        now = self.killed.checkpoint_path(5).stat()
        assert (now.st_ino, now.st_mtime_ns) == (self.kept.st_ino, self.kept.st_mtime_ns)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch) -> None:
    """Workers use as many threads as these tests do: the last bits depend on it."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="module")
def open_gate(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gate") / "gate.py"
    path.write_text(GATE)
    path.with_name("OPEN").touch()
    return path


@pytest.fixture(scope="module")
def long_runs(open_gate) -> Iterator[list[RunConfig]]:
    gate = load_file(open_gate).Gate()
    long = with_recipe(epochs=200, eval_every=5, checkpoint_every=5, gradient_filters=(gate,))
    yield [replace(long, seed=seed) for seed in (1, 2)]
    del gi.GradientFilter.classes["Gate"]  # Of which the tests of other files know nothing.


@pytest.fixture(scope="module")
def trained(tmp_path_factory, long_runs) -> list[gi.Run]:
    """The long runs, by `train`."""
    return gi.train(long_runs, store=tmp_path_factory.mktemp("trained") / "runs")


@pytest.fixture
def gate(open_gate) -> Path:
    open_gate.with_name("OPEN").unlink(missing_ok=True)
    return open_gate


def test_results_come_with_their_index():
    found = dict(map_over(square, range(5), workers=2))
    assert found == {0: 0, 1: 1, 2: 4, 3: 9, 4: 16}
    assert list(map_over(square, [])) == []


def test_a_dead_workers_item_is_tried_again_and_given_up(tmp_path):
    deaths = []
    function = partial(die_so_often, tmp_path)
    results = map_over(function, [2], retries=2, died=lambda *what: deaths.append(what))
    assert list(results) == [(0, 3)]
    assert deaths == [(2, "killed by SIGKILL")] * 2
    with pytest.raises(ChildProcessError, match=r"2 workers died .* killed by SIGKILL; .*memory"):
        list(map_over(function, [10], retries=1))


def test_an_exception_is_raised_as_it_is_and_not_tried_again(tmp_path):
    with pytest.raises(ValueError, match="7 is not a") as caught:
        list(map_over(partial(fail, tmp_path), [7], workers=1))
    assert str(caught.value) == "7 is not a number that this test likes"
    assert "in fail" in caught.value.__notes__[0]
    assert len(list(tmp_path.iterdir())) == 1
    with pytest.raises(RuntimeError, match="Local: about 3"):
        list(map_over(not_for_pickle, [3], workers=1))


def test_workers_have_the_environment_of_the_moment(monkeypatch):
    """Though the server that they fork from may have begun before."""
    for value in ("one", "other"):
        monkeypatch.setenv("GROKINTERP_SEEN", value)
        assert dict(map_over(read_environment, ["GROKINTERP_SEEN"], workers=1)) == {0: value}


def test_workers_that_cannot_start_are_told_what_must_hold(capfd, monkeypatch):
    # As where there is no server, whose stderr would be that of its own start.
    spawn = multiprocessing.get_context("spawn")
    monkeypatch.setattr("grokinterp.sweep.local._context", lambda: spawn)
    with pytest.raises(ChildProcessError, match=r"could not start .*must be importable.*__main__"):
        list(map_over(partial(_vanishing(), 1), [3], workers=1))
    assert "sweep_gone" in capfd.readouterr().err


def _vanishing():
    """A function that pickle can name, and that is in no file."""
    module = type(sys)("sweep_gone")
    exec("def vanished(x, y): pass", module.__dict__)
    module.vanished.__module__ = "sweep_gone"
    sys.modules["sweep_gone"] = module
    return module.vanished


def test_closing_stops_the_workers_at_once(tmp_path):
    def stop_when_both_sleep() -> None:
        if len(list(tmp_path.iterdir())) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(map_over(partial(sleep, tmp_path), [1, 2], workers=2, tick=stop_when_both_sleep))
    for path in tmp_path.iterdir():
        with pytest.raises(ProcessLookupError):
            os.kill(int(path.name), 0)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"executor": "slurm"}, "unknown executor 'slurm'; choose local, ray, ray:auto or"),
        ({"executor": "local:4"}, "local has no address; got 'local:4'"),
        ({"workers": 0}, "workers must be at least 1; got 0"),
        ({"executor": "ray:head"}, "reads like ray:HOST:PORT or ray:auto; got 'head'"),
    ],
)
def test_a_wrong_executor_is_a_sentence_and_writes_nothing(tmp_path, options, sentence):
    if options.get("executor") == "ray:head":
        pytest.importorskip("ray")
    with pytest.raises(ValueError, match=sentence):
        train_over([SMALL_RUN], tmp_path / "runs", **options)
    assert not list(tmp_path.iterdir())


def test_workers_train_what_train_trains(tmp_path):
    configs = [replace(SMALL_RUN, seed=seed) for seed in (1, 2, 1, 3)]
    expected = gi.train(configs, store=tmp_path / "train")
    gi.train(configs[3:], store=tmp_path / "sweep")
    runs = train_over(configs, tmp_path / "sweep", workers=2)
    assert [run.config for run in runs] == configs
    for one, other in zip(runs, expected, strict=True):
        same_run(one, other)
    assert pending_units(configs, tmp_path / "sweep") == []
    assert train_over([], tmp_path / "none") == []


def test_a_killed_workers_run_goes_on_from_its_save(tmp_path, long_runs, trained, gate):
    killer = Killer(gate)
    runs = train_over(long_runs, tmp_path, workers=2, observer=killer, load=[gate])
    killer.check()
    assert killer.reasons == ["killed by SIGKILL"]
    for one, other in zip(runs, trained, strict=True):
        same_run(one, other)
        # The observer heard every row once, in order.
        assert killer.epochs[one.id] == one.metrics["epoch"].tolist()


@pytest.mark.parametrize("shared", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_run_that_another_process_trains_is_left_for_last(tmp_path, shared):
    configs = [replace(SMALL_RUN, seed=seed) for seed in (1, 2)]
    busy = gi.open_store(tmp_path, create=True).create(configs[0])
    lock = RunLock(busy.path)
    lock.acquire(wait=False)
    heard = []

    class Releases(Observer):
        def waiting(self, run, owner) -> None:
            heard.append(("waits", run.config.seed))
            lock.release()

        def advanced(self, run, config, report) -> None:
            if report.status == "finished":
                heard.append(("over", config.seed))

    train_over(configs, tmp_path, workers=1, observer=Releases(), shared=shared)
    assert heard == [("over", 2), ("waits", 1), ("over", 1)]


def test_a_worker_gives_back_what_another_process_began_meanwhile(tmp_path):
    """As when sweeps that share a store begin at once: no worker is kept from the other runs."""
    configs = [SMALL_RUN, with_recipe(lr=3e-3)]
    opened = gi.open_store(tmp_path, create=True)
    lock = RunLock(opened.create(configs[0]).path)
    lock.acquire(wait=False)
    busy, _, _ = _train_here(str(tmp_path), False, (Loaded(()), configs))
    assert busy == configs[:1]
    assert opened.recording(configs[1]).is_over
    lock.release()
    assert _train_here(str(tmp_path), False, (Loaded(()), configs)) == ([], [], [])


def test_runs_are_sent_back(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "node"))
    (tmp_path / "node").mkdir()
    store = tmp_path / "runs"
    # What an interrupted training left here goes: the worker cannot see it.
    gi.open_store(store, create=True).create(SMALL_RUN)
    (gi.open_store(store).recording(SMALL_RUN).path / "state.safetensors").touch()
    [run] = train_over([SMALL_RUN], store, workers=1, shared=False)
    [expected] = gi.train([SMALL_RUN], store=tmp_path / "train")
    same_run(run, expected)
    names = {path.name for path in expected.path.iterdir()}
    assert {path.name for path in run.path.iterdir()} == names
    assert not list((tmp_path / "node").glob("grokinterp-*/*/"))


def test_a_failure_in_a_worker_is_a_sentence(tmp_path):
    config = with_recipe(with_model(n_heads=1), probes={"head_similarity": 5})
    with pytest.raises(ValueError, match="cannot record while mlp-pre · seed 1 trains"):
        train_over([config], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["store.json"]


def test_what_is_wrong_before_any_worker_works_is_said_at_once(tmp_path):
    config = with_recipe(probes={"fourier": 5})
    with pytest.raises(ValueError, match="unknown probe 'fourier'; did you mean"):
        train_over([config], tmp_path / "runs")
    assert not list(tmp_path.iterdir())


def test_runs_that_do_not_arrive_are_missed(tmp_path, monkeypatch):
    monkeypatch.setattr("grokinterp.sweep.store_watcher.SECONDS_TO_ARRIVE", 0.0)
    runs = {SMALL_RUN: gi.Run(tmp_path / SMALL_RUN.id)}
    with pytest.raises(StoreError, match=r"not the same folder on every node.*--send-back"):
        StoreWatcher(runs, Observer()).wait()


def test_units_are_runs_on_a_cpu_and_ensembles_on_an_accelerator(tmp_path):
    configs = [replace(SMALL_RUN, seed=seed) for seed in range(20)]
    assert pending_units(configs, tmp_path) == [[config] for config in configs]
    configs = [with_recipe(config, device="cuda") for config in configs]
    units = pending_units(configs, tmp_path)
    assert [len(unit) for unit in units] == [10, 10]
    assert sorted(c.seed for unit in units for c in unit) == list(range(20))
    assert len(pending_units(configs, tmp_path, workers=4)) == 4
    both = configs[:3] + [with_recipe(config, lr=0.1, epochs=7) for config in configs[:2]]
    assert [len(unit) for unit in pending_units(both, tmp_path)] == [3, 2]


def test_grid_is_the_cross_product():
    axes = [parse_axis(text) for text in ("placement=off,pre", "lr=1e-3,0.01", "d_model=8,16")]
    configs = grid(SMALL_RUN, dict(axes))
    assert len({config.id for config in configs}) == 8
    assert [(c.model.placement, c.train.lr) for c in configs[:3:2]] == [
        ("off", 1e-3),
        ("off", 0.01),
    ]
    assert all(config.model.d_mlp == 4 * config.model.d_model for config in configs)
    assert grid(SMALL_RUN, {"placement": ("M", "mlp-pre")}) == [SMALL_RUN]
    assert parse_axis("tied_unembedding=True,False")[1] == (True, False)
    assert parse_axis("train_pairs=((1, 2), (0, 1)),None")[1] == (((1, 2), (0, 1)), None)


@pytest.mark.parametrize(
    ("vary", "sentence"),
    [
        ("lrr=1", "no config field 'lrr'; did you mean lr?"),
        ("lr", "--vary takes field=value,value"),
        ("lr=", "--vary takes field=value,value"),
        ("n_heads=3", "n_heads must divide d_model"),
        ("interventions=UnitNorm:mlp", "with --intervene"),
        ("start=x", "no config field 'start'"),
    ],
)
def test_a_wrong_vary_is_a_sentence(vary, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["sweep", "--vary", vary])
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


SMALL = ["--p", "5", "--d-model", "8", "--n-heads", "2", "--epochs", "30"]
SMALL += ["--eval-every", "5", "--checkpoint-every", "10"]


def test_the_command_prints_its_plan_and_its_runs(tmp_path, capsys):
    store = ["--store", str(tmp_path)]
    vary = ["--vary", "seed=1,2", "placement=mlp-pre"]
    gi.train([SMALL_RUN], store=tmp_path)
    main(["sweep", *SMALL, *store, *vary, "--workers", "1"])
    out = capsys.readouterr().out
    assert "holds 1 of 2 runs; to train: 1, 30 epochs in all" in out
    assert out.count("finished") == 2
    assert gi.open_store(tmp_path).select(seed=1)[0].config == SMALL_RUN


@pytest.mark.parametrize("how", ["interrupt", "kill"])
def test_an_interrupted_sweep_leaves_no_worker(how, tmp_path):
    options = ["--p", "5", "--epochs", "1000000", "--store", str(tmp_path), "--workers", "1"]
    # Tests that a shell started in the background ignore the signal, and so would their processes.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = f"{heard}; from grokinterp.cli import main; main()"
    sweep = subprocess.Popen(
        [sys.executable, "-c", command, "sweep", *options],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        owner = _appears(tmp_path, "*/owner.json")
        if how == "interrupt":
            os.killpg(sweep.pid, signal.SIGINT)
        else:
            sweep.kill()
        _, error = sweep.communicate(timeout=HANG)
        assert "Traceback" not in error
        if how == "interrupt":
            assert sweep.returncode == 130
            assert "the same command goes on" in error
        lock = RunLock(owner.parent)
        deadline = time.monotonic() + HANG
        while not lock.acquire(wait=False):
            assert time.monotonic() < deadline, "the worker lives on"
            time.sleep(0.1)
        lock.release()
    finally:
        sweep.kill()
        sweep.wait()


def _appears(folder: Path, pattern: str) -> Path:
    deadline = time.monotonic() + HANG
    while not (found := list(folder.glob(pattern))):
        assert time.monotonic() < deadline, f"{pattern} does not appear"
        time.sleep(0.05)
    return found[0]


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ValueError, match=r"needs the package ray; .*'grokinterp\[ray\]'"):
        train_over([SMALL_RUN], tmp_path / "runs", "ray")
    assert not list(tmp_path.iterdir())


def test_an_address_that_does_not_answer_is_a_sentence(monkeypatch):
    pytest.importorskip("ray")
    monkeypatch.setattr(on_ray, "SECONDS_TO_CONNECT", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    with pytest.raises(ConnectionError, match=f"no Ray cluster answers at 127.0.0.1:{closed}"):
        list(map_over(square, [1], f"ray:127.0.0.1:{closed}"))
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ConnectionError, match=r"timed out\); start one with ray start --head"),
    ):
        list(map_over(square, [1], f"ray:127.0.0.1:{silent.getsockname()[1]}"))
    with socket.create_server(("127.0.0.1", 0)) as rude:
        threading.Thread(target=lambda: rude.accept()[0].close(), daemon=True).start()
        with pytest.raises(ConnectionError, match=r"hangs up\); start one with ray start --head"):
            list(map_over(square, [1], f"ray:127.0.0.1:{rude.getsockname()[1]}"))


@pytest.fixture(scope="module")
def two_nodes() -> Iterator[str]:
    """The address of a Ray cluster of two nodes, with a core each."""
    pytest.importorskip("ray", reason="needs pip install 'grokinterp[ray]'")
    from ray.cluster_utils import Cluster

    arguments = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": 100 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args=arguments)
    cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    yield f"ray:{cluster.address}"
    cluster.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_ray_ends_as_local_does_with_a_worker_killed_in_the_middle(
    tmp_path, long_runs, trained, gate, two_nodes
):
    killer = Killer(gate)
    runs = train_over(long_runs, tmp_path, two_nodes, observer=killer, load=[gate])
    killer.check()
    for one, other in zip(runs, trained, strict=True):
        same_run(one, other)


class NotThere:
    """What no worker can unpickle, such as an object of a file that its node has not."""

    def __reduce__(self):
        return int, ("mine.py",)


@pytest.mark.filterwarnings("ignore")
def test_what_a_node_cannot_read_is_a_sentence(two_nodes):
    with pytest.raises(ValueError, match=r"cannot read what it is sent .*same paths"):
        list(map_over(square, [NotThere()], two_nodes))


@pytest.mark.filterwarnings("ignore")
def test_ray_sends_runs_back_and_tells_what_went_wrong(tmp_path, two_nodes):
    configs = [replace(SMALL_RUN, seed=seed) for seed in (1, 2, 3)]
    runs = train_over(configs, tmp_path / "ray", two_nodes, shared=False)
    for one, other in zip(runs, gi.train(configs, store=tmp_path / "train"), strict=True):
        same_run(one, other)
    unknown = with_recipe(probes={"fourier": 5})
    with pytest.raises(ValueError, match="unknown probe 'fourier'; did you mean"):
        train_over([unknown], tmp_path / "ray", two_nodes)
    with pytest.raises(ValueError, match="need a GPU, and no node of the Ray cluster has one"):
        train_over([with_recipe(device="cuda", epochs=7)], tmp_path / "ray", two_nodes)


def test_momentum_follows_the_optimiser_where_none_was_given():
    axes = {"optimizer": ("sgd", "muon", "adamw")}
    by_default = with_recipe(optimizer="sgd")
    assert [one.train.momentum for one in grid(by_default, axes)] == [0.9, 0.95, None]
    given = with_recipe(optimizer="sgd", momentum=0.5)
    assert [one.train.momentum for one in grid(given, {"lr": (0.1, 0.2)})] == [0.5, 0.5]
    with pytest.raises(ValueError, match="momentum is read with"):
        grid(given, axes)
