"""A picture that JupyterLab shows and that saves as one HTML file, without the network."""

from __future__ import annotations

import base64
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from markupsafe import Markup
from torch import Tensor

from grokinterp.circuits.document import document, render, script_json

Kind = Literal["attention", "heatmaps", "circles", "bars"]


class Shown(ABC):
    """What has an `html` page: JupyterLab displays it, and `save` writes it."""

    @property
    @abstractmethod
    def html(self) -> str:
        """The page: it holds its data, scripts and styles, and loads nothing."""

    def save(self, path: str | Path) -> Path:
        """Write one HTML file that any browser opens, with or without a network.

        Its buttons save the picture as PNG and SVG.

        Raises:
            ValueError: The path has another suffix than .html, or its folder does not exist.
        """
        path = Path(path)
        if path.suffix.lower() not in (".html", ".htm"):
            raise ValueError(
                f"a picture is saved as HTML, to a file that ends in .html; got {path.name!r} "
                "(buttons in the page save it as PNG and SVG)"
            )
        if not path.parent.is_dir():
            raise ValueError(f"the folder {path.parent} must exist; make it, then save {path.name}")
        path.write_text(self.html, encoding="utf-8")
        return path

    def _repr_html_(self) -> str:
        return str(render("circuits/notebook_frame.html", html=self.html))


@dataclass(frozen=True)
class Frame:
    """What is drawn of one checkpoint."""

    epoch: int | None
    data: dict[str, Any]


@dataclass(frozen=True, repr=False)
class Picture(Shown):
    """One picture: of a checkpoint, or of several with a slider between them."""

    kind: Kind
    title: str
    caption: str
    frames: tuple[Frame, ...]
    model: str = ""
    """Whose it is, as `Snapshot.title` says it: a file that is saved says so too."""

    @property
    def html(self) -> str:
        """The page of this picture."""
        return document(self.title, render("circuits/picture.html", picture=self), {self.kind})

    @property
    def data(self) -> Markup:
        """What the page's script draws."""
        frames = [asdict(frame) for frame in self.frames]
        return script_json({"kind": self.kind, "frames": frames})

    def __repr__(self) -> str:
        epochs = [frame.epoch for frame in self.frames if frame.epoch is not None]
        return f"Picture({self.title!r}" + (f", epochs={epochs})" if epochs else ")")


def pack(values: np.ndarray | Tensor) -> dict[str, Any]:
    """An array as little-endian float32 in base64, a fifth of its size as JSON text."""
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    content = np.ascontiguousarray(array, dtype="<f4").tobytes()
    return {"shape": list(array.shape), "float32": base64.b64encode(content).decode()}


def unpack(packed: dict[str, Any]) -> np.ndarray:
    """The array that `pack` was given, as float32."""
    content = base64.b64decode(packed["float32"])
    return np.frombuffer(content, dtype="<f4").reshape(packed["shape"])
