"""Against the numbers that the authors' own code gave, in float64."""

from ast import literal_eval

import pytest
import torch
import torch.nn.functional as F
from golden import ENTRIES, TASK, Golden, golden
from torch import Tensor

from grokinterp.config import RunConfig, TrainConfig
from grokinterp.training.forward import last_position

every_entry = pytest.mark.parametrize("key", ENTRIES)
every_path = pytest.mark.parametrize("path", ["hooked", "fast"])

# What a key's prefix says, apart from the entry's own config.
PREFIXES = {
    "rms": {"norm": "rms"},
    "depth3": {"n_layers": 3},
    "final-ln": {"final_norm": "learned"},
    "final-ln-center-only": {"final_norm": "center-only"},
    "gated": {"gated_mlp": True},
    "tied": {"tied_unembedding": True},
    "alpha1.5": {"readout_scale": 1.5},
    "alpha0.5-coupled-lr": {"readout_scale": 0.5},
}


def logits_of(case: Golden, path: str, tokens: Tensor) -> Tensor:
    model = case.build()
    with torch.no_grad():
        if path == "hooked":
            return model(tokens)[:, -1]
        parameters = {name: value[None] for name, value in model.named_parameters()}
        scale = torch.tensor([case.model.readout_scale], dtype=torch.float64)
        return last_position(case.model, parameters, tokens[None], scale)[0][0]


@every_path
@every_entry
def test_logits_at_init(key: str, path: str) -> None:
    case = golden(key)
    inputs = case.entry["logits_at_init"]
    assert len(inputs) == 3
    tokens, _ = TASK.encode([literal_eval(pair) for pair in inputs])
    expected = torch.tensor(list(inputs.values()), dtype=torch.float64)
    # atol: the values were rounded to 12 decimals.
    torch.testing.assert_close(logits_of(case, path, tokens), expected, rtol=1e-8, atol=1e-12)


@every_path
@every_entry
def test_losses_and_accuracies_at_init(key: str, path: str) -> None:
    case = golden(key)
    split = TASK.split(seed=0)
    for side in ("train", "test"):
        labels = getattr(split, f"{side}_labels")
        logits = logits_of(case, path, getattr(split, f"{side}_tokens"))
        loss = F.cross_entropy(logits, labels).item()
        accuracy = (logits.argmax(-1) == labels).double().mean().item()
        assert loss == pytest.approx(case.entry["at_init"][f"{side}_loss"], rel=1e-12)
        assert accuracy == pytest.approx(case.entry["at_init"][f"{side}_accuracy"], abs=1e-12)


@every_entry
def test_number_of_parameters(key: str) -> None:
    case = golden(key)
    count = sum(p.numel() for p in case.build().parameters())
    assert count == case.entry["n_parameters"]


@every_entry
def test_configuration_says_what_the_key_says(key: str) -> None:
    case = golden(key)
    prefix, _, placement = key.rpartition(":")
    defaults = {"norm": "layer", "n_layers": 1, "final_norm": "none", "gated_mlp": False}
    defaults |= {"tied_unembedding": False, "readout_scale": 1.0, "placement": placement}
    expected = defaults | PREFIXES.get(prefix, {})
    assert {name: getattr(case.model, name) for name in expected} == expected
    train = TrainConfig(lr=case.base_lr, couple_lr_to_readout=case.couple_lr_to_readout)
    run = RunConfig(TASK, case.model, train)
    assert (run.lr, run.weight_decay, run.train.adam_eps) == (
        case.lr,
        case.weight_decay,
        case.adam_eps,
    )


def test_there_are_twenty_entries_and_no_unknown_prefix() -> None:
    assert len(ENTRIES) == 20
    assert {key.rpartition(":")[0] for key in ENTRIES} == {"", *PREFIXES}
