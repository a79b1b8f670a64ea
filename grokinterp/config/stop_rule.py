"""When a run stops early."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from grokinterp.checks import check_one_of
from grokinterp.config.recorded import METRICS


@dataclass(frozen=True)
class StopRule:
    """Stop once `metric` has met the threshold at every evaluation for `hold` epochs.

    >>> StopRule.parse("test_accuracy >= 0.995 for 200")
    StopRule(metric='test_accuracy', comparison='>=', threshold=0.995, hold=200)
    """

    metric: str
    comparison: Literal[">=", "<="]
    threshold: float
    hold: int = 0

    @classmethod
    def parse(cls, text: str) -> StopRule:
        number = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
        match = re.fullmatch(
            rf"\s*([\w.]+)\s*(>=|<=)\s*({number})\s*(?:for\s+(\d+)(?:\s+epochs)?)?\s*", text
        )
        if match is None:
            raise ValueError(
                "stop_when must read like 'test_accuracy >= 0.995 for 200' "
                f"(metric, >= or <=, threshold, epochs it must hold); got {text!r}"
            )
        metric, comparison, threshold, hold = match.groups()
        check_one_of("stop_when metric", metric, METRICS)
        return cls(metric, comparison, float(threshold), int(hold or 0))  # type: ignore[arg-type]

    def met(self, value: float) -> bool:
        return value >= self.threshold if self.comparison == ">=" else value <= self.threshold
