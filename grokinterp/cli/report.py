"""Write the report."""

from __future__ import annotations

from pathlib import Path

from grokinterp.cli.selection import STORE, Load


def report(
    store: Path = Path(STORE),
    out: Path = Path("report.html"),
    circuits: tuple[str, ...] = (),
    load: Load = (),
) -> None:
    """Write one HTML page of what the store, and the package, hold; train nothing.

    The page holds everything that it shows: it opens from the file, with or without a network.

    Args:
        store: The folder that holds the runs, beside those that ship with the package.
        out: Where the page is saved.
        circuits: Whose circuits are drawn: placements that ship trained, and beginnings of ids of
            the store's runs; a choice of both when not given.
    """
    from grokinterp.report import save_report
    from grokinterp.store.files import check_output
    from grokinterp.store.progress import say

    check_output(out)
    print("Reading runs, and drawing figures and circuits: a minute or so.", flush=True)
    path = save_report(str(store), out, circuits or None, lambda stage: say(f"· {stage}"))
    print(f"Report: {path.resolve()} ({path.stat().st_size / 1e6:.1f} MB)")
