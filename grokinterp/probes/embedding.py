"""How periodic the token embedding is."""

from __future__ import annotations

import numpy as np

from grokinterp.snapshot import Snapshot


def fourier_concentration(snapshot: Snapshot) -> dict[str, float | np.ndarray]:
    """C_Fourier of arXiv:2602.06702: variance between frequencies over variance within.

    With S = |rfft(W_E[:p], over tokens)|ᵀ, [d_model, ⌊p/2⌋ + 1]: the population variance over
    frequencies of the column means, divided by mean((S - column mean)²) + 1e-8. At least 1 means
    periodic; Gaussian weights give nearly 0. `per_frequency`: the column means.
    """
    w_e = snapshot.model.W_E[: snapshot.task.p].detach().cpu().double().numpy()
    spectrum = np.abs(np.fft.rfft(w_e, axis=0)).T
    columns = spectrum.mean(0)
    within = ((spectrum - columns) ** 2).mean()
    return {"value": float(columns.var() / (within + 1e-8)), "per_frequency": columns}
