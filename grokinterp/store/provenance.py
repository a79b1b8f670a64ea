"""Where a number was made: the versions and the machine.

The last bits of a number depend on them, and over thousands of epochs a bit decides an epoch.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import grokinterp
from grokinterp.config import RunConfig
from grokinterp.store.files import StoreError, read_json, remedy, write_json
from grokinterp.store.recording import definitions


@dataclass(frozen=True)
class Provenance:
    """The versions and the machine that made a number; None is unknown, or not there."""

    grokinterp: str | None = None
    commit: str | None = None
    """Of the checkout that grokinterp was run from, with `-dirty` where files had changed."""
    torch: str | None = None
    transformer_lens: str | None = None
    python: str | None = None
    device: str | None = None
    """cpu, mps, or a GPU with its name."""
    threads: int | None = None
    """That PyTorch used on the CPU."""
    processor: str | None = None
    avx512: bool | None = None
    """Whether the processor has AVX-512, which sums in another order."""

    @property
    def text(self) -> str:
        """JSON in one line, without what is unknown; `parse` takes it back."""
        known = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(known, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> Provenance:
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Provenance:
        """What another version told besides is left out."""
        return cls(**{name: data[name] for name in cls.__dataclass_fields__ if name in data})

    def __str__(self) -> str:
        """For people.

        >>> str(Provenance("0.1.0", torch="2.9.1", device="cpu", threads=2))
        'grokinterp 0.1.0, torch 2.9.1, on cpu, 2 threads'
        >>> str(Provenance())
        'unknown'
        """
        commit = f" ({self.commit})" if self.commit else ""
        parts = [
            f"{name} {value}{commit if name == 'grokinterp' else ''}"
            for name in ("grokinterp", "torch", "transformer_lens", "python")
            if (value := getattr(self, name)) is not None
        ]
        if self.device is not None:
            parts.append(f"on {self.device}")
        if self.threads is not None:
            parts.append(f"{self.threads} thread{'' if self.threads == 1 else 's'}")
        if self.processor is not None:
            parts.append(self.processor)
        if self.avx512 is not None:
            parts.append("AVX-512" if self.avx512 else "no AVX-512")
        return ", ".join(parts) or "unknown"


def here(device: str = "cpu") -> Provenance:
    """Of what this process makes on a device now."""
    import torch

    if device.startswith("cuda"):
        device = f"{device}: {torch.cuda.get_device_name(device)}"
    return Provenance(device=device, threads=torch.get_num_threads(), **_of_process())


def trained_stretches(folder: Path) -> list[dict[str, Any]]:
    """What a run's folder says of where it was trained; StoreError if it does not."""
    path = folder / "provenance.json"
    trained = read_json(path).get("trained")
    if not (isinstance(trained, list) and trained and all(map(_is_stretch, trained))):
        raise StoreError(f"{path} does not say where the run was trained; {remedy(path)}")
    return trained


def write_provenance(
    folder: Path, earlier: list[dict[str, Any]], epoch: int, config: RunConfig, made: Provenance
) -> None:
    """The stretches of before, and the one that begins here; none where it goes on alike."""
    told = {"probes": definitions(config.train), **asdict(made)}
    if not earlier or earlier[-1] != {**earlier[-1], **told}:
        earlier = [*earlier, {"from_epoch": epoch, **told}]
    write_json(folder / "provenance.json", {"trained": earlier})


def _is_stretch(data: object) -> bool:
    kinds = {"from_epoch": int, "probes": dict}
    return isinstance(data, dict) and all(
        isinstance(data.get(name), kind) for name, kind in kinds.items()
    )


@cache
def _of_process() -> dict[str, Any]:
    import torch

    processor, avx512 = _processor()
    return {
        "grokinterp": grokinterp.__version__,
        "commit": _commit(Path(grokinterp.__file__).parents[1]),
        "torch": str(torch.__version__),  # The package's metadata may leave out its build.
        "transformer_lens": _version("transformer-lens"),
        "python": platform.python_version(),
        "processor": processor,
        "avx512": avx512,
    }


def _version(package: str) -> str | None:
    # Without importing it: TransformerLens takes seconds.
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit(root: Path) -> str | None:
    """Of the checkout at a folder; None if it is none, or git cannot say."""
    # Not looked for in the folders above: an environment may lie in another project's checkout.
    if not (root / ".git").exists():
        return None
    environment = {name: value for name, value in os.environ.items() if name[:4] != "GIT_"}
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        said = subprocess.run(
            [*command, "--exclude=*"],
            capture_output=True,
            check=True,
            env=environment,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout.strip() or None


def _processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> tuple[str | None, bool | None]:
    """The model's name, and whether it has AVX-512, where the system tells."""
    try:
        lines = cpuinfo.read_text(errors="replace").splitlines()
    except OSError:
        return platform.processor() or None, None
    told: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        told.setdefault(name.strip(), value.strip())
    model = told.get("model name") or platform.processor() or platform.machine() or None
    return model, "avx512f" in told["flags"].split() if "flags" in told else None
