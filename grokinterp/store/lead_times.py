"""Lead times: how long before generalising a probe shows it coming."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import pandas as pd

from grokinterp.checks import check_kind
from grokinterp.grokking import Crossing, first_crossing, plateau
from grokinterp.store.run import Run

# Within this share of the extreme counts as having reached it, as arXiv:2602.06702 reads its
# compressibility curves.
CLOSE = 0.1


@dataclass(frozen=True)
class Threshold:
    """The first recorded epoch whose value is at least, or at most, a stated one."""

    comparison: Literal[">=", "<="]
    value: float

    def met(self, values: pd.Series) -> pd.Series:
        return values >= self.value if self.comparison == ">=" else values <= self.value

    def __str__(self) -> str:
        return f"{self.comparison} {self.value:g}"


@dataclass(frozen=True)
class NearExtreme:
    """The first recorded epoch whose value lies within 10 % of the run's extreme.

    The minimum is that of what follows the maximum: untrained features have a low effective
    rank too, and rise before they fall.
    """

    extreme: Literal["minimum", "maximum"]

    def met(self, values: pd.Series) -> pd.Series:
        counted = values
        if self.extreme == "minimum":
            counted = values.where(values.reset_index(drop=True).index >= values.argmax())
        end = counted.min() if self.extreme == "minimum" else counted.max()
        return (counted - end).abs() <= CLOSE * abs(end)

    def __str__(self) -> str:
        return f"within 10 % of its {self.extreme}"


@dataclass(frozen=True)
class StandsStill:
    """The first recorded epoch of the value's plateau, as `grokinterp.plateau` has it.

    From there on its running median stays within 5 % of its last value, to the end of the run.
    """

    def met(self, values: pd.Series) -> pd.Series:
        epochs = values.index.to_numpy()
        recorded = pd.DataFrame({"epoch": epochs, "value": values.to_numpy()})
        since = plateau(recorded, "value").since
        return pd.Series(since is not None and epochs >= since, index=values.index)

    def __str__(self) -> str:
        return "stands still from here"


Rule = Threshold | NearExtreme | StandsStill

RULES: dict[tuple[str, str], Rule] = {
    ("fourier_concentration", "value"): Threshold(">=", 1.0),
    ("compressibility", "effective_rank"): NearExtreme("minimum"),
    ("compressibility", "alpha"): NearExtreme("minimum"),
    ("softmax_collapse", "zero_loss"): Threshold(">=", 0.5),
}
"""Where the literature states a threshold or a direction; other values are looked up both ways."""


def first_met(values: pd.Series, rule: Rule) -> Crossing:
    """When values, by ascending epoch, first meet a rule.

    What the first record meets already was not crossed, before it is left and met again.
    """
    met = rule.met(values)
    met &= (~met).cummax()
    return first_crossing(values.index.tolist(), met.tolist())


def lead_times(run: Run, rules: dict[tuple[str, str], Rule] | Rule | None = None) -> pd.DataFrame:
    """When each scalar that was recorded for a run meets its rule, and how long before it
    generalised.

    Args:
        run: A run with online probes, or one that was probed afterwards.
        rules: By probe and value name, in place of RULES; or one for every value. `StandsStill()`,
            from grokinterp.store.lead_times, asks from when each is on its plateau: a value that
            comes to rest after the run generalises has a negative lead.

    Returns:
        A row for each value and rule: probe, name, rule, `after` and `by` (the rule is first met
        in the epochs (after, by]; `by` missing: not within `after`), and `lead`, the generalising
        epoch less `by`, in epochs; missing where either is censored. A rule that the first record
        meets already is crossed where it is met again after a break.

    Raises:
        ValueError: It is no run.
    """
    check_kind("run", run, Run, "one of open_store('runs')")
    stated = RULES if rules is None else rules if isinstance(rules, dict) else {}
    generalised = run.grokking.generalised.by
    unstated: tuple[Rule, ...] = (NearExtreme("minimum"), NearExtreme("maximum"))
    if rules is not None and not isinstance(rules, dict):
        unstated = (rules,)
    rows = []
    for key, table in run.probes.groupby(["probe", "name"]):
        probe, name = map(str, cast(tuple, key))
        values = table.dropna(subset="value").set_index("epoch")["value"].sort_index()
        if values.empty:
            continue
        base = probe.partition(":")[0]
        rule = stated.get((probe, name)) or stated.get((base, name))
        rows += [
            (probe, name, str(one), *_epochs(first_met(values, one), generalised))
            for one in (unstated if rule is None else (rule,))
        ]
    columns = ["probe", "name", "rule", "after", "by", "lead"]
    return pd.DataFrame(rows, columns=columns).astype({"by": "Int64", "lead": "Int64"})


def _epochs(found: Crossing, generalised: int | None) -> tuple[int, int | None, int | None]:
    if found.by is None or generalised is None:
        return found.after, found.by, None
    return found.after, found.by, generalised - found.by
