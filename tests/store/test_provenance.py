"""A number knows where it was made: in the run, in the records, in a pretrained model's card."""

import subprocess
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import version

import pytest
import torch
from runs_cases import SMALL_RUN, Interrupt, with_recipe

import grokinterp as gi
from grokinterp.cli import main
from grokinterp.placement import PLACEMENTS
from grokinterp.pretrained import pretrained_card
from grokinterp.probes import PROBES
from grokinterp.results import shipped_runs
from grokinterp.store import provenance
from grokinterp.store.provenance import Provenance, here

FIELDS = set(Provenance.__dataclass_fields__)


def test_here_is_told():
    found = here()
    assert (found.grokinterp, found.device) == (gi.__version__, "cpu")
    assert found.torch == torch.__version__
    assert found.transformer_lens == version("transformer-lens")
    assert found.threads == torch.get_num_threads()
    assert found.processor
    assert Provenance.parse(found.text) == found
    assert Provenance.parse(Provenance().text) == Provenance()
    assert Provenance.parse('{"threads":2,"of a later version":1}') == Provenance(threads=2)


def test_threads_are_those_of_now():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(before + 1)
        assert here().threads == before + 1
    finally:
        torch.set_num_threads(before)


def git(folder, *command):
    about = ["-c", "user.name=A", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "-C", str(folder), *about, *command], check=True, capture_output=True)


def test_the_commit_is_that_of_the_checkout_itself(tmp_path):
    git(tmp_path, "init")
    package = tmp_path / "environment"
    package.mkdir()
    (tmp_path / "a.py").touch()
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "A")
    git(tmp_path, "tag", "v1")
    commit = provenance._commit(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    assert set(commit) <= set("0123456789abcdef")
    (tmp_path / "a.py").write_text("1")
    assert provenance._commit(tmp_path) == f"{commit}-dirty"
    assert provenance._commit(package) is None  # A wheel's environment in another's checkout.


def test_no_git_is_no_commit(tmp_path, monkeypatch):
    git(tmp_path, "init")
    assert provenance._commit(tmp_path) is None  # Nothing is committed.
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance._commit(tmp_path) is None


CPUINFO = "processor\t: 0\nmodel name\t: {}\nflags\t\t: fpu {}\n\nprocessor\t: 1\nmodel name\t: B\n"


@pytest.mark.parametrize(("flags", "avx512"), [("avx2 avx512f avx512bw", True), ("avx2", False)])
def test_the_processor_is_read_from_the_system(tmp_path, flags, avx512):
    (tmp_path / "cpuinfo").write_text(CPUINFO.format("EPYC 7", flags))
    assert provenance._processor(tmp_path / "cpuinfo") == ("EPYC 7", avx512)
    assert provenance._processor(tmp_path / "none")[1] is None


def test_a_run_tells_where_it_was_trained(tmp_path):
    config = with_recipe(probes={"attention_entropy": 10, "norms": 10})
    [run] = gi.train([config], store=tmp_path)
    [stretch] = run.provenance
    assert {name: stretch[name] for name in FIELDS} == asdict(here())
    assert stretch["from_epoch"] == 0
    assert stretch["probes"] == {"attention_entropy": "1", "norms": "1"}


def test_a_run_that_goes_on_elsewhere_tells_of_both(tmp_path, monkeypatch):
    def trained_in(version, epoch=None):
        made = replace(here(), torch=version)
        monkeypatch.setattr("grokinterp.store.writer.here", lambda device: made)
        with suppress(KeyboardInterrupt):
            gi.train([SMALL_RUN], store=tmp_path, observer=epoch and Interrupt(epoch))
        [run] = gi.open_store(tmp_path)
        return [(one["from_epoch"], one["torch"]) for one in run.provenance]

    assert trained_in("2.6", 5) == [(0, "2.6")]
    # Nothing was saved yet: it began anew.
    assert trained_in("2.7", 12) == [(0, "2.7")]
    assert trained_in("2.7", 15) == [(0, "2.7")]
    assert trained_in("2.8", 20) == [(0, "2.7"), (10, "2.8")]
    assert trained_in("2.9") == [(0, "2.7"), (10, "2.8"), (20, "2.9")]
    assert trained_in("3.0") == [(0, "2.7"), (10, "2.8"), (20, "2.9")]  # It was over.


def test_what_is_probed_afterwards_tells_where_and_by_which_definition(tmp_path, monkeypatch):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    gi.probe([run], ["norms"], epochs=[10])
    monkeypatch.setattr("grokinterp.store.probe_records.here", lambda: Provenance(torch="3.0"))
    monkeypatch.setattr(PROBES["norms"], "version", 2, raising=False)
    gi.probe([run], ["norms", "head_similarity"], epochs=[20])
    table = run.records.table.groupby(["probe", "epoch"])[["definition", "provenance"]].first()
    assert table["definition"].to_dict() == {
        ("norms", 10): "1",
        ("norms", 20): "2",
        ("head_similarity", 20): "1",
    }
    assert Provenance.parse(table.loc[("norms", 10), "provenance"]) == here()
    assert Provenance.parse(table.loc[("norms", 20), "provenance"]) == Provenance(torch="3.0")
    assert set(run.probes["epoch"]) == {20}


def test_an_ablation_is_recorded_with_the_definitions_of_what_it_ablates(tmp_path):
    [run] = gi.train([SMALL_RUN], store=tmp_path)
    command = ["ablate", run.id[:6], "--store", str(tmp_path), "--controls", "1"]
    main([*command, "--hook", "UnitNorm:mlp"])
    assert set(run.probes["definition"]) == {"2+1"}
    assert Provenance.parse(run.records.table["provenance"].iloc[0]).grokinterp == gi.__version__


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_the_card_of_a_pretrained_model_has_it(placement):
    card = pretrained_card(placement)
    [stretch] = card["provenance"]
    assert stretch.keys() >= FIELDS
    assert stretch["grokinterp"] == "0.1.0"
    assert stretch["torch"] is None  # It was not written down then.


def test_what_ships_has_it():
    for run in shipped_runs():
        assert all(stretch.keys() >= FIELDS for stretch in run.provenance)


def test_a_run_s_details_print_it(tmp_path, capsys, monkeypatch):
    [run] = gi.train([with_recipe(probes={"norms": 10})], store=tmp_path)
    command = ["runs", "--store", str(tmp_path), "--id", run.id]
    main(command)
    shown = capsys.readouterr().out
    assert f"from epoch   0: {here()}" in shown
    assert "norms.total" in shown
    monkeypatch.setattr(PROBES["norms"], "version", 2, raising=False)
    main(command)
    shown = capsys.readouterr().out
    assert "left out     norms: recorded before its present definition" in shown
    assert "norms.total" not in shown


def test_it_costs_one_call_of_git_at_most(monkeypatch):
    here()
    monkeypatch.setattr(subprocess, "run", None)
    here()
