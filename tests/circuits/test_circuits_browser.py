"""A saved page of circuits in a real browser, from a file, with the network off."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import TASK, perturbed_model, small_config
from chromium import CHROMIUM, Browser, faint_texts, move_slider
from PIL import Image

from grokinterp import circuits
from grokinterp.circuits.picture import pack, unpack
from grokinterp.snapshot import Snapshot


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def snapshots() -> dict[int, Snapshot]:
    config = small_config("mlp-pre")
    return {
        epoch: Snapshot(perturbed_model(config, seed), TASK, epoch=epoch)
        for seed, epoch in enumerate((0, 50, 200))
    }


def over(snapshots: dict[int, Snapshot], draw: Any, *arguments: Any) -> circuits.Picture:
    return circuits.over_checkpoints(
        {epoch: draw(snapshot, *arguments) for epoch, snapshot in snapshots.items()}
    )


def test_a_page_works_from_a_file_without_a_network(
    browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    heads = over(snapshots, circuits.attention_heads, 1, 2)
    logits = over(snapshots, circuits.grid)
    page = circuits.page(
        "A small <model>",
        {
            "Attention": heads,
            "Logits": logits,
            "Embedding": over(snapshots, circuits.frequency_circles, [1, 2]),
            "Parts": over(snapshots, circuits.logit_attribution),
            "Tables": circuits.circuit_tables(snapshots[200]),
        },
    )
    path = page.save(tmp_path / "page.html")
    browser.open(path)
    assert browser.evaluate("document.title") == "A small <model>"

    # CircuitsVis draws a small canvas for each head, and a large one of the chosen head.
    browser.wait_for("document.querySelectorAll('.heads canvas').length === 3")
    browser.wait_for("document.querySelectorAll('.heads canvas')[0].clientWidth > 60")
    browser.wait_for("document.querySelectorAll('.heads canvas')[2].clientWidth > 200")
    # What a looks at behind it is drawn too: blue, where a causal pattern has grey.
    behind = """(() => {
        const canvas = document.querySelector(".heads canvas");
        const at = [canvas.width * 5 / 6, canvas.height / 6, 1, 1];
        return [...canvas.getContext("2d").getImageData(...at).data];
    })()"""
    red, _, blue, opaque = browser.evaluate(behind)
    assert red < blue
    assert opaque == 255
    table = "[...document.querySelectorAll('td:nth-child(2)')].map((td) => Number(td.textContent))"
    to_a = [unpack(frame.data["pattern"])[:, -1, 0] for frame in heads.frames]
    np.testing.assert_allclose(browser.evaluate(table), to_a[2], rtol=1e-5)
    ink = "document.querySelector('.heads canvas').toDataURL()"
    before = browser.evaluate(ink)
    assert move_slider(browser, 0, 0) == "epoch 0"
    np.testing.assert_allclose(browser.evaluate(table), to_a[0], rtol=1e-5)
    browser.wait_for(f"{ink} !== {json.dumps(before)}")

    # The heatmap says the value of the cell under the pointer, at the slider's checkpoint.
    point = """(() => {
        const cells = document.querySelectorAll(".cells")[0];
        const area = cells.getBoundingClientRect();
        const place = {clientX: area.left + 2.5 / 5 * area.width,
                       clientY: area.top + 3.5 / 5 * area.height};
        cells.dispatchEvent(new PointerEvent("pointermove", place));
        return cells.closest(".panel").querySelector(".readout").textContent;
    })()"""
    for place, epoch in enumerate(snapshots):
        assert move_slider(browser, 1, place) == f"epoch {epoch}"
        value = unpack(logits.frames[place].data["panels"][0]["values"])[3, 2]
        where, shown = browser.evaluate(point).split(": ")
        assert where == "a = 3, b = 2"
        assert float(shown) == pytest.approx(value, rel=1e-5)

    for figure in (2, 3):
        drawn = f"document.querySelectorAll('figure')[{figure}].querySelector('.drawing').innerHTML"
        move_slider(browser, figure, 2)
        last = browser.evaluate(drawn)
        move_slider(browser, figure, 0)
        assert browser.evaluate(drawn) != last

    for width in (1400, 360):
        for scheme in ("light", "dark"):
            browser.look(width, scheme)
            browser.wait_for(f"document.documentElement.scrollWidth <= {width}")
            assert faint_texts(browser) == []
    browser.look(1400, "light")
    assert browser.requests() == {path.as_uri()}
    assert browser.complaints() == []


def test_every_picture_is_saved_as_png_and_svg(
    browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    """In a dark page too it is on white, with its epoch and with what the screen shows."""
    (tmp_path / "into").mkdir()
    browser.save_into(tmp_path / "into")
    browser.look(1400, "dark")
    drawn = {
        "attention": (over(snapshots, circuits.attention_heads, 1, 2), "image"),
        "heatmaps": (over(snapshots, circuits.grid), "image"),
        "circles": (over(snapshots, circuits.frequency_circles, [1, 2]), "svg/{*}circle"),
        "bars": (over(snapshots, circuits.logit_attribution), "rect"),
    }
    for kind, (picture, mark) in drawn.items():
        browser.open(picture.save(tmp_path / f"{kind}.html"))
        if kind == "attention":
            browser.wait_for("document.querySelectorAll('.heads canvas').length === 3")
        assert move_slider(browser, 0, 1) == "epoch 50"
        svg = browser.saved(tmp_path / "into", "[aria-label^='Save as SVG']")
        assert svg.name.endswith("-epoch-50.svg")
        root = ET.parse(svg).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root[0].get("fill") == "#ffffff"
        assert root[-1].text == f"{picture.title}, {picture.model}, epoch 50"
        assert root.findall(f"{{*}}g/{{*}}{mark}")
        words = " ".join(text.text or "" for text in root.iter("{http://www.w3.org/2000/svg}text"))
        labels = {"heatmaps": "b = 0", "bars": "head 1", "circles": "frequency 2"}
        assert labels.get(kind, "Head 1") in words
        # Black on white, not the white of a dark page.
        inks = {text.get("fill") for text in root.iter("{http://www.w3.org/2000/svg}text")}
        assert "rgb(236, 236, 236)" not in inks
        png = browser.saved(tmp_path / "into", "[aria-label^='Save as PNG']")
        with Image.open(png) as image:
            assert image.format == "PNG"
            size = [2 * int(root.get(name, "")) for name in ("width", "height")]
            assert [*image.size] == size
            pixels = np.asarray(image.convert("RGB"), dtype=int)
        assert (pixels[0] == 255).all()
        # Its middle is no empty paper.
        inside = pixels[image.height // 4 : -image.height // 4]
        assert (inside.min(axis=2) < 200).mean() > 0.001
    browser.look(1400, "light")
    assert browser.complaints() == []


def test_an_enlarged_picture_still_works_and_goes_back(
    browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    browser.look(1400, "light")
    browser.open(over(snapshots, circuits.grid).save(tmp_path / "page.html"))
    cells = "document.querySelector('.cells').clientWidth"
    small = browser.evaluate(cells)
    browser.evaluate("document.querySelector('[aria-label^=Enlarge]').click()")
    assert browser.evaluate("document.querySelector('dialog[open] figure') !== null")
    large = browser.evaluate(cells)
    assert large > 1.2 * small
    browser.evaluate("""(() => {
        const zoom = document.querySelector("[aria-label=zoom]");
        zoom.value = 3;
        zoom.dispatchEvent(new Event("input"));
    })()""")
    assert browser.evaluate(cells) > 2.5 * large
    before = browser.evaluate("document.querySelector('.cells canvas').toDataURL()")
    assert move_slider(browser, 0, 0) == "epoch 0"
    assert browser.evaluate("document.querySelector('.cells canvas').toDataURL()") != before
    browser.press("Escape")
    browser.wait_for("document.querySelector('dialog') === null")
    assert browser.evaluate(cells) == small
    assert browser.evaluate("document.querySelector('main > figure .slider') !== null")
    # Where it was, and not at the page's beginning.
    assert browser.evaluate("document.activeElement.textContent") == "Enlarge"


def test_the_logits_scale_shows_small_differences(
    browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    """A wave of 1 on a level of 50, beside an outlier and a checkpoint around zero."""
    picture = over({0: snapshots[0], 200: snapshots[200]}, circuits.grid)
    wave = 50 + np.sin(np.arange(400).reshape(20, 20))
    wave[0, 0] = -300
    early, late = (
        {"range": frame.data["range"], "panels": [frame.data["panels"][0] | {"values": values}]}
        for frame, values in zip(picture.frames, map(pack, (0 * wave, wave)), strict=True)
    )
    frames = (circuits.picture.Frame(0, early), circuits.picture.Frame(200, late))
    browser.open(replace(picture, frames=frames).save(tmp_path / "page.html"))
    spread = """(() => {
        const canvas = document.querySelector(".cells canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 1, 20, 19);
        const greens = [...data].filter((_, i) => i % 4 === 1);
        return Math.max(...greens) - Math.min(...greens);
    })()"""
    ends = "[...document.querySelectorAll('.colours span')].map((one) => one.textContent)"
    assert browser.evaluate(spread) > 150
    low, high = np.percentile(wave, [1, 99])
    least, most = browser.evaluate(ends)
    assert float(least.removeprefix("≤ ")) == pytest.approx(low, abs=0.1)
    assert float(most.removeprefix("≥ ")) == pytest.approx(high, abs=0.1)
    browser.evaluate("""(() => {
        const select = document.querySelector("select");
        select.value = "all";
        select.dispatchEvent(new Event("change"));
    })()""")
    assert browser.evaluate(ends) == ["-300", "300"]
    assert browser.evaluate(spread) < 10


def test_arrow_keys_read_a_circle(
    browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    browser.open(circuits.frequency_circles(snapshots[0], [2]).save(tmp_path / "page.html"))
    press = """(key) => {
        const circle = document.querySelector("svg.circle");
        circle.dispatchEvent(new KeyboardEvent("keydown", { key }));
        return document.querySelector(".readout").textContent.split(":")[0];
    }"""
    assert browser.evaluate("document.querySelector('svg.circle').tabIndex") == 0
    keys = ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    # Of 5 tokens by their angle at frequency 2: 0, 3, 1, 4, 2.
    read = [browser.evaluate(f"({press})('{key}')") for key in keys]
    assert read == [f"token {one}" for one in (0, 3, 1, 3, 0, 2)]


def test_a_slider_is_dragged_and_moved_by_keys(
    browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    picture = over(snapshots, circuits.grid, "neuron", 0)
    path = picture.save(tmp_path / "page.html")
    first = unpack(picture.frames[0].data["panels"][0]["values"])
    epoch = "document.querySelector('.slider output').textContent"
    for width in (1400, 390):
        browser.look(width, "light")
        browser.open(path)
        browser.drag("input[type=range]", 0.0)
        assert browser.evaluate(epoch) == "epoch 0"
        browser.drag("input[type=range]", 0.5)
        assert browser.evaluate(epoch) == "epoch 50"
        # The slider has the focus from the mouse.
        browser.press("ArrowRight")
        assert browser.evaluate(epoch) == "epoch 200"
        browser.press("ArrowLeft")
        browser.press("ArrowLeft")
        assert browser.evaluate(epoch) == "epoch 0"
        assert browser.evaluate(
            "document.querySelector('input[type=range]').getAttribute('aria-valuetext')"
        ) == ("epoch 0")
        browser.evaluate("document.querySelector('.cells').focus()")
        browser.press("ArrowRight")
        browser.press("ArrowDown")
        read = browser.evaluate("document.querySelector('.readout').textContent")
        assert read.startswith("a = 1, b = 0: ")
        assert float(read.split(": ")[1]) == pytest.approx(first[1, 0], rel=1e-5)
    browser.look(1400, "light")


def test_playing_goes_through_the_checkpoints(
    browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    browser.open(over(snapshots, circuits.grid, "neuron", 0).save(tmp_path / "play.html"))
    epoch = "document.querySelector('.slider output').textContent"
    assert browser.evaluate(epoch) == "epoch 200"
    browser.evaluate("document.querySelector('button').click()")
    assert browser.evaluate(epoch) == "epoch 0"
    browser.wait_for(f"{epoch} === 'epoch 200'")
    assert browser.evaluate("document.querySelector('button').textContent") == "▶ Play"


@pytest.mark.parametrize("kind", ["attention", "heatmaps", "bars"])
def test_a_notebook_shows_the_picture_whole(
    kind: str, browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    picture = {
        "attention": lambda: over(snapshots, circuits.attention_heads, 1, 2),
        "heatmaps": lambda: circuits.grid(snapshots[0], "logit", *range(5)),
        "bars": lambda: circuits.logit_attribution(snapshots[0]),
    }[kind]()
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><body>{picture._repr_html_()}")
    browser.open(path)
    inside = "document.querySelector('iframe').contentDocument"
    if kind == "attention":
        browser.wait_for(f"{inside}.querySelectorAll('.heads canvas').length === 3")
    height = f"{inside}.documentElement.offsetHeight"
    browser.wait_for(f"document.querySelector('iframe').clientHeight >= {height}")
    # No scroll bar beside what fits.
    assert browser.evaluate(f"getComputedStyle({inside}.documentElement).overflowY") == "hidden"
    assert browser.complaints() == []


def test_what_a_page_may_not_do_is_seen(browser: Browser, tmp_path: Path) -> None:
    """The lists that the tests above find empty fill when there is something to find."""
    path = tmp_path / "bad.html"
    path.write_text(
        "<img src='http://example.com/x.png'><script>console.error('no')</script>"
        "<b style='color: #777'>faint</b><b style='color: #767676'>not faint</b>"
    )
    browser.open(path)
    browser.wait_for("true")
    assert "http://example.com/x.png" in browser.requests()
    assert faint_texts(browser) == ["b. 4.48: faint"]
    assert browser.complaints()


def test_the_page_itself_refuses_to_load(
    browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    path = circuits.grid(snapshots[0]).save(tmp_path / "policy.html")
    browser.open(path)
    refused = "fetch('http://example.com').then(() => false, () => true)"
    assert browser.evaluate(refused)
    assert browser.requests() == {path.as_uri()}
