"""A model of your own learns a stream, each row once, and keeps what it knew.

Handwritten digits arrive class by class with no word about where one class ends; each class gets
an output when it first appears. Plain fine-tuning ends up with the last class; experience replay,
four of 200 remembered rows beside each fresh one, keeps the others.

    python examples/stream.py
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from tenuto import Batch, Learner, OnlineLearnerConfig


class Net(nn.Module):
    """Images (n, 8, 8) to an output per class: the head starts with one and grows."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 64), nn.ReLU())
        self.head = nn.Linear(64, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Outputs (n, classes)."""
        return self.head(self.body(images.unsqueeze(1)))


def digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images and labels to learn, sorted by class; every fifth row, to test on."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 8, 8)
    tested = np.arange(len(labels)) % 5 == 0
    order = np.argsort(labels[~tested], kind="stable")
    return images[~tested][order], labels[~tested][order], images[tested], labels[tested]


def learn(method: str) -> Learner:
    """A learner at the end of the stream."""
    images, labels, *_ = digits()
    torch.manual_seed(0)
    config = OnlineLearnerConfig(learning_rate=0.1, memory_size=200, replay_ratio=0.8)
    learner = Learner(Net(), config, method=method)
    for start in range(0, len(labels), 10):
        learner.learn_batch(Batch(images[start : start + 10], labels[start : start + 10]))
    return learner


def main() -> None:
    """Print what is known at the end."""
    *_, images, labels = digits()
    print("method  accuracy  remembered")
    for method in ("naive", "er"):
        learner = learn(method)
        accuracy = np.mean(np.array(learner.predict(images).labels) == labels)
        print(f"{method:6}  {accuracy:8.1%}  {learner.stats.remembered:10}")


if __name__ == "__main__":
    main()
