"""What a model says where it trains on wrong answers."""

from __future__ import annotations

import torch

from grokinterp.snapshot import NotApplicable, Snapshot


def label_noise(snapshot: Snapshot) -> dict[str, float]:
    """Accuracies on the train pairs, apart: on those with a right answer, and with a wrong one.

    Returns:
        clean_accuracy (float): Of the pairs that train on the right answer. 0 to 1.
        noisy_accuracy (float): Of the others, by the wrong answer that they train on: how much of
            the noise is memorised. 0 to 1.
        restored_accuracy (float): Of the same pairs, by the right answer, which the model never
            saw with them. 0 to 1.

    Raises:
        NotApplicable: No train pair of the task has a wrong answer.

    Nothing to find:
        1/p, the share of right guesses among p answers.
    """
    task, train = snapshot.task, snapshot.train
    wrong = task.wrong_labels(snapshot.seed)
    if not wrong:
        raise NotApplicable(
            f"it compares train pairs that have a wrong answer with the others, and of {task} none "
            "has; give it a model of a task with label_noise, as ModularTask(label_noise=0.1)"
        )
    rows = torch.tensor([*wrong])
    noisy = torch.zeros(len(train.labels), dtype=torch.bool)
    noisy[rows] = True
    answers, labels = train.logits.argmax(-1).cpu(), train.labels.cpu()
    pairs, _ = task.split_pairs(snapshot.seed)
    right = torch.tensor([task.label(*pairs[row]) for row in wrong])
    return {
        "clean_accuracy": (answers == labels)[~noisy].double().mean().item(),
        "noisy_accuracy": (answers == labels)[noisy].double().mean().item(),
        "restored_accuracy": (answers[rows] == right).double().mean().item(),
    }
