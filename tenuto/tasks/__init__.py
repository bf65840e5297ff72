"""What targets mean: classification with a growing head, regression."""

from __future__ import annotations

from tenuto.config import OnlineLearnerConfig
from tenuto.protocols import Task
from tenuto.tasks.classification import Classification
from tenuto.tasks.regression import Regression

__all__ = ["Classification", "Regression", "make"]


def make(config: OnlineLearnerConfig, columns: int = 0) -> Task:
    """The task a config names, for a head that has `columns` outputs already."""
    if config.task == "regression":
        return Regression()
    return Classification(config.classes or (), columns)
