"""A run under interventions, beside random controls."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from grokinterp.cli.selection import STORE, Load, select

if TYPE_CHECKING:
    from grokinterp.store.run import Run


def ablate(
    run: Annotated[str, tyro.conf.arg(metavar="RUN")],
    /,
    hook: tuple[str, ...],
    epoch: int | None = None,
    controls: int = 20,
    seed: int = 0,
    store: Path = Path(STORE),
    load: Load = (),
) -> None:
    """Print loss and accuracy, intact and under interventions, and keep them in the store.

    Args:
        run: The beginning of a run's id, or a placement that ships trained, such as mlp-pre: then
            nothing is kept.
        hook: Interventions, all attached at once: UnitNorm:mlp, AblateHead:2,kind=mean,
            AblateNeurons:neurons=(1,2), cluster:5 for the neurons of a frequency, or
            FilterFrequencies:blocks.0.mlp.hook_post,frequencies=(5,),keep=false.
        epoch: An epoch that has a checkpoint; the last when not given.
        controls: Random controls of the same size, where something was chosen among several: so
            many different ones, or all that there are.
        seed: Drives them.
        store: The folder that holds the runs.
    """
    from grokinterp.hooks import parse_intervention
    from grokinterp.options import parse_call

    # What is misspelt is told before torch is imported; a cluster is known by the run's model.
    for text in hook:
        if parse_call(text)[0] != "cluster":
            parse_intervention(text)

    from grokinterp.ablation import SCORES, parse, scalars, summarise
    from grokinterp.ablation import ablate as measure_ablation
    from grokinterp.cli.terminal import NOTHING, show
    from grokinterp.config import RunConfig
    from grokinterp.definition import definition_of
    from grokinterp.placement import ALIASES, PLACEMENTS
    from grokinterp.pretrained import pretrained_card, pretrained_snapshot
    from grokinterp.store.files import StoreError
    from grokinterp.store.progress import say

    kept = None
    if run in (*PLACEMENTS, *ALIASES):
        snapshot = pretrained_snapshot(run)
        if epoch is not None:
            snapshot = snapshot.other(epoch)
        name = RunConfig.from_dict(pretrained_card(run)["config"]).name
    else:
        kept = _found(store, run)
        snapshot = kept.snapshot(epoch)
        name = kept.config.name
    interventions = [parse(snapshot, text) for text in hook]
    say(
        f"to measure: the run as it is, {', '.join(hook)}, and at most {controls} random controls, "
        "where something was chosen among several"
    )
    table = measure_ablation(snapshot, interventions, controls, seed)
    scored = scalars(table)
    record = f"ablation:{'+'.join(hook)}"
    assert snapshot.epoch is not None
    if kept is not None:
        definitions = [definition_of(type(item)) for item in interventions]
        defined = dict.fromkeys([definition_of(measure_ablation), *definitions])
        values = {(record, key): value for key, value in scored.items()}
        try:
            kept.records.add(snapshot.epoch, values, {}, {record: "+".join(defined)})
        except (OSError, StoreError) as error:  # A store that can only be read.
            say(f"not kept: {error}")
    print(f"{name}, epoch {snapshot.epoch:,}: {', '.join(map(str, hook))}")
    found = summarise(table)
    written = found.map("{:.4f}".format).replace("nan", NOTHING)
    print(show(written.assign(n=found["n"].map(str)), index=True))
    if all(scored[f"ablated.{score}"] == scored[f"intact.{score}"] for score in SCORES):
        print("Nothing changed: what this takes out, the model does not have, or does not use.")
    if "control" not in set(table["condition"]):
        print("A whole pathway has no random control of its size.")


def _found(store: Path, id: str) -> Run:
    """The run of a store whose id begins so.

    Raises:
        ValueError: There is none, or more than one.
    """
    from grokinterp.results import shipped_runs

    if not store.exists() and shipped_runs().select(id=id):
        raise ValueError(
            f"the runs that ship, as {id!r}, have no weights; give a placement, such as mlp-pre, "
            "for the trained model that ships, or train the run"
        )
    found = select(store, id=id)
    if len(found) != 1:
        raise ValueError(
            f"{len(found)} runs of {store} begin with {id!r}, and one must; grokinterp runs "
            f"--store {store} lists them all"
        )
    return found[0]
