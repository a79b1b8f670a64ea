"""Where Layer Normalization sits in a block: the independent variable of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

Style = Literal["pre", "post", "peri"]

PATHWAYS = ("q", "k", "v", "mlp")


@dataclass(frozen=True)
class LNPlacement:
    """Which inputs of a block are normalised, and in which style.

    With `x` the residual stream entering the block:

    - `pre`: q, k, v and mlp each read either the residual stream or its norm; the residual stream
      itself is never normalised. The flags choose, so there are 16 of them.
    - `post`: `y = LN(x + attn(x))`, `out = LN(y + mlp(y))`.
    - `peri`: `y = x + LN(attn(LN x))`, `out = y + LN(mlp(LN y))`.

    q, k and v share one norm module (`ln1`) where more than one of them is normalised.

    Args:
        q: Whether the queries read a norm.
        k: Whether the keys do.
        v: Whether the values do.
        mlp: Whether the MLP does.
        style: pre, post or peri.

    Raises:
        ValueError: The style is unknown, or the flags do not fit it.

    Examples:
        >>> resolve_placement("M+A*")
        LNPlacement(q=True, k=True, v=True, mlp=True, style='pre')
        >>> resolve_placement("mlp+q").name
        'q+mlp'
    """

    q: bool = False
    k: bool = False
    v: bool = False
    mlp: bool = False
    style: Style = "pre"

    def __post_init__(self) -> None:
        if self.style not in ("pre", "post", "peri"):
            raise ValueError(f"style must be pre, post or peri; got {self.style!r}")
        inputs = (self.q, self.k, self.v, self.mlp)
        if self.style == "post" and any(inputs):
            raise ValueError(
                "a post placement normalises sums, not inputs: leave q, k, v and mlp False"
            )
        if self.style == "peri" and not all(inputs):
            raise ValueError("a peri placement normalises every input: set q, k, v and mlp True")

    @property
    def attention(self) -> bool:
        """Whether any of q, k and v reads a normalised input."""
        return self.q or self.k or self.v

    @property
    def norm_names(self) -> tuple[str, ...]:
        """The norm modules that a block has, by TransformerLens name, in forward order."""
        if self.style == "post":
            return ("ln1", "ln2")
        if self.style == "peri":
            return ("ln1", "ln1_post", "ln2", "ln2_post")
        return (("ln1",) if self.attention else ()) + (("ln2",) if self.mlp else ())

    @property
    def name(self) -> str:
        """The code name (`mlp-pre`), or the normalised inputs joined by `+` (`q+mlp`)."""
        for name, placement in PLACEMENTS.items():
            if placement == self:
                return name
        return "+".join(pathway for pathway in PATHWAYS if getattr(self, pathway))


PLACEMENTS: dict[str, LNPlacement] = {
    "off": LNPlacement(),
    "attn-pre": LNPlacement(q=True, k=True, v=True),
    "pre": LNPlacement(q=True, k=True, v=True, mlp=True),
    "mlp-pre": LNPlacement(mlp=True),
    "attn-pre-qk": LNPlacement(q=True, k=True),
    "attn-pre-v": LNPlacement(v=True),
    "pre-v": LNPlacement(v=True, mlp=True),
    "post": LNPlacement(style="post"),
    "peri": LNPlacement(q=True, k=True, v=True, mlp=True, style="peri"),
}

PAPER_NAMES: dict[str, str] = {
    "off": "No LN",
    "attn-pre": "A*",
    "pre": "M+A*",
    "mlp-pre": "M",
    "attn-pre-qk": "A^qk",
    "attn-pre-v": "A^v",
    "pre-v": "M+A^v",
}

ALIASES: dict[str, str] = {paper: code for code, paper in PAPER_NAMES.items()}


def pre_norm_lattice() -> tuple[LNPlacement, ...]:
    """All 16 subsets of {q, k, v, mlp} as pre-norm placements, by size."""
    return tuple(
        _pre_norm(subset)
        for size in range(len(PATHWAYS) + 1)
        for subset in combinations(PATHWAYS, size)
    )


def _pre_norm(inputs: Sequence[str]) -> LNPlacement:
    q, k, v, mlp = (pathway in inputs for pathway in PATHWAYS)
    return LNPlacement(q, k, v, mlp)


def resolve_placement(placement: str | LNPlacement) -> LNPlacement:
    """The placement of a code name, a paper name, or inputs joined by `+` (`q+mlp`).

    Args:
        placement: A name; a placement is given back as it is.

    Raises:
        ValueError: There is no such name; the message lists those that there are.
    """
    if isinstance(placement, LNPlacement):
        return placement
    name = ALIASES.get(placement, placement)
    if name in PLACEMENTS:
        return PLACEMENTS[name]
    pathways = str(name).split("+")
    if len(set(pathways)) == len(pathways) and set(pathways) <= set(PATHWAYS):
        return _pre_norm(pathways)
    raise ValueError(
        f"unknown placement {placement!r}; choose one of {', '.join(PLACEMENTS)}, "
        f"a paper name ({', '.join(ALIASES)}), or a subset of {', '.join(PATHWAYS)} "
        "joined by '+', such as q+mlp"
    )


# The authors' code: exact norms in a block, but for the two around the MLP of peri, which keep
# their default, as does the final norm. Their numbers (tests/reference.json) hold only so.
EXACT_EPS = 0.0
DEFAULT_EPS = 1e-5


def norm_eps(placement: LNPlacement, name: str) -> float:
    """The eps of a block's norm, by its name in the block."""
    around_mlp = name in ("ln2", "ln2_post")
    return DEFAULT_EPS if placement.style == "peri" and around_mlp else EXACT_EPS
