from itertools import product

import pytest

from grokinterp.placement import (
    ALIASES,
    PAPER_NAMES,
    PATHWAYS,
    PLACEMENTS,
    LNPlacement,
    both_names,
    names_key,
    pre_norm_lattice,
    resolve_placement,
)

# SPEC's table: code name, paper's name, which of q, k, v and mlp read a norm.
TABLE = [
    ("off", "No LN", ""),
    ("attn-pre", "A*", "q k v"),
    ("pre", "M+A*", "q k v mlp"),
    ("mlp-pre", "M", "mlp"),
    ("attn-pre-qk", "A^qk", "q k"),
    ("attn-pre-v", "A^v", "v"),
    ("pre-v", "M+A^v", "v mlp"),
]


@pytest.mark.parametrize(("code", "paper", "inputs"), TABLE)
def test_the_paper_s_placements(code: str, paper: str, inputs: str) -> None:
    placement = resolve_placement(code)
    assert placement.style == "pre"
    assert [path for path in PATHWAYS if getattr(placement, path)] == inputs.split()
    assert placement.name == code
    assert resolve_placement(paper) == placement
    assert PAPER_NAMES[code] == paper


@pytest.mark.parametrize(("code", "paper", "inputs"), TABLE)
def test_both_names_and_what_the_paper_s_means(code: str, paper: str, inputs: str) -> None:
    assert both_names(code) == both_names(paper) == f"{paper} · {code}"
    assert both_names(f"{code}, float32") == f"{paper} · {code}, float32"
    # The key tells of each letter once, and together of all inputs that read a norm.
    said = names_key([code, paper])
    told = [part.split(": LN before ")[1] for part in said.rstrip(".").split("; ") if part]
    words = " ".join(told).replace(",", "").replace(" and", "").replace("the MLP", "mlp").split()
    assert sorted(words) == sorted(inputs.split())


@pytest.mark.parametrize("label", ["post", "q+mlp", "lr 0.01", "official", "no LN from 500"])
def test_what_has_no_name_of_the_paper_s_is_left_as_it_is(label: str) -> None:
    assert both_names(label) == label
    assert names_key([label]) == ""


def test_every_name_is_in_the_table() -> None:
    assert set(PLACEMENTS) == {code for code, _, _ in TABLE} | {"post", "peri"}
    assert {code: paper for paper, code in ALIASES.items()} == PAPER_NAMES
    assert set(PAPER_NAMES) == {code for code, _, _ in TABLE}


def test_the_lattice_is_every_subset_once() -> None:
    lattice = pre_norm_lattice()
    subsets = {(p.q, p.k, p.v, p.mlp) for p in lattice}
    assert len(lattice) == 16
    assert subsets == set(product([False, True], repeat=4))
    assert {placement.style for placement in lattice} == {"pre"}
    assert [p.q + p.k + p.v + p.mlp for p in lattice] == [0] + [1] * 4 + [2] * 6 + [3] * 4 + [4]


@pytest.mark.parametrize("placement", [*pre_norm_lattice(), PLACEMENTS["post"], PLACEMENTS["peri"]])
def test_the_name_leads_back(placement: LNPlacement) -> None:
    assert resolve_placement(placement.name) == placement
    assert resolve_placement(placement) is placement


def test_the_order_of_the_inputs_does_not_matter() -> None:
    assert resolve_placement("mlp+q") == resolve_placement("q+mlp")
    assert resolve_placement("v+k+q").name == "attn-pre"


@pytest.mark.parametrize("placement", pre_norm_lattice())
def test_one_norm_serves_the_attention_and_one_the_mlp(placement: LNPlacement) -> None:
    attention = placement.q or placement.k or placement.v
    assert placement.attention == attention
    assert placement.norm_names == ("ln1",) * attention + ("ln2",) * placement.mlp


def test_norms_of_post_and_peri() -> None:
    assert PLACEMENTS["post"].norm_names == ("ln1", "ln2")
    assert PLACEMENTS["peri"].norm_names == ("ln1", "ln1_post", "ln2", "ln2_post")


@pytest.mark.parametrize("name", ["preln", "", "q+q", "q+", "q,k", "post+q", "Pre", None, 3])
@pytest.mark.usefixtures("unchecked")
def test_an_unknown_name_is_answered_with_the_choices(name: object) -> None:
    with pytest.raises(ValueError, match="unknown placement") as error:
        resolve_placement(name)
    for word in (repr(name), *PLACEMENTS, *ALIASES, "q+mlp"):
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"style": "sandwich"}, ["style", "pre, post or peri", "'sandwich'"]),
        ({"style": "post", "mlp": True}, ["post", "q, k, v and mlp False"]),
        ({"style": "peri", "q": True}, ["peri", "q, k, v and mlp True"]),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_a_contradiction_is_refused(arguments: dict, words: list[str]) -> None:
    with pytest.raises(ValueError, match=words[0]) as error:
        LNPlacement(**arguments)
    assert all(word in str(error.value) for word in words)
