"""Pictures of circuits.

They display in JupyterLab and save as one HTML file, without a network.

    page = circuits.page("mlp-pre", {"Attention": circuits.attention_heads(snapshot, 3, 5)})
    page.save("circuits.html")
"""

from __future__ import annotations

from grokinterp.circuits.attention import attention_heads
from grokinterp.circuits.attribution import direct_logit_attribution
from grokinterp.circuits.bars import logit_attribution
from grokinterp.circuits.checkpoints import over_checkpoints
from grokinterp.circuits.circles import circle_coordinates, frequency_circles
from grokinterp.circuits.input_grid import grid
from grokinterp.circuits.page import Page, page
from grokinterp.circuits.picture import Picture
from grokinterp.circuits.qk_ov import circuit_tables

__all__ = [
    "Page",
    "Picture",
    "attention_heads",
    "circle_coordinates",
    "circuit_tables",
    "direct_logit_attribution",
    "frequency_circles",
    "grid",
    "logit_attribution",
    "over_checkpoints",
    "page",
]
