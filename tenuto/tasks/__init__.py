"""What targets mean: classification with a growing head, regression."""

from __future__ import annotations

from tenuto.config import OnlineLearnerConfig
from tenuto.protocols import Task
from tenuto.tasks.classification import Classification
from tenuto.tasks.regression import Regression

__all__ = ["Classification", "Regression", "make"]


def make(config: OnlineLearnerConfig) -> Task:
    """The task a config names."""
    if config.task == "regression":
        return Regression()
    return Classification(config.classes or ())
