"""The report: one page from a store and from what ships, which opens with the network off."""

import base64
import json
import re
import shutil
import xml.etree.ElementTree as ET
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from chromium import CHROMIUM, Browser, faint_texts, move_slider
from markupsafe import escape
from matplotlib.figure import Figure
from PIL import Image
from runs_cases import SMALL_RUN, with_model, with_recipe

import grokinterp as gi
from grokinterp.cli import main
from grokinterp.experiments import EXPERIMENTS
from grokinterp.pretrained import pretrained_card
from grokinterp.pretrained.evolution import EVOLVED
from grokinterp.report import build_report, report_page, save_report
from grokinterp.report.charts import chart, in_words
from grokinterp.report.circuits_section import (
    PRETRAINED,
    Subject,
    choose_subjects,
    circuits_section,
    draw,
)
from grokinterp.report.claims_section import claims_section
from grokinterp.report.experiments_section import Gathered, experiments_section, gather
from grokinterp.report.packed_curves import COLUMNS, pack_curves, unpack_curves
from grokinterp.report.runs_section import ListedRun, runs_section
from grokinterp.report.table_cells import table
from grokinterp.reproduction.experiment import Experiment, Results
from grokinterp.reproduction.plan import make_plan
from grokinterp.reproduction.verdicts import judge
from grokinterp.results import shipped_runs
from grokinterp.store.files import StoreError
from grokinterp.store.run import Run
from grokinterp.store.store import open_store
from grokinterp.store.writer import RunWriter


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "runs"
    gi.train([SMALL_RUN, with_model(placement="off")], store=path)
    return path


@pytest.fixture(scope="module")
def mixed(store: Path) -> Path:
    """With a run under an intervention that is unknown here, one of a later version, and a copy."""
    path = Path(shutil.copytree(store, store.parent / "mixed"))
    data = SMALL_RUN.to_dict()
    data["train"]["interventions"] = [{"name": "Gone", "module": "mine"}]
    unknown = open_store(path).create(gi.RunConfig.from_dict(data))
    known = open_store(path).recording(SMALL_RUN).path
    for name in ("status.json", "metrics.parquet"):
        shutil.copy(known / name, unknown.path / name)
    for name, field in ((known.name[::-1], "later"), (f"{known.name}.bak", "epochs")):
        shutil.copytree(known, path / name)
        data = SMALL_RUN.to_dict()
        data["train"][field] = 30
        (path / name / "config.json").write_text(json.dumps(data))
    return path


def of_experiments(patch: pytest.MonkeyPatch, *names: str) -> dict[str, Experiment]:
    """Let a page be of these alone, and of the claims that they test."""
    few = {name: EXPERIMENTS[name] for name in names}
    patch.setattr(report_page, "EXPERIMENTS", few)
    patch.setattr(report_page, "verdicts", lambda store, read: judge(few, store, read))
    return few


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("ln-position", "shortcut"), id="two experiments"),
        pytest.param(tuple(EXPERIMENTS), id="all experiments", marks=pytest.mark.slow),
    ],
)
def experiments(request: pytest.FixtureRequest) -> Iterator[dict[str, Experiment]]:
    with pytest.MonkeyPatch.context() as patch:
        yield of_experiments(patch, *request.param)


@pytest.fixture(scope="module")
def shipping(experiments: dict[str, Experiment]) -> Iterator[list[Run]]:
    """What ships of these experiments: a page of all else that ships takes half a minute more."""
    if len(experiments) == len(EXPERIMENTS):
        yield shipped_runs().select()
        return
    ids = {one.config.id for each in experiments.values() for one in each.plan(each.seeds)}
    ids.add(pretrained_card("attn-pre-qk")["run"])
    runs = [run for run in shipped_runs() if run.id in ids]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("grokinterp.report.runs_section.shipped_runs", lambda: runs)
        yield runs


@pytest.fixture(scope="module")
def page(experiments: dict[str, Experiment], shipping: list[Run], mixed: Path, store: Path) -> Path:
    """Of a small store and what ships; with the circuits of one model of each."""
    folder = store.parent / f"of {len(experiments)}"
    # Of ten checkpoints, or of three, which take a third of the time.
    ships = "mlp-pre" if len(experiments) == len(EXPERIMENTS) else "attn-pre-qk"
    return save_report(str(mixed), folder / "report.html", (ships, SMALL_RUN.id[:8]))


def test_the_page_holds_every_experiment_run_and_verdict(
    page: Path, experiments: dict[str, Experiment], shipping: list[Run], mixed: Path
) -> None:
    html = page.read_text()
    read: dict = {}
    for name, experiment in experiments.items():
        assert html.count(f'id="experiment-{name}"') == 1
        assert experiment.question.split("'")[0] in html
        whole = not make_plan(experiment, str(mixed), read=read).missing
        assert whole or f"grokinterp reproduce {name}" in html
    assert len(open_store(mixed)) == 3
    for run in (*open_store(mixed), *shipping):
        assert html.count(f'id="run-{run.id}"') == 1
    assert "Gone (unknown here)" in html
    problems = open_store(mixed).problems()
    assert len(problems) == 2
    for folder, problem in problems.items():
        assert f'id="unreadable-{folder}"' in html
        assert escape(problem) in html
    assert "3 in the store, 2 there that cannot be read" in html
    judged = judge(experiments, str(mixed), read)
    assert judged
    for one in judged:
        anchors = re.findall(r'id="(claim-[^"]+)"', html)
        assert f"claim-{one.name}".translate({40: None, 41: None, 32: "-"}) in anchors
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', html)) <= set(ids)


def test_the_page_is_one_small_file_without_addresses(page: Path) -> None:
    html = page.read_text()
    assert page.stat().st_size < 15e6
    assert list(page.parent.iterdir()) == [page]
    assert html.count("Content-Security-Policy") == 1
    sources = re.findall(r'<\w+[^>]* (?:src|href)="([^"]{0,22})', html)
    assert all(one.startswith("#") for one in sources)
    # CircuitsVis names itself once at its beginning.
    assert html.count("var CircuitsVis") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_works_in_a_browser_with_the_network_off(
    page: Path,
    experiments: dict[str, Experiment],
    shipping: list[Run],
    store: Path,
    tmp_path: Path,
) -> None:
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(page)
        charts = page.read_text().count("<img ")
        assert charts > len(experiments)
        loaded = "[...document.images].filter((one) => one.naturalWidth > 500 && one.alt).length"
        browser.wait_for(f"{loaded} === {charts}")
        figures = browser.evaluate("document.querySelectorAll('figure.picture').length")
        assert figures == 8
        browser.wait_for("document.querySelectorAll('.heads canvas').length === 5 + 3")
        # A slider for each picture; each changes what its picture shows.
        for figure in range(figures):
            drawing = f"document.querySelectorAll('figure.picture')[{figure}]"
            ink = (
                f"[...{drawing}.querySelectorAll('canvas')].map((one) => one.toDataURL()).join()"
                f" + {drawing}.querySelector('.drawing').textContent"
                f" + [...{drawing}.querySelectorAll('polyline')].map((one) => one.outerHTML)"
            )
            browser.wait_for(f"({ink}).length > 100")
            last = browser.evaluate(ink)
            assert move_slider(browser, figure, 0) == "epoch 0"
            browser.wait_for(f"({ink}) !== {json.dumps(last)}")

        # A link to a run opens it, and draws every point of its curves.
        html = page.read_text()
        rows = {
            run.id: html.split(f'id="run-{run.id}"')[1].split("<details")[0] for run in shipping
        }
        # Not each has curves: all of them together have a bound.
        run = next(run for run in shipping if 'class="curves"' in rows[run.id])
        browser.evaluate(f"location.hash = 'run-{run.id}'")
        lines = f"document.querySelectorAll('#run-{run.id} polyline')"
        browser.wait_for(f"{lines}.length === 4")
        points = browser.evaluate(f"[...{lines}].map((one) => one.points.length)")
        assert points == [len(run.metrics)] * 4
        axis = f"document.querySelector('#run-{run.id} svg').textContent"
        linear = browser.evaluate(axis)
        browser.evaluate(f"document.querySelector('#run-{run.id} input').click()")
        assert browser.evaluate(axis) != linear
        read = browser.evaluate(f"""(() => {{
            const svg = document.querySelector('#run-{run.id} svg');
            const box = svg.getBoundingClientRect();
            svg.dispatchEvent(new PointerEvent('pointermove', {{clientX: box.right}}));
            return document.querySelector('#run-{run.id} output').textContent;
        }})()""")
        last_epoch = int(run.metrics["epoch"].iloc[-1])
        assert read.startswith(f"epoch {last_epoch:,}: accuracy ")
        read = browser.evaluate(f"""(() => {{
            const press = (key) => document.querySelector('#run-{run.id} svg')
                .dispatchEvent(new KeyboardEvent('keydown', {{ key }}));
            ['Home', 'ArrowRight', 'ArrowRight'].forEach(press);
            return document.querySelector('#run-{run.id} output').textContent;
        }})()""")
        assert read.startswith(f"epoch {run.metrics['epoch'].iloc[2]:,}: accuracy ")

        shown = browser.evaluate("""(() => {
            const filter = document.getElementById('filter');
            filter.value = 'mlp-pre 456';
            filter.dispatchEvent(new Event('input'));
            const left = [...document.querySelectorAll('details.run:not([hidden]) b')];
            filter.value = '';
            filter.dispatchEvent(new Event('input'));
            return left.map((one) => one.textContent);
        })()""")
        assert shown
        assert set(shown) == {"mlp-pre"}

        browser.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")
        tables = "[...document.querySelectorAll('.scroll')]"
        wide = f"{tables}.filter((one) => one.scrollWidth > one.clientWidth + 1)"
        said = "getComputedStyle(one, '::before').content.includes('scroll sideways')"
        for width in (1400, 390):
            for scheme in ("light", "dark"):
                browser.look(width, scheme)
                browser.wait_for(f"document.documentElement.scrollWidth <= {width}")
                assert faint_texts(browser) == []
                # A table that scrolls says so, and only such a one.
                browser.wait_for(f"{wide}.every((one) => {said})")
                scrolls = "document.querySelectorAll('.scroll.wider').length"
                browser.wait_for(f"{scrolls} === {wide}.length")
                reached = "document.querySelectorAll('.scroll[tabindex=\"0\"]').length"
                assert browser.evaluate(reached) == browser.evaluate(scrolls)
                assert width == 1400 or browser.evaluate(scrolls) >= 3

        # Every picture that the page draws: circuits, figures, seeds of claims, curves of a run.
        saved = store.parent / f"saved of {len(experiments)}"
        (saved / "into").mkdir(parents=True)
        browser.save_into(saved / "into")
        for kind in ("picture", "chart", "seeds", "curves"):
            for suffix, opens in (("PNG", b"\x89PNG\r\n"), ("SVG", b"<")):
                file = browser.saved(
                    saved / "into", f"figure.{kind} [aria-label^='Save as {suffix}']"
                )
                assert file.suffix == f".{suffix.lower()}"
                assert file.read_bytes().startswith(opens)
                assert file.stat().st_size > 3000
                if suffix == "SVG":
                    root = ET.parse(file).getroot()
                    assert root.tag == "{http://www.w3.org/2000/svg}svg"
                    marks = {one.tag.split("}")[1] for one in root.iter()}
                    if kind == "seeds":
                        # The band is seen through, in the file as on the screen.
                        opacities = {one.get("stroke-opacity") for one in root.iter()}
                        assert "0.22" in opacities
                    assert {"chart": "path", "seeds": "circle", "curves": "polyline"}.get(
                        kind, "image"
                    ) in marks
                else:
                    with Image.open(file) as image:
                        assert (np.asarray(image.convert("L")) < 128).mean() > 0.002

        browser.look(1400, "dark")
        paper = "getComputedStyle(document.body).backgroundColor"
        assert browser.evaluate(paper) == "rgb(24, 25, 27)"
        browser.evaluate("document.getElementById('scheme').click()")
        assert browser.evaluate(paper) == "rgb(255, 255, 255)"
        outside = {one for one in browser.requests() if not one.startswith(("data:", "blob:"))}
        assert {one.split("#")[0] for one in outside} == {page.as_uri()}
        assert browser.complaints() == []
    finally:
        browser.close()


@pytest.mark.parametrize(("kept", "number"), [("float32", np.float32), ("float64", np.float64)])
def test_curves_keep_every_number(kept: str, number: type[np.floating]) -> None:
    """In float32 where it holds them, and in float64 where it does not."""
    run = next(iter(shipped_runs()))
    metrics = run.metrics
    for name in ("train_loss", "test_loss"):
        # A third has no end in binary: it tells the two apart, whatever the run was trained in.
        metrics[name] = (metrics[name] / 3).astype(number)
    packed = pack_curves(metrics, run.grokking)
    assert json.loads(packed)["type"] == kept
    pd.testing.assert_frame_equal(
        unpack_curves(packed), metrics[list(COLUMNS)], check_dtype=False, check_exact=True
    )


def test_a_page_that_is_too_full_says_what_it_leaves_out(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [run, _] = open_store(store)
    listed = [ListedRun(run)] * 5
    whole = runs_section(listed, ())
    assert whole.count("application/json") == 5
    assert "show no curves" not in whole
    size = len(pack_curves(run.metrics, run.grokking))
    monkeypatch.setattr("grokinterp.report.runs_section.CURVES_BYTES", 2 * size + 1)
    monkeypatch.setattr("grokinterp.report.runs_section.MOST_ROWS", 4)
    limited = runs_section(listed, ())
    assert limited.count("application/json") == 2
    assert "2 of them show no curves" in limited
    assert "The first 4 of 5 runs are here" in limited


def test_what_is_damaged_is_a_sentence_in_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that an experiment plans: its row and its experiment say so, and what ships stands in
    for it."""
    # Of two seeds: to read all that ships takes seconds.
    experiment = replace(EXPERIMENTS["ln-position"], seeds=(789, 456))
    monkeypatch.setitem(EXPERIMENTS, "ln-position", experiment)
    of_experiments(monkeypatch, "ln-position")
    store = open_store(tmp_path / "runs", create=True)
    config = experiment.plan((789,))[0].config
    run = store.create(config)
    RunWriter(run).save_status("finished", 10_000)
    (run.path / "metrics.parquet").write_text("no table")
    said = f"{run.path / 'metrics.parquet'} is damaged"
    assert said in runs_section([ListedRun(run)], ())
    read: dict = {}
    gathered = gather("ln-position", experiment, str(store.path), read)
    [trouble] = gathered.troubles
    assert f"{run.path.name} is left out: {said}" in trouble
    assert trouble in experiments_section([gathered], [])
    assert config.id in {run.id for _, run in gathered.done}
    claims = claims_section(report_page._judged(str(store.path), {}), {})
    assert said not in claims
    assert claims == claims_section(report_page._judged(str(tmp_path / "nowhere"), {}), {})


def test_a_folder_that_is_no_store_is_refused_and_nothing_is_written(tmp_path, capsys) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "cat.png").touch()
    out = tmp_path / "report.html"
    with pytest.raises(SystemExit):
        main(["report", "--store", str(folder), "--out", str(out)])
    assert "is not a run store" in capsys.readouterr().err
    assert not out.exists()


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(report_page, "build_report", lambda *given: "<p>new</p>")
    out = tmp_path / "made" / "report.html"
    main(["report", "--store", str(tmp_path / "none"), "--out", str(out)])
    assert str(out) in capsys.readouterr().out
    assert out.read_text() == "<p>new</p>"

    monkeypatch.setattr(report_page, "build_report", lambda *given: "\ud800")
    with pytest.raises(StoreError, match="cannot write"):
        save_report(str(tmp_path / "none"), out)
    assert out.read_text() == "<p>new</p>"
    assert list(out.parent.iterdir()) == [out]


def test_whose_circuits_are_drawn(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = list(open_store(store))
    own = [subject.title for subject in choose_subjects(runs, None)]
    # What ships while it groks is of another seed.
    shipped = [f"{name} · seed {1 if name in EVOLVED else 456}" for name in PRETRAINED]
    assert own == shipped + [run.config.name for run in runs]
    planned = {run.id for run in runs}
    assert len(choose_subjects(runs, None, planned)) == len(PRETRAINED)
    [subject] = choose_subjects(runs, ["M"])
    assert list(subject.snapshots) == list(gi.pretrained_evolution("mlp-pre"))
    [subject] = choose_subjects(runs, [SMALL_RUN.id[:6]])
    assert list(subject.snapshots) == [0, 10, 20, 30]
    [run] = [one for one in runs if one.id == SMALL_RUN.id]
    monkeypatch.setattr(Run, "checkpoint_epochs", tuple(range(0, 1000, 20)))
    [subject] = choose_subjects([run], [run.id])
    stops = list(subject.snapshots)
    assert len(stops) == 10
    assert (stops[0], stops[-1]) == (0, 980)
    assert np.ptp(np.diff(stops)) <= 20
    with pytest.raises(ValueError, match="0 runs begin with 'nope'"):
        choose_subjects(runs, ["nope"])


def test_circuits_of_an_unknown_name_are_refused_before_anything_is_drawn(tmp_path) -> None:
    with pytest.raises(ValueError, match="placements that ship"):
        build_report(str(tmp_path / "none"), ["nope"])


def test_a_chart_says_in_words_what_it_shows() -> None:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], label="pre")
    axes.set(xlabel="epoch", ylabel='accuracy "<"')
    axes.legend()
    assert in_words(figure, "Subject") == 'Subject. accuracy "<" against epoch. of pre'
    assert "accuracy &#34;&lt;&#34; against epoch" in chart(figure, "Subject")


def test_a_chart_is_the_figure_itself() -> None:
    """What the page inflates is an SVG with the figure's lines, the same each time."""
    figure = Figure()
    figure.subplots().plot(range(7), range(7), gid="the line")
    html = chart(figure, "Subject")
    data = json.loads(re.search(r"<script[^>]*>(.*)</script>", html)[1])
    svg = ET.fromstring(zlib.decompress(base64.b64decode(data["deflated"])))
    assert svg.find(".//*[@id='the line']") is not None
    assert [data["width"], data["height"]] == [640, 480]
    assert html == chart(figure, "Subject")


def test_a_card_has_the_dots_of_both_groups_of_seeds(tmp_path, monkeypatch) -> None:
    few = of_experiments(monkeypatch, "ln-position")
    judged = judge(few, str(tmp_path / "none"))
    html = claims_section(judged, {"ln-position": "LN position"})
    assert html.count('<article class="claim"') == len(judged)
    cards = html.split("<article")[1:]
    for card, one in zip(cards, judged, strict=True):
        strips = re.findall(r'<svg class="dots (confirmatory|exploratory)".*?</svg>', card, re.S)
        groups = ("confirmatory", "exploratory")
        findings = zip(*(one.of(group) for group in groups), strict=True)
        drawn = [
            group for both in findings for group, found in zip(groups, both, strict=True) if found.n
        ]
        assert strips == drawn
        assert drawn
        assert card.count("<circle") == sum(f.n for group in groups for f in one.of(group))
        assert 'href="#experiment-ln-position"' in card


def test_a_table_is_escaped_and_leads_to_its_runs() -> None:
    html = table(pd.DataFrame({"label": ["<b>"], "value": [0.123456], "run": ["0123456789abcdef"]}))
    assert "&lt;b&gt;" in html
    assert "0.1235" in html
    assert '<a href="#run-0123456789abcdef">01234567</a>' in html


def test_words_that_others_chose_are_no_tags(tmp_path: Path, monkeypatch) -> None:
    """Names of interventions and folders, messages, labels, titles, and sentences about errors."""
    bad = "<script>alert('1')&"
    data = SMALL_RUN.to_dict()
    data["train"]["interventions"] = [{"name": bad, "module": "mine"}]
    run = open_store(tmp_path, create=True).create(gi.RunConfig.from_dict(data))
    RunWriter(run).save_status("diverged", 0, f"message {bad}")
    figure = Figure()
    figure.suptitle(f"figure {bad}")
    table = pd.DataFrame({f"column {bad}": [f"cell {bad}"], "run": [f"run {bad}"]})
    experiment = replace(
        EXPERIMENTS["ln-position"], title=f"title {bad}", question=f"question {bad}"
    )
    gathered = Gathered(
        f"name {bad}",
        experiment,
        [],
        1,
        Results({f"figure {bad}": figure}, {f"table {bad}": table}),
        (f"trouble {bad}",),
    )

    def refuse(subject: Subject) -> list:
        raise ValueError(f"error {bad}")

    monkeypatch.setattr("grokinterp.report.circuits_section.draw", refuse)
    rows = [ListedRun(run, (("ln-position", f"label {bad}"),)), ListedRun(Run(tmp_path / bad))]
    sections = [
        runs_section(rows, ()),
        claims_section(f"sentence {bad}", {}),
        experiments_section([gathered], []),
        circuits_section([Subject("id", f"subject {bad}", {})])[0],
    ]
    html = "".join(sections)
    assert "<script>" not in html
    assert html.count("<script") == html.count('<script type="application/json">') == 1
    assert f"{escape(bad)} (unknown here)" in html
    said = ("message", "label", "sentence", "title", "question", "name", "trouble", "figure")
    for what in (*said, "column", "cell", "table", "error", "subject", "unreadable-"):
        assert f"{what} {escape(bad)}".replace("- ", "-") in html


def test_a_run_of_another_task_says_which(tmp_path: Path) -> None:
    tasks = (gi.GroupTask("S3"), gi.TableTask.from_function(max, 5), gi.ModularTask(5))
    runs = gi.train([replace(SMALL_RUN, task=task) for task in tasks], store=tmp_path)
    for run, changed in zip(runs, ("S3", escape(repr(tasks[1].table)), "<td>p</td>"), strict=True):
        html = runs_section([ListedRun(run)], ())
        assert f"{run.id}, {run.config.task}: finished" in html
        assert changed in html
        assert len(html) < 20_000  # The table itself is not in it.


@pytest.mark.parametrize(
    ("config", "left_out"),
    [
        (replace(SMALL_RUN, task=gi.ModularTask(5, "mul")), set()),
        (replace(SMALL_RUN, task=gi.ModularTask(5, "a2+b2")), {"circles"}),
        (replace(SMALL_RUN, task=gi.GroupTask("S3")), {"circles"}),
        (replace(SMALL_RUN, task=gi.TableTask.from_function(max, 5)), {"circles"}),
        (with_recipe(interventions=(gi.hooks.UnitNorm("final"),)), {"bars"}),
    ],
)
def test_a_run_s_circuits_are_those_that_apply_to_it(tmp_path, config, left_out):
    [run] = gi.train([config], store=tmp_path)
    [subject] = choose_subjects([run], [run.id])
    kinds = {picture.kind for picture in draw(subject)}
    assert kinds == {"attention", "circles", "heatmaps", "bars"} - left_out
