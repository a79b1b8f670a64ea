"""The documentation site builds without a warning, and says what is there."""

import inspect
import os
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import docstring_parser
import pytest
from chromium import CHROMIUM, Browser, faint_texts

import grokinterp as gi
from grokinterp.cli import main
from grokinterp.cli.task import TaskOptions

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# Of text, of code with its outputs, of signatures.
PAGES = ("index.html", "tutorials/05_fourier_circuit.html", "reference/grokinterp.html")
# What a page names by these, a browser loads with it.
LOADED = {"script": "src", "img": "src", "iframe": "src", "link": "href"}


class Links(HTMLParser):
    """What a page links to and loads, and its anchors."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors = {""}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value for name, value in attrs if value is not None}
        self.anchors |= {named[name] for name in ("id", "name") if name in named}
        self.links += [named[name] for name in ("href", "src") if name in named]
        if tag in LOADED and named.get("rel") != "canonical":
            self.loaded += [named[LOADED[tag]]] if LOADED[tag] in named else []


def dead(pages: dict[str, str], files: set[str]) -> list[tuple[str, str]]:
    """The links of pages, by path, that lead to no file or anchor of the site."""
    found = {path: Links(page) for path, page in pages.items()}
    wrong = []
    for path, links in found.items():
        for link in links.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path
            if parts.path:
                target = os.path.normpath(os.path.join(os.path.dirname(path), unquote(parts.path)))
            anchors = found[target].anchors if target in found else {"", unquote(parts.fragment)}
            if target not in files or unquote(parts.fragment) not in anchors:
                wrong.append((path, link))
    return wrong


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Built as `make docs` builds it, elsewhere."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copy(ROOT / "mkdocs.yml", folder)
    commands = (
        [str(DOCS / "builder"), str(folder / "build" / "docs")],
        ["-m", "mkdocs", "build", "--strict", "--config-file", str(folder / "mkdocs.yml")],
    )
    for command in commands:
        done = subprocess.run(
            [sys.executable, *command],
            env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "WARNING" not in done.stderr, done.stderr
    return folder / "site"


def html_of(site):
    """The pages, but for those named by a number: pictures in frames of their own, whose policy
    loads nothing, and what a server shows where there is no page, with paths from its root."""
    return {
        path.relative_to(site).as_posix(): path.read_text(encoding="utf-8")
        for path in site.rglob("*.html")
        if not path.stem.isdigit()
    }


def test_no_link_of_the_site_is_dead(site):
    pages = html_of(site)
    assert {"index.html", "probes.html", "tutorials/05_fourier_circuit.html"} <= set(pages)
    files = {path.relative_to(site).as_posix() for path in site.rglob("*")}
    assert dead(pages, files) == []


def test_a_page_loads_nothing_from_elsewhere(site):
    for path, page in html_of(site).items():
        foreign = [link for link in Links(page).loaded if urlsplit(link).netloc]
        assert foreign == [], path
    for path in site.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import )['\"]?(?:https?:)?//", path.read_text()) == [], path


def test_these_checks_find_what_they_look_for():
    page = '<h1 id="top"></h1><a href="a/b.html#x"></a><a href="#top"></a><img src="c.png">'
    pages = {"index.html": page, "a/b.html": '<a href="../index.html#no"></a>'}
    files = {*pages, "c.png"}
    assert dead(pages, files) == [("index.html", "a/b.html#x"), ("a/b.html", "../index.html#no")]
    assert ("index.html", "c.png") in dead(pages, set(pages))
    assert Links('<script src="https://a.org/b.js"></script>').loaded == ["https://a.org/b.js"]


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_read_on_a_screen_and_on_a_phone(site, scheme, tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        browser.look(1400, scheme)
        for page in PAGES:
            browser.open(site / page)
            for width in (1400, 390):
                browser.look(width, scheme)
                browser.wait_for(f"document.documentElement.scrollWidth <= {width}")
                assert faint_texts(browser) == [], page
            assert browser.complaints() == [], page
    finally:
        browser.close()


def test_formulas_are_drawn(site):
    pages = html_of(site)
    assert pages["probes.html"].count('<div class="formula"><math') == len(gi.PROBES)
    shown = re.sub(r"<(script|code|pre).*?</\1>", "", "".join(pages.values()), flags=re.DOTALL)
    assert re.findall(r".{20}\\(?:frac|omega|cos|text).{20}", shown) == []


def test_every_probe_is_defined_in_one_place():
    page = (DOCS / "probes.md").read_text(encoding="utf-8")
    sections = re.findall(
        r"^### (\w+)\n\n\$\$.+\$\$\n\n\{\{ probe: (\w+) \}\}$", page, re.MULTILINE
    )
    assert sorted(sections) == [(name, name) for name in sorted(gi.PROBES)]
    assert page.count("\n### ") == len(sections)


@pytest.mark.parametrize("name", gi.PROBES)
def test_a_probe_says_its_options_its_values_and_what_is_nothing(name):
    doc = inspect.getdoc(gi.PROBES[name])
    assert re.findall(r"^(Returns|Nothing to find|Source):$", doc, re.MULTILINE) == [
        "Returns",
        "Nothing to find",
        "Source",
    ]
    options = [*inspect.signature(gi.PROBES[name]).parameters][1:]
    assert described(doc, "Args") == options


CONFIGS = [gi.ModularTask, gi.GroupTask, gi.TableTask, TaskOptions]
CONFIGS += [gi.ModelConfig, gi.TrainConfig, gi.RunConfig]


@pytest.mark.parametrize("config", CONFIGS)
def test_help_describes_every_field(config):
    assert described(inspect.getdoc(config), "Args") == [field.name for field in fields(config)]
    # As the command line reads it.
    known = docstring_parser.parse(config.__doc__).params
    assert [one.arg_name for one in known] == [field.name for field in fields(config)]


def described(doc, section):
    """The names that a section of a docstring describes."""
    found = re.search(rf"^{section}:\n(.*?)(?=^\S|\Z)", doc, re.MULTILINE | re.DOTALL)
    return re.findall(r"^    (\w+): \S", found[1], re.MULTILINE) if found else []


def test_every_public_name_is_in_the_reference():
    page = (DOCS / "reference" / "grokinterp.md").read_text(encoding="utf-8")
    named = re.findall(r"^::: grokinterp\.(\w+)$", page, re.MULTILINE)
    assert sorted([*named, "circuits", "hooks"]) == sorted(gi.__all__)
    assert [name for name in gi.__all__ if not hasattr(gi, name)] == []


def test_the_examples_of_the_page_on_stores_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runs = [
        gi.RunConfig(
            gi.ModularTask(p=5),
            gi.ModelConfig(placement, d_model=8, n_heads=2),
            gi.TrainConfig(epochs=200, eval_every=50, probes={"attention_entropy": 50}),
            seed=1,
        )
        for placement in ("off", "mlp-pre")
    ]
    gi.train(runs)
    page = (DOCS / "how-to" / "pandas.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 6
    for example in examples:
        exec(example, names)
    assert len(names["probes"]) > 0


def test_the_recipe_s_examples_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "how-to" / "recipe.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 4
    for example in examples:
        exec(example, names)
    refused, stands = capsys.readouterr().out.splitlines()
    assert refused.startswith("momentum is read with optimizer='sgd' or 'muon' alone")
    assert stands
    # Every field of the recipe that the page names, and every value of a choice.
    recipe = {one.name for one in fields(gi.TrainConfig)}
    table = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    named = {name for cell in table for name in re.findall(r"`(\w+)`", cell)}
    assert named == recipe & named
    assert {"optimizer", "lr_schedule", "loss", "loss_form", "max_norm"} <= named


def test_the_examples_of_a_task_of_one_s_own_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    page = (DOCS / "how-to" / "own-task.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    examples = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 6
    for example in examples:
        exec(example, names)
    same, read, wrong, accuracy, refused, shares = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"True table [0-9a-f]{8} \(n = 7\)", same)
    assert read == "True"
    assert wrong.startswith("table must hold the elements 0 to 1 of its 2 rows; got 2 in row 0")
    assert float(accuracy) > 0.9
    assert refused.startswith("fourier_concentration is in waves over a cyclic group")
    assert "'logits.(2,1)'" in shares
    # And the file of the command line's example is the page's.
    for command in re.findall(r"^grokinterp (train --table .*)$", page, re.MULTILINE):
        main([*command.split(), "--epochs", "1", "--store", "own-task"])
    [run] = gi.open_store("own-task").select(epochs=1)
    assert run.config.task == names["larger"]


class TestBuilder:
    """The functions by which pages are made."""

    @pytest.fixture(autouse=True)
    def scripts(self, monkeypatch):
        monkeypatch.syspath_prepend(DOCS / "builder")

    def test_a_section_is_told_from_a_comment_in_code(self):
        from sections import headings, section

        lines = ["# A", "```", "# no", "```", "## B"]
        assert [*headings(lines)] == [(0, 1, "A"), (4, 2, "B")]
        assert "my_module.py" in section("CONTRIBUTING.md", "A probe", "how-to/probe.md")
        with pytest.raises(ValueError, match="must have the heading 'No such'"):
            section("README.md", "No such", "index.md")

    @pytest.mark.parametrize(
        ("folder", "page", "text", "expected"),
        [
            ("", "index.md", "[a](docs/sweeps.md)", "[a](sweeps.md)"),
            ("", "how-to/task.md", "[a](docs/findings.md#b)", "[a](../findings.md#b)"),
            ("", "index.md", "![a [b]](docs/c.png)", "![a [b]](c.png)"),
            ("docs", "findings.md", "[a](../README.md)", "[a](index.md)"),
            ("", "index.md", "[`a`](tests/test_docs.py), [b](docs/results)", "`a`, b"),
            ("", "index.md", '```\nP["a"](b)\n```\n[`a`](b)', '```\nP["a"](b)\n```\n`a`'),
            ("", "index.md", "[a](https://b.org/c) [d](#e)", "[a](https://b.org/c) [d](#e)"),
        ],
    )
    def test_links_lead_to_the_same_from_another_page(self, folder, page, text, expected):
        from sections import relinked

        assert relinked(text, folder, page) == expected

    def test_a_dollar_in_code_begins_no_formula(self):
        from maths import typeset

        for text in ("`a$b` and `c$d`", '```\n"$HOME" "$PATH"\n```'):
            assert typeset(text) == text
        assert typeset("$x$ is `$y`").endswith("</math></span> is `$y`")
        assert '<div class="formula"><math' in typeset("$$x$$")

    def test_the_table_says_what_each_placement_reads(self):
        from hook_points import reads_table

        rows = {row.split("`")[1]: row.split(" | ")[2:] for row in reads_table().split("\n")[2:]}
        assert list(rows) == list(gi.PLACEMENTS)
        for name, placement in gi.PLACEMENTS.items():
            inputs = [*rows[name][:3], rows[name][5]]
            normed = (placement.q, placement.k, placement.v, placement.mlp)
            plain = ("x", "x", "x", "y")
            assert inputs == [f"LN {x}" if one else x for x, one in zip(plain, normed, strict=True)]
        assert rows["post"][4] == "LN (x + a)"
        assert rows["peri"][6] == "LN mlp"

    def test_a_hook_without_a_description_is_refused(self):
        from hook_points import check_known

        with pytest.raises(ValueError, match=r"must say what these hooks are: blocks\.0\.hook_new"):
            check_known({"hook_embed": 1, "blocks.0.hook_new": 2})
