"""What the rules of the claims read of runs."""

from __future__ import annotations

from collections.abc import Mapping

from grokinterp.audit.finding import Convention

NTK = "ntk"
ENTROPIES: Mapping[Convention, str] = {
    "paper": "attention_entropy:convention=paper",
    "per head": "attention_entropy",
}
SHORTCUTS: Mapping[Convention, str] = {
    "paper": "shortcut:convention=paper,split=train",
    "isolated": "shortcut:split=train",
}
SHUFFLED = "shortcut:kind=shuffle_norm,split=train"
RISE = "train_loss_rise"
