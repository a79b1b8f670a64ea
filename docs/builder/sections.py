"""Sections of the README, of CONTRIBUTING and of the changelog as parts of pages, so that nothing
stands twice; and links to what is outside the site."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]+)\)")
# Where the site shows what is a file of the repository.
PAGES = {
    "README.md": "docs/index.md",
    "CONTRIBUTING.md": "docs/how-to/contribute.md",
    "CHANGELOG.md": "docs/changelog.md",
}


def section(file: str, heading: str, page: str) -> str:
    """What stands under a heading of a file at the root, for a page of the site.

    Its own headings follow on the page's title. ValueError if there is no such heading.
    """
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    titles = list(headings(lines))
    for index, (start, level, title) in enumerate(titles):
        if title == heading:
            after = (line for line, other, _ in titles[index + 1 :] if other <= level)
            end = next(after, len(lines))
            for line, _, _ in titles[index + 1 :]:
                if line < end:
                    lines[line] = lines[line].removeprefix("#" * (level - 1))
            return relinked("\n".join(lines[start + 1 : end]), "", page)
    known = ", ".join(title for _, _, title in titles)
    raise ValueError(
        f"{file} must have the heading {heading!r}, which {page} shows; it has {known}"
    )


def headings(lines: list[str]) -> Iterator[tuple[int, int, str]]:
    """The line, level and title of each heading; a comment in a block of code is none."""
    code = False
    for number, line in enumerate(lines):
        if line.startswith("```"):
            code = not code
        elif not code and (found := re.fullmatch(r"(#+) (.*)", line)):
            yield number, len(found[1]), found[2]


def relinked(text: str, folder: str, page: str) -> str:
    """Text of a folder of the repository with its links as the page needs them.

    What the site does not hold is named without a link.
    """

    def changed(link: re.Match[str]) -> str:
        image, label, target = link.groups()
        path, hash_, anchor = target.partition("#")
        if not path or ":" in path:
            return link[0]
        path = normpath(join(folder, path))
        path = PAGES.get(path, path)
        if not path.startswith("docs/") or not Path(path).suffix:
            return label
        return f"{image}[{label}]({relpath(path, dirname(f'docs/{page}'))}{hash_}{anchor})"

    # In a block of code, PROBES["ntk"](snapshot) looks like a link and is none.
    parts = BLOCK.split(text)
    parts[::2] = [LINK.sub(changed, part) for part in parts[::2]]
    return "".join(parts)
