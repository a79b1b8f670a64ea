"""What a notebook shows of objects: escaped, never an error, and a bar while runs train."""

import re
import subprocess
import sys
import warnings
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hang import PATIENT
from markupsafe import escape
from runs_cases import SMALL_RUN, Interrupt, with_recipe

import grokinterp as gi
from grokinterp.jupyter import HEIGHT, MARGIN, WIDTH, accuracy_curves, card, in_notebook, shown
from grokinterp.results import FOLDER
from grokinterp.store.run_names import labels, run_names

with warnings.catch_warnings():
    # It asks for a newer way to find folders, which its own dependencies choose.
    warnings.simplefilter("ignore")
    import nbformat
    from nbclient import NotebookClient

EVIL = "<script>alert('x')</script>&"


class Balanced(HTMLParser):
    """Its text, and whether every element that begins also ends."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in ("br", "path"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data + " "


def test_a_card_escapes_all_that_it_is_given():
    html = card(EVIL, [(EVIL, EVIL)], None, [EVIL])
    page = Balanced(html)
    assert "script" not in page.tags
    assert page.text.count(EVIL) == 4


def points(svg):
    found = re.findall(r'points="([^"]*)"', svg)
    return [[tuple(map(float, one.split(","))) for one in line.split()] for line in found]


def test_a_curve_is_where_its_values_are():
    svg = accuracy_curves([0, 50, 100], {"train": [0.0, 0.5, 1.0]})
    Balanced(svg)
    [line] = points(svg)
    assert line == [
        (MARGIN, MARGIN + HEIGHT),
        (MARGIN + WIDTH / 2, MARGIN + HEIGHT / 2),
        (MARGIN + WIDTH, MARGIN),
    ]


def test_no_spike_of_a_long_curve_is_lost_and_a_gap_stays_one():
    values = np.ones(100_001)
    values[54_321] = 0.25
    values[80_000] = np.nan
    svg = accuracy_curves(list(range(100_001)), {"test": values.tolist()})
    first, second = points(svg)
    assert len(svg) < 20_000
    assert min(first, key=lambda point: -point[1]) == (
        pytest.approx(MARGIN + WIDTH * 0.54321, abs=0.1),
        MARGIN + HEIGHT * 0.75,
    )
    assert first[-1][0] <= MARGIN + 0.8 * WIDTH <= second[0][0]
    assert {y for x, y in second} == {MARGIN}


def test_what_fails_is_a_sentence():
    class Broken:
        @shown
        def _repr_html_(self):
            raise RuntimeError(EVIL)

    page = Balanced(Broken()._repr_html_())
    assert "script" not in page.tags
    assert EVIL in page.text


def test_a_run_says_when_it_memorised_and_generalised_as_intervals():
    run = gi.open_store(FOLDER).select(id="307d2fe1")[0]
    html = run._repr_html_()
    page = Balanced(html)
    for name in ("memorised", "generalised"):
        crossing = getattr(run.grokking, name)
        assert f"in the epochs ({crossing.after:,}, {crossing.by:,}]" in page.text
    assert "run.plot()" in page.text
    assert len(points(html)) == 2


def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        gi.train(SMALL_RUN, store=tmp_path, observer=Interrupt(10))
    [run] = gi.open_store(tmp_path)
    text = Balanced(run._repr_html_()).text
    assert "interrupted at epoch 10" in text
    assert run.how_to_go_on in text
    assert "not within 10" in text


@pytest.mark.parametrize("name", ["metrics.parquet", "status.json", "config.json"])
def test_an_unreadable_run_shows_why_and_the_others_stay(tmp_path, name):
    runs = gi.train([SMALL_RUN, with_recipe(lr=0.01)], store=tmp_path)
    (runs[0].path / name).write_text(EVIL)
    run = gi.Run(runs[0].path)
    for html in (run._repr_html_(), gi.open_store(tmp_path)._repr_html_(), runs._repr_html_()):
        page = Balanced(html)
        assert "script" not in page.tags
        assert name in page.text or html == runs._repr_html_()
    assert (
        "lr 0.01" in Balanced(gi.open_store(tmp_path)._repr_html_()).text or name == "config.json"
    )
    assert Balanced(gi.Run(tmp_path / "nowhere")._repr_html_()).text


def test_a_store_of_many_shows_some_and_says_so():
    store = gi.open_store(FOLDER)
    page = Balanced(store._repr_html_())
    assert f"{len(store):,} runs in" in page.text
    assert f"{len(store) - 20:,} more" in page.text
    assert page.tags.count("tr") == 1 + 20 + 1
    few = store.select(placement="peri")[:2]
    assert Balanced(few._repr_html_()).tags.count("tr") == 3


def test_a_config_shows_what_it_changes_and_a_snapshot_what_it_is():
    text = Balanced(with_recipe(lr=0.5, stop_when="test_accuracy >= 0.9")._repr_html_()).text
    assert "0.5 (default 0.001)" in text
    assert "test_accuracy >= 0.9" in text
    assert "weight_decay" not in text
    model = gi.build_model(SMALL_RUN.model, SMALL_RUN.task, seed=0)
    snapshot = gi.Snapshot(model, SMALL_RUN.task, epoch=1234)
    assert "none" in Balanced(snapshot._repr_html_()).text
    with gi.hooks.applied(model, [gi.hooks.AblateHead(0)]):
        text = Balanced(snapshot._repr_html_()).text
    assert "blocks.0.attn" in text
    assert "1,234" in text


def test_showing_a_store_loads_neither_transformer_lens_nor_matplotlib():
    code = (
        "import sys, grokinterp as gi\n"
        "html = gi.RunConfig()._repr_html_()\n"
        "assert 'torch' not in sys.modules and 'cannot' not in html\n"
        f"runs = gi.open_store({str(FOLDER)!r}).select(placement='peri')\n"
        "for one in (runs, runs[0], runs[0].config):\n"
        "    assert 'cannot be' not in one._repr_html_()\n"
        "print({'transformer_lens', 'matplotlib', 'IPython'} & set(sys.modules))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "set()\n"


TRAIN = """import warnings
warnings.simplefilter("ignore")
import grokinterp as gi
config = gi.RunConfig(gi.ModularTask(p=5), gi.ModelConfig(d_model=8, n_heads=2),
                      gi.TrainConfig(epochs=20), seed=1)
"""


def test_a_notebook_shows_a_bar_by_itself_and_an_observer_replaces_it(tmp_path):
    cells = [
        nbformat.v4.new_code_cell(TRAIN + "run = gi.train(config)"),
        nbformat.v4.new_code_cell("run = gi.train(config, observer=gi.Observer())"),
        nbformat.v4.new_code_cell("run"),
        nbformat.v4.new_code_cell("found = gi.probe(run, ['norms'], epochs=[0, 20])"),
        # One that stops early has no more epochs to come.
        nbformat.v4.new_code_cell(
            TRAIN.replace(
                "epochs=20", "epochs=20, eval_every=5, stop_when='train_loss <= 99 for 4'"
            )
            + "run = gi.train(config)"
        ),
    ]
    notebook = nbformat.v4.new_notebook(cells=cells)
    with warnings.catch_warnings():
        # The kernel runs in a process of its own: these are about the tools that start it.
        warnings.simplefilter("ignore")
        NotebookClient(
            notebook,
            kernel_name="python3",
            **PATIENT,
            resources={"metadata": {"path": str(tmp_path)}},
        ).execute()
    [bar] = cells[0].outputs
    text = Balanced(bar.data["text/html"]).text
    assert "20 of 20 epochs" in text
    assert "mlp-pre · seed 1: memorised" in text
    assert cells[1].outputs == []
    assert "5 of 5 epochs" in Balanced(cells[4].outputs[0].data["text/html"]).text
    assert "finished at epoch 20" in cells[2].outputs[0].data["text/html"]
    assert "2 of 2 checkpoints" in cells[3].outputs[0].data["text/html"]


def test_elsewhere_nothing_is_said(tmp_path, capsys):
    assert not in_notebook()
    gi.train(SMALL_RUN, store=tmp_path)
    assert capsys.readouterr() == ("", "")


def test_a_failure_is_said_below_the_bar(monkeypatch):
    from grokinterp.store.notebook_bar import NotebookBar

    shown_html = []

    class Handle:
        def update(self, html):
            shown_html.append(html.data)

    monkeypatch.setattr("IPython.display.display", lambda *a, **k: Handle())
    bar = NotebookBar()
    bar.begin_probing(2)
    bar.probed(gi.Run(Path(FOLDER) / gi.open_store(FOLDER).select(id="307d2fe1")[0].path.name), 3)
    bar.left_out(gi.Run(Path("x-y")), EVIL)
    bar.end()
    page = Balanced(shown_html[-1])
    assert "script" not in page.tags
    assert f"x is left out: {EVIL}" in page.text
    assert "1 of 2 checkpoints" in page.text


def test_runs_of_several_tasks_stand_in_one_table_and_have_names(tmp_path):
    tasks = (gi.ModularTask(5), gi.GroupTask("S3"), gi.TableTask.from_function(max, 5, 0.5))
    runs = gi.train([replace(SMALL_RUN, task=task) for task in tasks], store=tmp_path)
    shown = gi.open_store(tmp_path).select()._repr_html_()
    for run in runs:
        assert escape(str(run.config.task)) in shown
        assert run.config._repr_html_()
    assert len(shown) < 10_000  # The table itself is not in it.
    configs = [run.config for run in runs]
    for names in (run_names(configs), labels(configs)):
        assert len(set(names)) == 3
        assert max(map(len, names)) < 150
