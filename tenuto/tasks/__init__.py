"""What targets mean: classification with a growing head, regression, language."""

from __future__ import annotations

from tenuto.config import OnlineLearnerConfig
from tenuto.protocols import Task
from tenuto.tasks.classification import Classification
from tenuto.tasks.language import Language
from tenuto.tasks.regression import Regression

__all__ = ["Classification", "Language", "Regression", "make"]


def make(config: OnlineLearnerConfig) -> Task:
    """The task a config names."""
    if config.task == "regression":
        return Regression()
    if config.task == "language":
        return Language()
    return Classification(config.classes or ())
