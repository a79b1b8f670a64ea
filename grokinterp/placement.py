"""Where Layer Normalization sits in a block: the independent variable of the paper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

LETTERS = {"M": "the MLP", "A*": "q, k and v", "A^qk": "q and k", "A^v": "v"}
"""What the parts of the paper's names normalise the inputs of."""

ALIASES: dict[str, str] = {paper: code for code, paper in PAPER_NAMES.items()}


def both_names(label: str) -> str:
    """The paper's name beside the code's, where a label is a placement or begins with one.

    Args:
        label: A placement by either name, what may follow it after a comma; any other label is
            given back as it is.

    Examples:
        >>> both_names("mlp-pre"), both_names("No LN, float32"), both_names("post")
        ('M · mlp-pre', 'No LN · off, float32', 'post')
    """
    name, comma, rest = label.partition(",")
    code = ALIASES.get(name, name)
    return f"{PAPER_NAMES[code]} · {code}{comma}{rest}" if code in PAPER_NAMES else label


def names_key(labels: Iterable[str]) -> str:
    """What the paper's names of these placements mean; empty where none of them has one.

    Args:
        labels: As for `both_names`.

    Examples:
        >>> names_key(["off", "mlp-pre, float32", "post"])
        'M: LN before the MLP.'
        >>> names_key(["pre", "attn-pre-qk"])
        'M: LN before the MLP; A*: LN before q, k and v; A^qk: LN before q and k.'
    """
    heads = [label.partition(",")[0] for label in labels]
    codes = [ALIASES.get(one, one) for one in heads]
    papers = [PAPER_NAMES[code] for code in codes if code in PAPER_NAMES]
    letters = {letter for paper in papers for letter in paper.split("+")}
    said = [
        f"{letter}: LN before {inputs}" for letter, inputs in LETTERS.items() if letter in letters
    ]
    return f"{'; '.join(said)}." if said else ""


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
