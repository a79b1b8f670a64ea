"""List runs."""

from __future__ import annotations

from pathlib import Path

from grokinterp.cli.selection import STORE, Load, condition, select


def runs(
    store: Path = Path(STORE),
    id: str = "",
    where: tuple[str, ...] = (),
    load: Load = (),
) -> None:
    """List the runs of a store as a table; with --id, show one in detail.

    Args:
        store: The folder that holds the runs.
        id: Show the run whose id begins so.
        where: Keep the runs with these config values, such as placement=mlp-pre seed=456.
    """
    conditions = dict(condition(text) for text in where)

    from grokinterp.cli.terminal import show
    from grokinterp.store.progress import say
    from grokinterp.store.run_tables import details, table

    found = select(store, id=id, **conditions)
    if id and len(found) == 1:
        print(details(found[0]))
    elif found:
        print(show(table(found, say)))
    else:
        print(f"no run of {store} fits; grokinterp runs --store {store} lists them all")
