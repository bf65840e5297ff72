"""The joint-training bound: the same rows and the same model, all mixed and seen again and again.

What no learner of a stream can be expected to beat.
"""

from __future__ import annotations

from tenuto.config import OnlineLearnerConfig
from tenuto.learner import Learner
from tenuto.models.inputs import tensor
from tenuto.randomness import permutation
from tenuto.studies.contexts import Contexts, accuracies
from tenuto.types import Batch


def bound(contexts: Contexts, config: OnlineLearnerConfig, *, epochs: int) -> float:
    """The accuracy, averaged over contexts, after `epochs` passes over all rows in random order.

    >>> import numpy as np
    >>> from tenuto.studies.contexts import class_incremental
    >>> labels = np.arange(80) % 4
    >>> rows = np.eye(4, dtype=np.float32)[labels]
    >>> made = class_incremental(rows, labels, seed=0, per_context=2, batch=5)
    >>> bound(made, OnlineLearnerConfig(learning_rate=0.1), epochs=2)
    1.0
    """
    learner = Learner(config=config, method="naive")
    for epoch in range(epochs):
        order = permutation(config.seed, f"joint {epoch}", len(contexts.labels))
        for start in range(0, len(order), config.batch_size):
            rows = order[start : start + config.batch_size]
            learner.learn_batch(Batch(tensor(contexts.inputs[rows]), contexts.labels[rows].tolist()))
    found = accuracies([learner.predict(inputs).labels for inputs, _ in contexts.tests], contexts)
    return sum(found) / len(found)
