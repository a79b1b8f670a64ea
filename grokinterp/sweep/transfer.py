"""A finished run as bytes, for a store on another machine."""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath

from grokinterp.store.files import write_whole
from grokinterp.store.run import Run

Parcel = dict[str, bytes]

# Written last: it says that the run is over.
LAST = "status.json"


def pack(run: Run) -> Parcel:
    """The run's files, by their path in its folder; not who trains it, nor half-written ones."""
    return {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file()
        and path.name not in ("lock", "owner.json")
        and not path.name.startswith(".")
    }


def unpack(parcel: Parcel, run: Run) -> None:
    """Write the files into the run's folder, so that a kill at any moment is harmless."""
    for name in sorted(parcel, key=lambda name: name == LAST):
        target = run.path.joinpath(*PurePosixPath(name).parts)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, partial(_write, parcel[name]))
    # What an earlier, interrupted training here would have gone on from.
    (run.path / "state.safetensors").unlink(missing_ok=True)


def _write(content: bytes, scratch: Path) -> None:
    scratch.write_bytes(content)
