"""A run's losses and accuracies as data that the page draws: every number, unaltered."""

from __future__ import annotations

import base64
import json
import zlib

import numpy as np
import pandas as pd
from markupsafe import Markup

from grokinterp.circuits.document import script_json
from grokinterp.grokking import GrokkingTimes

COLUMNS = ("epoch", "train_accuracy", "test_accuracy", "train_loss", "test_loss")


def pack_curves(metrics: pd.DataFrame, times: GrokkingTimes) -> Markup:
    """JSON: the columns one after the other, deflated, in base64.

    In float32 where that loses nothing, as of a model trained in it, and in float64 otherwise.
    """
    values = np.stack([metrics[name].to_numpy(dtype="<f8") for name in COLUMNS])
    short = values.astype("<f4")
    exact = np.array_equal(short.astype("<f8"), values, equal_nan=True)
    content = (short if exact else values).tobytes()
    data = {
        "columns": COLUMNS,
        "type": "float32" if exact else "float64",
        "deflated": base64.b64encode(zlib.compress(content)).decode(),
        "marks": {"memorised": times.memorised.by, "generalised": times.generalised.by},
    }
    return script_json(data)


def unpack_curves(packed: str) -> pd.DataFrame:
    """The columns that `pack_curves` was given."""
    data = json.loads(packed)
    content = zlib.decompress(base64.b64decode(data["deflated"]))
    values = np.frombuffer(content, dtype={"float32": "<f4", "float64": "<f8"}[data["type"]])
    return pd.DataFrame(dict(zip(data["columns"], values.reshape(len(COLUMNS), -1), strict=True)))
