"""Direct logit attribution as a picture."""

from __future__ import annotations

import numpy as np

from grokinterp.circuits.attribution import direct_logit_attribution
from grokinterp.circuits.picture import Frame, Picture
from grokinterp.snapshot import Snapshot


def logit_attribution(snapshot: Snapshot) -> Picture:
    """What each part of the model adds to the correct logit: see `direct_logit_attribution`."""
    found = snapshot.once(direct_logit_attribution)
    rows = [("direct path of “=”", found["direct"], "")]
    heads = np.asarray(found["heads"])
    for layer in range(len(heads)):
        of = f" of layer {layer}" if len(heads) > 1 else ""
        rows += [(f"head {head}{of}", value, "") for head, value in enumerate(heads[layer])]
        sizes = np.asarray(found["cluster_sizes"])[layer]
        rows += [
            (f"neurons of frequency {k}{of}", value, f"{size} neurons" if size else "none")
            for k, (value, size) in enumerate(
                zip(np.asarray(found["clusters"])[layer], sizes, strict=True), start=1
            )
        ]
        others = np.asarray(found["neurons"]).shape[1] - sizes.sum()
        unclustered = np.asarray(found["unclustered"])[layer]
        rows.append((f"neurons of no one frequency{of}", unclustered, f"{others} neurons"))
    rows += [("biases", found["biases"], ""), ("correct logit", found["correct_logit"], "")]
    # Numbered before empty clusters go, so that checkpoints agree on the order.
    bars = [
        {"order": order, "label": label, "value": float(value), "note": note}
        for order, (label, value, note) in enumerate(rows)
        if note != "none"
    ]
    return Picture(
        "bars",
        "What writes the correct logit",
        "Correct logit less the mean over the answers, mean over all inputs; the parts sum to the "
        "last bar. Where every answer is equally frequent, what is the same for every input adds "
        "nothing. Norms "
        "between a part and the readout keep the scale that they have on each input.",
        (Frame(snapshot.epoch, {"bars": bars}),),
        snapshot.title,
    )
