"""Write the tables of the claims and the findings from the runs that ship: python docs/tables.py.

Each stands between `<!-- table NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import pandas as pd

import grokinterp as gi
from grokinterp.experiments.precision import MOST_CHANGED
from grokinterp.reproduction.cached_run import CachedRun
from grokinterp.reproduction.experiment import Done
from grokinterp.reproduction.plan import make_plan
from grokinterp.reproduction.published import best_seed_epochs, generalisation_epochs
from grokinterp.reproduction.recipe import FRESH_SEEDS, SEEDS
from grokinterp.reproduction.tables import runs_table, seeds_table
from grokinterp.reproduction.verdict_text import overview

DOCS = Path(__file__).parent
PAGES = (DOCS / "claims.md", DOCS / "findings.md")
BLOCK = re.compile(r"(<!-- table (\S+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
# Only what ships, whatever this folder's own store holds.
NOWHERE = "no-store"
READ: dict[str, CachedRun] = {}
"""Each run is read once, however many tables take it."""
SHORTCUT_EPOCHS = (100, 200, 500, 1000, 1500, 2000, 2500, 5000, 10_000)


def markdown(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def table_of(experiment: str, name: str) -> pd.DataFrame:
    return tables_of(experiment)[name].copy()


@cache
def tables_of(experiment: str) -> Mapping[str, pd.DataFrame]:
    return gi.EXPERIMENTS[experiment].results(done(experiment)).tables


def done(experiment: str, seeds: Sequence[int] | None = None) -> Done:
    return make_plan(gi.EXPERIMENTS[experiment], NOWHERE, seeds, read=READ).done


def by_seed(table: pd.DataFrame, rows: str, value: str, title: str) -> str:
    """A row for each label, a column for each seed."""
    seeds = list(dict.fromkeys(table["seed"]))
    wide = {name: group.set_index("seed")[value] for name, group in table.groupby(rows, sort=False)}
    return markdown(
        [title, *(f"seed {seed}" for seed in seeds)],
        [[name, *(of.get(seed, "–") for seed in seeds)] for name, of in wide.items()],
    )


def positions() -> str:
    """Of the paper's seeds, beside the paper's numbers."""
    found = done("ln-position", SEEDS)
    seeds = seeds_table(found, generalisation_epochs())
    first: dict[str, list[int]] = {}
    for planned, run in found:
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
            [
                f"`{name}`",
                ", ".join(map(str, SEEDS)),
                *rest,
                f"{min(first[name]):,}",
                f"{best[name]:,}",
            ]
            for name, _, *rest in seeds.itertuples(index=False)
        ],
    )


def fresh_positions() -> str:
    runs = runs_table(done("attention-pathways", FRESH_SEEDS))
    return by_seed(runs, "label", "generalised", "epoch of generalising")


def precision() -> str:
    runs = table_of("precision", "runs")
    return by_seed(runs, "label", "generalised", "epoch of generalising, by the loss's precision")


def precision_path() -> str:
    """From epoch 500 on: how far the train loss is thrown up, and how far the rank falls.

    A rise is the train loss over the lowest one before it.
    """
    rows = []
    for planned, run in done("precision"):
        case, precision = planned.label.split(", ")
        if case not in MOST_CHANGED:
            continue
        late = run.metrics[run.metrics["epoch"] >= 500]
        rise = (late["train_loss"] / late["train_loss"].cummin()).max()
        recorded = "compressibility.effective_rank"
        ranks = late[recorded].dropna() if recorded in late else []
        rows.append(
            [
                case,
                precision,
                planned.config.seed,
                f"{rise:,.0f}" if rise >= 10 else f"{rise:.2f}",
                *([f"{min(ranks):.1f}", f"{ranks.iloc[-1]:.1f}"] if len(ranks) else ["–", "–"]),
            ]
        )
    head = ["No LN", "the loss in", "seed", "largest rise of the train loss"]
    return markdown([*head, "lowest effective rank", "at the end"], rows)


def recipe() -> str:
    found = [table_of(name, "runs") for name in ("weight-decay", "learning-rate", "readout-scale")]
    title = "epoch of generalising, No LN"
    return by_seed(pd.concat(found, ignore_index=True), "label", "generalised", title)


def claims() -> str:
    return overview(gi.verdicts(NOWHERE, READ))


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


def whole(experiment: str, name: str, columns: Mapping[str, str] | None = None) -> str:
    """A table of an experiment as it is, or these columns of it, by their titles here."""
    found = table_of(experiment, name)
    if columns is not None:
        found = found[[*columns.values()]].set_axis([*columns], axis=1)
    rows = found.itertuples(index=False)
    return markdown(list(found), [[cell(value) for value in row] for row in rows])


def cell(value: object) -> str:
    if not isinstance(value, float):
        return f"{value:,}" if isinstance(value, int) else str(value)
    return f"{value:,.0f}" if value >= 100 else f"{value:.3f}"


def shortcut() -> str:
    """Of `attn-pre-v`, first seed."""
    run = next(run for one, run in done("attention-pathways") if one.label == "attn-pre-v")
    rises = {
        "the paper's convention": "shortcut:convention=paper,split=train",
        "isolated": "shortcut:split=train",
    }
    found = run.metrics.set_index("epoch")
    return markdown(
        ["epoch", *(f"{epoch:,}" for epoch in SHORTCUT_EPOCHS)],
        [
            [name, *(f"{found[f'{probe}.train_loss_rise'][e]:.2f}" for e in SHORTCUT_EPOCHS)]
            for name, probe in rises.items()
        ],
    )


TABLES: dict[str, Callable[[], str]] = {
    "transplant": transplant,
    "uniform-attention": uniform_attention,
    "direction-or-norm": direction_or_norm,
    "ln-position": positions,
    "ln-position-fresh": fresh_positions,
    "precision": precision,
    "precision-path": precision_path,
    "recipe": recipe,
    "claims": claims,
    "shortcut": shortcut,
    "long-training": lambda: by_seed(
        table_of("long-training", "runs"), "label", "generalised", "epoch of generalising"
    ),
    "norm-clamp": lambda: by_seed(
        table_of("norm-clamp", "runs"), "label", "generalised", "epoch of generalising"
    ),
    "optimizers": lambda: by_seed(
        table_of("optimizers", "runs"), "label", "generalised", "epoch of generalising"
    ),
    "softmax-collapse": lambda: by_seed(
        table_of("softmax-collapse", "runs"), "label", "generalised", "epoch of generalising"
    ),
    "beyond-addition": lambda: by_seed(
        table_of("beyond-addition", "runs"), "label", "generalised", "epoch of generalising"
    ),
    "progress-measures": lambda: whole("progress-measures", "progress_measures"),
    "split-or-weights": lambda: whole("split-or-weights", "epochs"),
    "spread": lambda: whole("split-or-weights", "spread"),
    "order": lambda: whole("split-or-weights", "order"),
}


def filled(page: str, tables: Mapping[str, Callable[[], str]] = TABLES) -> str:
    """The page with those of these tables that it holds made anew."""

    def made(block: re.Match[str]) -> str:
        begin, name, before, end = block.groups()
        return begin + (f"{tables[name]()}\n" if name in tables else before) + end

    return BLOCK.sub(made, page)


def fill(tables: Mapping[str, Callable[[], str]] = TABLES) -> None:
    """Write these tables into the pages that hold them."""
    for path in PAGES:
        path.write_text(filled(path.read_text(), tables))


if __name__ == "__main__":
    fill()
