"""Write the README's tables of results from the runs that ship: python docs/tables.py.

Each stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pandas as pd

import grokinterp as gi
from grokinterp.experiments.audit import summary
from grokinterp.experiments.experiment import Done
from grokinterp.experiments.plan import make_plan
from grokinterp.experiments.published import best_seed_epochs

README = Path(__file__).parents[1] / "README.md"
# Only what ships, whatever this folder's own store holds.
NOWHERE = "no-store"


def markdown(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def table_of(experiment: str, name: str) -> pd.DataFrame:
    return gi.results_of(gi.EXPERIMENTS[experiment], NOWHERE).tables[name]


def done(experiment: str) -> Done:
    return make_plan(gi.EXPERIMENTS[experiment], NOWHERE).done


def by_seed(table: pd.DataFrame, rows: str, value: str, title: str) -> str:
    """A row for each label, a column for each seed."""
    seeds = list(dict.fromkeys(table["seed"]))
    wide = {name: group.set_index("seed")[value] for name, group in table.groupby(rows, sort=False)}
    return markdown(
        [title, *(f"seed {seed}" for seed in seeds)],
        [[name, *(of.get(seed, "–") for seed in seeds)] for name, of in wide.items()],
    )


def positions() -> str:
    seeds = table_of("ln-position", "seeds")
    runs = table_of("ln-position", "runs")
    which = runs.groupby("label")["seed"].apply(lambda of: ", ".join(map(str, of)))
    first: dict[str, list[int]] = {}
    for planned, run in done("ln-position"):
        perfect = run.metrics["epoch"][run.metrics["test_accuracy"] == 1]
        first.setdefault(planned.label, []).append(int(perfect.min()))
    best = best_seed_epochs()
    return markdown(
        [
            "placement",
            "seeds",
            "generalised",
            "median",
            "of the mean curve",
            "paper, mean curve of five",
            "best seed, accuracy 1",
            "paper, best of five",
        ],
        [
            [f"`{name}`", which[name], *rest, f"{min(first[name]):,}", f"{best[name]:,}"]
            for name, _, *rest in seeds.itertuples(index=False)
        ],
    )


def precision() -> str:
    runs = table_of("precision", "runs")
    return by_seed(runs, "label", "generalised", "epoch of generalising, by the loss's precision")


def recipe() -> str:
    found = [table_of(name, "runs") for name in ("weight-decay", "learning-rate", "readout-scale")]
    title = "epoch of generalising, No LN"
    return by_seed(pd.concat(found, ignore_index=True), "label", "generalised", title)


def claims() -> str:
    found = gi.audit(NOWHERE)
    rows = []
    for one in found:
        counts = sorted({len(finding.values) for finding in one.findings})
        said = one.claim.statement.replace("<=", "≤").replace("^2", "²").replace("alpha", "α")
        if one.convention:
            said += f" ({one.convention})"
        seeds = " to ".join(map(str, dict.fromkeys((counts[0], counts[-1]))))
        rows.append([said[0].upper() + said[1:], f"**{one.verdict}**", seeds])
    return f"{markdown(['claim', 'verdict', 'seeds'], rows)}\n\n{summary(found)}."


def transplant() -> str:
    title = "epochs from the transplant to generalising"
    found = table_of("transplant", "transplant")
    return by_seed(found, "transplant", "generalised after", title)


def uniform_attention() -> str:
    found = table_of("uniform-attention", "uniform_attention")
    return by_seed(found, "training", "generalised", "epoch of generalising")


def direction_or_norm() -> str:
    found = table_of("direction-or-norm", "direction_or_norm")
    columns = {
        "x/‖x‖": ("x/‖x‖: rise of train loss", 2),
        "norm of another example": ("norm of another: rise of train loss", 3),
        "label read off the norm, above shuffled labels": (
            "label from the norm, above shuffled labels",
            3,
        ),
    }
    return markdown(
        ["when memorised, rise of the train loss (nats)", *columns],
        [
            [f"`{name}`", *(spread(group[column], d) for column, d in columns.values())]
            for name, group in found.groupby("placement", sort=False)
        ],
    )


def spread(values: pd.Series, digits: int) -> str:
    """From the least to the largest; one number where they are printed alike."""
    # Added, because -0.0 would be printed as such.
    ends = (f"{round(end, digits) + 0.0:.{digits}f}" for end in (values.min(), values.max()))
    return " to ".join(dict.fromkeys(ends))


TABLES: dict[str, Callable[[], str]] = {
    "transplant": transplant,
    "uniform-attention": uniform_attention,
    "direction-or-norm": direction_or_norm,
    "ln-position": positions,
    "precision": precision,
    "recipe": recipe,
    "claims": claims,
}


def filled(readme: str) -> str:
    """The README with its tables made anew."""
    for name, make in TABLES.items():
        begin, end = f"<!-- table {name} -->\n", "<!-- end -->"
        if readme.count(begin) != 1:
            raise ValueError(f"README.md must hold {begin.strip()} once")
        before, after = readme.split(begin)
        readme = before + begin + make() + "\n" + after[after.index(end) :]
    return readme


if __name__ == "__main__":
    README.write_text(filled(README.read_text()))
