"""Judge the paper's claims."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from grokinterp.cli.selection import STORE, Load, say_left_out


def audit(
    store: Path = Path(STORE),
    claim: str = "",
    format: Literal["text", "markdown", "json"] = "text",
    load: Load = (),
) -> None:
    """Judge every claim of the paper by the runs that are there; train nothing.

    The rules stand in grokinterp/audit; the audit says what was known when they were written.

    Args:
        store: The folder that holds the runs, beside those that ship with the package.
        claim: Only claims whose name or statement holds this, such as entropy; all when not given.
        format: text, markdown or json.
    """
    import json

    from grokinterp.cli.terminal import wrapped
    from grokinterp.experiments import verdicts
    from grokinterp.reproduction import verdict_text
    from grokinterp.store.progress import say

    say(f"Reading the runs in the store {store}, and those that ship: some seconds.")
    problems: dict[str, str] = {}
    found = verdicts(str(store), problems=problems)
    say_left_out(problems)
    if claim:
        names = dict.fromkeys(one.claim.name for one in found)
        wanted = claim.lower()
        found = [
            one for one in found if wanted in f"{one.claim.name} {one.claim.statement}".lower()
        ]
        if not found:
            raise ValueError(f"no claim holds {claim!r}; there are {', '.join(names)}")
    if format == "json":
        print(json.dumps(verdict_text.data(found), indent=1, ensure_ascii=False))
    else:
        text = format == "text"
        print(wrapped(verdict_text.text(found)) if text else verdict_text.markdown(found))
