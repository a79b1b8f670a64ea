"""Several pictures on one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from grokinterp.circuits.document import document, render
from grokinterp.circuits.picture import Picture, Shown


@dataclass(frozen=True, repr=False)
class Page(Shown):
    """Headed sections of pictures."""

    title: str
    sections: tuple[tuple[str, tuple[Picture, ...]], ...]
    about: str = ""

    @property
    def html(self) -> str:
        """The page."""
        body = render("circuits/page.html", page=self)
        kinds = {picture.kind for _, pictures in self.sections for picture in pictures}
        return document(self.title, body, kinds)

    def __repr__(self) -> str:
        return f"Page({self.title!r}, sections={[heading for heading, _ in self.sections]})"


def page(title: str, sections: Mapping[str, Picture | Sequence[Picture]], about: str = "") -> Page:
    """A page with a picture, or several, under each heading.

    However many pictures it holds, scripts are in it once: 25 kB, and CircuitsVis's 1.3 MB if
    there is an attention picture.

    Args:
        title: The page's title.
        sections: Pictures by heading, in the order of the page.
        about: A paragraph under the title.
    """
    if not sections:
        raise ValueError("a page needs at least one section; give {heading: picture, ...}")
    groups = {
        heading: (group,) if isinstance(group, Picture) else tuple(group)
        for heading, group in sections.items()
    }
    return Page(title, tuple(groups.items()), about)
