"""Reading and writing a store's files: atomic writes, checked reads, nothing unpickled."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


class StoreError(RuntimeError):
    """A store that cannot be read or written; the message says which file, and what to do."""


class NoStoreError(StoreError):
    """There is nothing yet where a store was looked for."""


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_whole(path, lambda target: target.write_text(json.dumps(data, indent=1) + "\n"))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Save a table with a checksum of its content."""
    # NaN stays NaN: below a null, Arrow leaves the bytes open, and the checksum covers them.
    columns = {str(name): pa.array(table[name].to_numpy(), from_pandas=False) for name in table}
    arrow = pa.table(columns)
    arrow = arrow.replace_schema_metadata({b"sha256": _table_checksum(arrow)})
    # Curves compress better byte by byte: all exponents together, then all first digits, and so on.
    floats = [field.name for field in arrow.schema if pa.types.is_floating(field.type)]
    others = [name for name in columns if name not in floats]
    write_whole(
        path,
        lambda target: pq.write_table(
            arrow,
            target,
            compression="zstd",
            use_byte_stream_split=floats,
            use_dictionary=others,
            # They would be a second copy of some numbers, which the checksum does not cover.
            write_statistics=False,
        ),
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Save tensors with `about` as metadata, and a checksum of both."""
    described = {"about": json.dumps(about, sort_keys=True)}
    contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
    metadata = {**described, "sha256": checksum(tensors, described["about"])}
    write_whole(path, lambda target: save_file(contiguous, target, metadata=metadata))


def read_json(path: Path) -> dict[str, Any]:
    return _read(path, _load_json)


def read_table(path: Path) -> pd.DataFrame:
    return _read(path, _load_table)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and what `write_tensors` was told about them."""
    return _read(path, _load_tensors)


def checksum(tensors: Mapping[str, Tensor], about: str) -> str:
    """Of the names, the values and a text beside them; a file's header holds the shapes."""
    digest = hashlib.sha256(about.encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _table_checksum(table: pa.Table) -> bytes:
    plain = table.replace_schema_metadata(None).combine_chunks()
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, plain.schema) as stream:
        stream.write_table(plain)
    return hashlib.sha256(sink.getvalue()).hexdigest().encode()


def fingerprint(tensors: Mapping[str, Tensor]) -> str:
    """16 hexadecimal digits that identify these tensors, by name, dtype, shape and value."""
    kinds = {name: f"{tensor.dtype}{list(tensor.shape)}" for name, tensor in tensors.items()}
    return checksum(tensors, json.dumps(kinds, sort_keys=True))[:16]


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Write beside the target, then move over it: a reader sees the old file or the new one."""
    try:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        temporary.touch(exist_ok=False)
        try:
            mode = temporary.stat().st_mode
            write(temporary)
            # Libraries make files that are their owner's alone; a store may be shared.
            temporary.chmod(mode)
            with temporary.open("rb") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except Exception as error:  # safetensors wraps a full disk in an exception of its own
        raise StoreError(
            f"cannot write {path}: {error}; what was saved before is intact, so make room or "
            "grant access, and run the same command again"
        ) from error


def check_output(path: Path) -> None:
    """Make the folder of a file that is to be written later; ValueError if it cannot be written.

    Asked before the work whose outcome goes there.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error}; choose another path") from error


def _load_json(path: Path) -> dict[str, Any]:
    data = json.loads(path.read_text())
    if not isinstance(data, dict):
        raise ValueError(f"it must hold an object; it holds {data!r:.40}")
    return data


def _load_table(path: Path) -> pd.DataFrame:
    # A file object: given a path, pyarrow would try to see folders and datasets in it.
    with path.open("rb") as file:
        arrow = pq.ParquetFile(file).read()
    if (arrow.schema.metadata or {}).get(b"sha256") != _table_checksum(arrow):
        raise ValueError("its checksum does not match its content")
    return arrow.to_pandas()


def _load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata["sha256"] != checksum(tensors, metadata["about"]):
        raise ValueError("its checksum does not match its content")
    return tensors, json.loads(metadata["about"])


def _read(path: Path, load: Callable[[Path], Any]) -> Any:
    try:
        return load(path)
    except FileNotFoundError as error:
        raise StoreError(f"{path} is missing; {remedy(path, missing=True)}") from error
    except PermissionError as error:
        raise StoreError(f"{path} cannot be read ({error}); grant access to it") from error
    except Exception as error:  # each format's library has exceptions of its own for damage
        raise StoreError(f"{path} is damaged ({error}); {remedy(path)}") from error


RETRAIN = "train the run again, which begins anew from epoch 0"
REMEDIES = {
    "store.json": 'write {"format": 2} into it',
    "config.json": "train the same run again, which writes it anew",
    "provenance.json": "train the same run again, which writes it anew",
    "status.json": "train the run again, which goes on from its last save, or begins anew if it "
    "was over",
    "metrics.parquet": RETRAIN,
    "state.safetensors": RETRAIN,
    "probes.parquet": "probe the run again",
    "probes": "probe the run at this epoch again, with --again (again=True)",
    "checkpoints": "use the run's others",
}
"""By a file's name or its folder's: what to do without a backup once the file is gone."""


def remedy(path: Path, missing: bool = False) -> str:
    """What to do about one bad file of a store; never to delete more than that file."""
    what = REMEDIES.get(path.name) or REMEDIES.get(path.parent.name)
    if what is None:
        return "restore it"
    return f"restore it, or {what}" if missing else f"restore it, or delete this file and {what}"
