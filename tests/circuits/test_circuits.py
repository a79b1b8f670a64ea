"""Pictures of circuits: what is drawn is what was computed, and a page holds all it needs."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest
from cases import TASK, perturbed_model, small_config

from grokinterp import circuits
from grokinterp.circuits.picture import Frame, pack, unpack
from grokinterp.model.build import build_model
from grokinterp.probes.qk_ov import ov_table, qk_table
from grokinterp.snapshot import Snapshot
from grokinterp.task import ModularTask

P = TASK.p


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return Snapshot(perturbed_model(small_config("mlp-pre")), TASK, epoch=30)


@pytest.fixture(scope="module")
def pictures(snapshot: Snapshot) -> dict[str, circuits.Picture]:
    return {
        "attention": circuits.attention_heads(snapshot, 1, 2),
        "tables": circuits.circuit_tables(snapshot),
        "grid": circuits.grid(snapshot),
        "circles": circuits.frequency_circles(snapshot, [1, 2]),
        "bars": circuits.logit_attribution(snapshot),
    }


class Reader(HTMLParser):
    """What a browser would find: tags with attributes, scripts, and the text of each tag."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.data: list[dict[str, Any]] = []
        self.text: dict[str, str] = {}
        self.inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.inside = tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside != "script":
            self.text[self.inside] = self.text.get(self.inside, "") + data
        elif self.tags[-1][1].get("type") == "application/json":
            self.data.append(json.loads(data))
        else:
            self.scripts.append(data)


def panels(picture: circuits.Picture, key: str = "values") -> list[np.ndarray]:
    """The arrays of a picture, as read back from its page."""
    (frame,) = Reader(picture.html).data[0]["frames"]
    return [unpack(panel[key]) for panel in frame["data"]["panels"]]


def float32(values: Any) -> np.ndarray:
    return np.asarray(values, dtype=np.float32)


def test_packing_is_exact() -> None:
    values = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
    values[0, 0, 0] = np.nan
    np.testing.assert_array_equal(unpack(pack(values)), values)
    np.testing.assert_array_equal(unpack(pack(values.T)), values.T)


def test_a_page_of_every_input_is_small() -> None:
    assert len(json.dumps(pack(np.zeros((113, 113))))) < 69_000


def test_attention_is_that_of_the_input(snapshot: Snapshot) -> None:
    for a, b in ((0, 0), (1, 2), (4, 3)):
        (frame,) = Reader(circuits.attention_heads(snapshot, a, b).html).data[0]["frames"]
        pattern = snapshot.grid.cache["blocks.0.attn.hook_pattern"][a * P + b]
        np.testing.assert_array_equal(unpack(frame["data"]["pattern"]), float32(pattern))
        assert frame["data"]["tokens"] == [f"a={a}", f"b={b}", "="]
        assert frame["epoch"] == 30


def test_every_layer_s_heads_are_named() -> None:
    deep = Snapshot(perturbed_model(small_config("pre", n_layers=2)), TASK)
    data = circuits.attention_heads(deep, 1, 2).frames[0].data
    assert data["heads"] == [f"Layer {i}, head {j}" for i in range(2) for j in range(2)]
    pattern = deep.grid.cache["blocks.1.attn.hook_pattern"][P + 2]
    np.testing.assert_array_equal(unpack(data["pattern"])[2:], float32(pattern))


def test_tables_are_the_probes(snapshot: Snapshot) -> None:
    drawn = panels(circuits.circuit_tables(snapshot, position="b"))
    scores, logits = qk_table(snapshot)["scores"], np.asarray(ov_table(snapshot)["logits"])
    np.testing.assert_array_equal(drawn[:2], float32(scores))
    np.testing.assert_array_equal(drawn[2:], float32(logits[:, 1, :, :P]))


def test_grids_are_the_activations(snapshot: Snapshot) -> None:
    grid, cache = snapshot.grid, snapshot.grid.cache
    (correct,) = panels(circuits.grid(snapshot))
    for a, b in TASK.pairs():
        assert correct[a, b] == np.float32(grid.logits[a * P + b, TASK.label(a, b)].item())
    expected = {
        ("logit", 0): grid.logits[:, 0],
        ("logit", 4): grid.logits[:, 4],
        ("neuron", 7): cache["blocks.0.mlp.hook_post"][:, 2, 7],
        ("blocks.0.hook_resid_mid", 3): cache["blocks.0.hook_resid_mid"][:, 2, 3],
        ("blocks.0.ln2.hook_scale", 0): cache["blocks.0.ln2.hook_scale"][:, 2, 0],
        ("blocks.0.attn.hook_z", (1, 2)): cache["blocks.0.attn.hook_z"][:, 2, 1, 2],
        ("blocks.0.attn.hook_pattern", (1, 0)): cache["blocks.0.attn.hook_pattern"][:, 1, 2, 0],
    }
    for (what, component), values in expected.items():
        (drawn,) = panels(circuits.grid(snapshot, what, component))
        np.testing.assert_array_equal(drawn, float32(values).reshape(P, P))
    assert len(panels(circuits.grid(snapshot, "neuron", 1, 5, 9))) == 3


def test_a_grid_is_blank_where_there_is_no_input() -> None:
    task = ModularTask(p=5, operation="div")
    division = Snapshot(build_model(small_config("off"), task), task)
    (drawn,) = panels(circuits.grid(division))
    assert np.isnan(drawn[:, 0]).all()
    assert np.isfinite(drawn[:, 1:]).all()
    with pytest.raises(ValueError, match=r"no input \(3, 0\)"):
        circuits.attention_heads(division, 3, 0)


def test_pictures_share_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    model = perturbed_model(small_config("mlp-pre"))
    passes = []
    forward = model.forward
    monkeypatch.setattr(model, "forward", lambda *a, **k: passes.append(1) or forward(*a, **k))
    snapshot = Snapshot(model, TASK)
    circuits.attention_heads(snapshot, 1, 2)
    circuits.circuit_tables(snapshot)
    circuits.grid(snapshot, "neuron", 1)
    circuits.frequency_circles(snapshot, [1])
    circuits.logit_attribution(snapshot)
    assert len(passes) == 1


def test_checkpoints_are_in_order_and_exact(snapshot: Snapshot) -> None:
    other = Snapshot(perturbed_model(small_config("mlp-pre"), seed=1), TASK)
    picture = circuits.over_checkpoints(
        {200: circuits.grid(snapshot, "neuron", 3), 7: circuits.grid(other, "neuron", 3)}
    )
    frames = Reader(picture.html).data[0]["frames"]
    assert [frame["epoch"] for frame in frames] == [7, 200]
    for frame, source in zip(frames, (other, snapshot), strict=True):
        values = source.grid.cache["blocks.0.mlp.hook_post"][:, 2, 3]
        drawn = unpack(frame["data"]["panels"][0]["values"])
        np.testing.assert_array_equal(drawn, float32(values).reshape(P, P))


def test_a_page_holds_each_script_once(pictures: dict[str, circuits.Picture]) -> None:
    attention = pictures["attention"]
    page = circuits.page("Title", {"One": attention, "Two": [attention, attention]})
    reader = Reader(page.html)
    assert len(reader.data) == 3
    drawing = ("const pictures", "var CircuitsVis=", "DRAWERS")
    assert [[name in script for name in drawing] for script in reader.scripts] == np.eye(3).tolist()
    light = circuits.page(
        "Title", {"All": [pictures[name] for name in pictures if name != "attention"]}
    )
    assert "var CircuitsVis" not in light.html
    assert len(Reader(light.html).scripts) == 2
    assert len(light.html) < 60_000


def test_no_page_loads_anything(pictures: dict[str, circuits.Picture]) -> None:
    html = circuits.page("Title", dict(pictures)).html
    reader = Reader(html)
    loading = {"src", "href", "srcset", "data", "action", "poster"}
    assert not [tag for tag, found in reader.tags if loading & found.keys()]
    assert {"link", "iframe", "object", "embed", "base"}.isdisjoint(tag for tag, _ in reader.tags)
    assert not any(word in html for word in ("unpkg.com", "@import", "url(", "sourceMappingURL"))
    own = reader.scripts[-1]
    assert not any(word in own for word in ("fetch(", "import(", "XMLHttpRequest", "https:"))
    policy = next(found["content"] for tag, found in reader.tags if "http-equiv" in found)
    assert policy == (
        "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
        "img-src data: blob:"
    )


def test_text_is_escaped(snapshot: Snapshot) -> None:
    bad = "</script></title><img src=x onerror=alert(1)>\"'&"
    named = replace(circuits.grid(snapshot), title=bad, caption=bad, frames=(Frame(0, {bad: bad}),))
    page = circuits.page(bad, {bad: named}, about=bad)
    reader = Reader(page.html)
    assert "img" not in {tag for tag, _ in reader.tags}
    for tag in ("title", "h1", "h2", "h3", "p"):
        assert bad in reader.text[tag]
    assert reader.data[0]["frames"][0]["data"] == {bad: bad}
    assert page._repr_html_().count("<") == 2  # A frame's two tags: the page is its attribute.


def test_a_picture_displays_and_saves(pictures: dict[str, circuits.Picture], tmp_path: Any) -> None:
    for name, picture in pictures.items():
        path = picture.save(tmp_path / f"{name}.html")
        assert path.read_text(encoding="utf-8") == picture.html
        shown = dict(Reader(picture._repr_html_()).tags)
        assert shown["iframe"]["srcdoc"] == picture.html
    assert repr(pictures["grid"]) == "Picture('Logits over all inputs', epochs=[30])"


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda s: circuits.attention_heads(s, 5, 0), "a must be a token from 0 to 4; got 5"),
        (lambda s: circuits.attention_heads(s, 0, -1), "b must be a token from 0 to 4; got -1"),
        (lambda s: circuits.frequency_circles(s, [3]), "a frequency must be from 1 to 2; got 3"),
        (lambda s: circuits.frequency_circles(s, [0]), "a frequency must be from 1 to 2; got 0"),
        (lambda s: circuits.frequency_circles(s, []), "needs at least one frequency from 1 to 2"),
        (lambda s: circuits.grid(s, "neurons", 1), "no activation 'neurons'; close ones: neuron"),
        (
            lambda s: circuits.grid(s, "blocks.0.hook_resid_midd", 1),
            "close ones: blocks.0.hook_resid_mid",
        ),
        (
            lambda s: circuits.grid(s, "neuron", 12),
            "component of neuron must be a number from 0 to 11; got 12",
        ),
        (
            lambda s: circuits.grid(s, "blocks.0.attn.hook_z", 3),
            r"component of blocks.0.attn.hook_z must be a tuple up to \(1, 3\); got 3",
        ),
        (lambda s: circuits.grid(s, "neuron"), "choose which components of neuron to draw"),
        (
            lambda s: circuits.circuit_tables(s, position="c"),
            "unknown position 'c'; choose one of a, b",
        ),
        (lambda s: circuits.page("Empty", {}), "a page needs at least one section"),
        (lambda s: circuits.over_checkpoints({}), "needs at least one picture"),
        (
            lambda s: circuits.over_checkpoints(
                {0: circuits.grid(s, "neuron", 1), 1: circuits.grid(s, "neuron", 2)}
            ),
            r"got 'Neurons over all inputs' \(neuron 1\) at epoch 0",
        ),
        (
            lambda s: circuits.over_checkpoints(
                {1: circuits.over_checkpoints({0: circuits.grid(s), 1: circuits.grid(s)})}
            ),
            "the picture of epoch 1 has a slider already",
        ),
        (lambda s: circuits.grid(s).save("no/such/folder/x.html"), "folder no/such/folder must"),
    ],
)
def test_a_wrong_question_is_answered_in_a_sentence(
    snapshot: Snapshot, draw: Any, message: str, unchecked: None
) -> None:
    with pytest.raises(ValueError, match=message):
        draw(snapshot)


def test_a_page_says_whose_picture_it_is(pictures: dict[str, circuits.Picture]) -> None:
    for picture in pictures.values():
        assert picture.model == "M · mlp-pre"
        assert "M · mlp-pre" in Reader(picture.html).text["p"]
    model = perturbed_model(small_config("mlp-pre"))
    first = Snapshot(model, TASK, seed=3, epoch=0)
    other = Snapshot(model, TASK, seed=4, epoch=5)
    two = circuits.over_checkpoints({one.epoch: circuits.grid(one) for one in (first, other)})
    assert first.title == "M · mlp-pre, seed 3"
    # Of two models, so that neither's name stands over both.
    assert two.model == ""
    model.add_hook("blocks.0.hook_mlp_out", lambda value, hook: None)
    assert first.title == "M · mlp-pre, seed 3, under hooks"


@pytest.mark.parametrize("name", ["circuit.png", "circuit.svg", "circuit"])
def test_a_picture_is_saved_under_no_other_suffix(pictures, tmp_path, name) -> None:
    with pytest.raises(ValueError, match=r"saved as HTML, .*\.html; got 'circuit.*PNG and SVG"):
        pictures["grid"].save(tmp_path / name)
    assert not list(tmp_path.iterdir())
