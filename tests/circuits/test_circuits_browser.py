"""A saved page of circuits in a real browser, from a file, with the network off."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cases import TASK, perturbed_model, small_config
from chromium import CHROMIUM, Browser, move_slider

from grokinterp import circuits
from grokinterp.circuits.picture import unpack
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

    for width in (1280, 360):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width == 360}
        browser.call("Emulation.setDeviceMetricsOverride", **size)
        browser.wait_for(f"document.documentElement.scrollWidth <= {width}")
    browser.call("Emulation.clearDeviceMetricsOverride")
    assert browser.requests() == {path.as_uri()}
    assert browser.complaints() == []


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
    """The two lists that the tests above find empty fill when there is something to find."""
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://example.com/x.png'><script>console.error('no')</script>")
    browser.open(path)
    browser.wait_for("true")
    assert "http://example.com/x.png" in browser.requests()
    assert browser.complaints()


def test_the_page_itself_refuses_to_load(
    browser: Browser, snapshots: dict[int, Snapshot], tmp_path: Path
) -> None:
    path = circuits.grid(snapshots[0]).save(tmp_path / "policy.html")
    browser.open(path)
    refused = "fetch('http://example.com').then(() => false, () => true)"
    assert browser.evaluate(refused)
    assert browser.requests() == {path.as_uri()}
