"""What a model says where it trains on wrong answers."""

from __future__ import annotations

import torch

from grokinterp.snapshot import Snapshot


def label_noise(snapshot: Snapshot) -> dict[str, float]:
    """Accuracies on the train pairs, apart: on those with a right answer, and with a wrong one.

    Returns:
        clean_accuracy (float): Of the pairs that train on the right answer. 0 to 1.
        noisy_accuracy (float): Where the task has label_noise, of the others, by the wrong answer
            that they train on: how much of the noise is memorised. 0 to 1.
        restored_accuracy (float): Of the same pairs, by the right answer, which the model never
            saw with them. 0 to 1.

    Nothing to find:
        1/p, the share of right guesses among p answers.

    Source:
        Doshi et al. 2024, arXiv:2310.13061.
    """
    task, train = snapshot.task, snapshot.train
    wrong = task.wrong_labels(snapshot.split_seed)
    rows = torch.tensor([*wrong], dtype=torch.long)
    noisy = torch.zeros(len(train.labels), dtype=torch.bool)
    noisy[rows] = True
    answers = train.logits.argmax(-1).cpu()
    correct = (answers == train.labels.cpu()).double()
    values = {"clean_accuracy": correct[~noisy].mean().item()}
    if wrong:
        pairs, _ = task.split_pairs(snapshot.split_seed)
        right = torch.tensor([task.label(*pairs[row]) for row in wrong])
        values["noisy_accuracy"] = correct[noisy].mean().item()
        values["restored_accuracy"] = (answers[rows] == right).double().mean().item()
    return values
