"""Photograph a circuit and the report for the README, in Chromium: python docs/screenshots.py.

It takes a minute or two, most of it for the report, which it makes of the runs that ship.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

from pictures import DOCS, small

import grokinterp as gi
from grokinterp import circuits
from grokinterp.cli import main

NAMES = ("chromium", "chromium-browser", "chrome", "google-chrome")
CLAIM = "claim-ln_position_modulates_grokking"


def photograph(page: Path, picture: Path, width: int, height: int) -> None:
    """The top of a page, so many pixels of it, as a dense screen shows it.

    Raises:
        OSError: There is no Chromium.
    """
    browser = next(filter(None, map(shutil.which, NAMES)), None)
    if browser is None:
        raise OSError(f"a browser must be there: one of {', '.join(NAMES)}")
    shot = page.with_suffix(".png")
    options = [
        *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
        *("--hide-scrollbars", "--virtual-time-budget=5000", "--force-device-scale-factor=1.5"),
        *(f"--user-data-dir={page.with_suffix('')}", f"--window-size={width},{height}"),
        *(f"--screenshot={shot}", page.as_uri()),
    ]
    subprocess.run([browser, *options], check=True, capture_output=True)
    picture.write_bytes(small(shot.read_bytes()))
    print(f"{picture.stat().st_size / 1000:4.0f} kB {picture.relative_to(DOCS)}")


def circuit(path: Path) -> Path:
    """The embedding of the grokked model, on the circles of its key frequencies."""
    snapshot = gi.pretrained_snapshot("mlp-pre", "grokked")
    keys = gi.PROBES["key_frequencies"](snapshot)["frequencies"].tolist()
    return circuits.frequency_circles(snapshot, keys).save(path)


def only(report: Path, claim: str) -> None:
    """Hide all of a report but one claim: a page is photographed from its top."""
    page = report.read_text(encoding="utf-8")
    if f'id="{claim}"' not in page:
        raise ValueError(f"the report must have the claim {claim}")
    others = f"section:not(#claims), .claim:not(#{claim}), #claims > :is(p, ul, ol), nav"
    style = f"<style>{others} {{ display: none !important }}</style></head>"
    report.write_text(page.replace("</head>", style, 1), encoding="utf-8")


if __name__ == "__main__":
    with TemporaryDirectory() as made:
        folder = Path(made)
        page = circuit(folder / "circuit.html")
        photograph(page, DOCS / "pictures" / "circuit.png", 900, 560)
        page = folder / "report.html"
        main(["report", "--store", str(folder / "no-store"), "--out", str(page)])
        only(page, CLAIM)
        photograph(page, DOCS / "pictures" / "report.png", 900, 700)
