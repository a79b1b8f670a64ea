"""Probe checkpoints of runs."""

from __future__ import annotations

from pathlib import Path

from grokinterp.cli.selection import STORE, Load, condition, select


def probe(
    run: tuple[str, ...] = (),
    /,
    where: tuple[str, ...] = (),
    probes: tuple[str, ...] = ("cheap",),
    epochs: tuple[int, ...] = (),
    leads: bool = False,
    again: bool = False,
    store: Path = Path(STORE),
    load: Load = (),
) -> None:
    """Compute probes on the checkpoints of runs, keep them in the store, and print them.

    What the store holds already is not computed again.

    Args:
        run: Beginnings of run ids; every run of the store when none is given.
        where: Keep the runs with these config values, such as placement=mlp-pre seed=456.
        probes: Names, with options as in shortcut:convention=paper; or cheap, or all.
        epochs: Epochs that have a checkpoint; every checkpoint when not given.
        leads: Print how long before generalising each value crossed its threshold, or came
            within 10 % of its extreme, and came to rest on its plateau, in place of the values.
        again: Compute what is there too, and replace it.
        store: The folder that holds the runs.
    """
    from grokinterp.probes.calls import expand

    # What is misspelt is told before torch is imported.
    conditions = dict(condition(text) for text in where)
    expand(probes)

    import pandas as pd

    from grokinterp.cli.cost import ProbingCost
    from grokinterp.cli.terminal import show
    from grokinterp.store.files import StoreError
    from grokinterp.store.lead_times import StandsStill, lead_times
    from grokinterp.store.probe import probe as probe_runs
    from grokinterp.store.progress import Bar, Several, say
    from grokinterp.store.run_tables import probe_table

    chosen = [found for start in run or ("",) for found in select(store, id=start, **conditions)]
    chosen = list({found.id: found for found in chosen}.values())
    if not chosen:
        raise ValueError(f"no run of {store} fits; grokinterp runs --store {store} lists them all")
    observer = Several([ProbingCost(len(chosen), len(expand(probes))), Bar()])
    found = probe_runs(chosen, probes, epochs or None, again=again, observer=observer)
    # What was found of none of its checkpoints has been said.
    for one in [one for one in chosen if (found["run"] == one.id).any()]:
        try:
            generalised = str(one.grokking.generalised)
            rules = (None, StandsStill()) if leads else ()
            times = [lead_times(one, rule) for rule in rules]
        except StoreError as error:
            say(f"{one.id[:8]}: {error}")
            generalised, times = "?", []
        print(f"\n{one.id[:8]}  {one.config.name}: generalised {generalised}")
        if times:
            table = pd.concat(times).sort_values(["probe", "name"], kind="stable")
            table = table[table["probe"].isin(found["probe"])]
            met = table[table["by"].notna()].drop(columns="after").astype(object)
            print(show(met) if len(met) else "nothing met its rule")
            if left := len(table) - len(met):
                print(f"{left} of {len(table)} rules were not met")
        elif not leads:
            print(show(probe_table(found[found["run"] == one.id]), index=True, of="epoch "))
