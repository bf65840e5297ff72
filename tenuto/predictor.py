"""The predictor: rows of one shape in, answers out.

A model that was given has its form at once, but for the shape; otherwise the first row settles it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from tenuto import models, tasks
from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError, NothingLearned
from tenuto.models.inputs import question, stack
from tenuto.protocols import Task
from tenuto.randomness import torch_draws
from tenuto.types import Batch, Label, OnlineExample, Prediction, State


class Predictor:
    """A model and what its outputs mean.

    Args:
        model: any module; None: a multilayer perceptron made for the first row's shape.
        config: settings.

    >>> predictor = Predictor(nn.Linear(2, 2), OnlineLearnerConfig(classes=("cat", "dog")))
    >>> predictor.predict_proba([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).shape
    torch.Size([3, 2])
    """

    def __init__(self, model: nn.Module | None, config: OnlineLearnerConfig) -> None:
        self.config = config
        self.task: Task = tasks.make(config)
        self._shape: tuple[int, ...] | None = None
        self._body: models.Body | None = None
        self._given = model is not None
        if model is not None:
            self._adopt(model)

    @property
    def model(self) -> nn.Module:
        """The module being trained."""
        return self.body.module

    @property
    def body(self) -> models.Body:
        """The module with its parameters by name."""
        if self._body is None:
            raise NothingLearned(
                "there is no model yet: it is made for the first row's shape, so learn a row first"
            )
        return self._body

    @property
    def shape(self) -> tuple[int, ...] | None:
        """The shape of one row; None before the first."""
        return self._shape

    def outputs(self, inputs: Any) -> Tensor:
        """Raw outputs (n, c) for rows (n, *shape), in evaluation mode; nothing changes."""
        return self.body.infer(question(inputs, self._shape))

    def predict(self, inputs: Any) -> Prediction:
        """Answers for rows (n, *shape), or for one row of that shape; nothing changes."""
        return self.task.answer(self.outputs(inputs))

    def predict_proba(self, inputs: Any) -> Tensor:
        """Class probabilities (n, c); columns are in the order of `predict(...).classes`.

        Raises:
            ConfigError: under regression, which has none.
        """
        answer = self.predict(inputs)
        if answer.probabilities is None:
            raise ConfigError("regression has no class probabilities; use predict")
        return answer.probabilities

    def check(self, example: OnlineExample) -> None:
        """Return where the model, if there is one yet, can read such an example; nothing changes.

        Raises:
            ExampleError: it cannot.
        """
        if self._body is not None:
            self._body.check(self._body.settle(stack([example, example]).inputs))

    def fixed_labels(self) -> frozenset[Label] | None:
        """The only labels it can take, where that is settled before the first row; None: any."""
        if self.config.task != "classification" or self.config.head != "fixed":
            return None
        width = self._body.width or 0 if self._body is not None else 0
        return frozenset(self.config.classes or range(width)) or None

    def _settle(self, rows: Batch) -> None:
        """Take the form of the first rows."""
        self._shape = tuple(rows.inputs.shape[1:])
        if self._body is None:
            regression = self.config.task == "regression"
            columns = tasks.Regression().encode(rows.targets).shape[1] if regression else 0
            self._build(self._shape, columns or len(self.config.classes or ()))

    def _unsettle(self, body: models.Body | None, task: Task) -> None:
        """Take back what the first rows settled."""
        self._body, self.task, self._shape = body, task, None

    def _form(self) -> State:
        """The shape of a row, the model and its task, as plain data."""
        return {
            "shape": None if self._shape is None else list(self._shape),
            "outputs": None if self._body is None else self._body.width,
            "model": {} if self._body is None else self._body.state(),
            "task": self.task.state(),
        }

    def _take_form(self, state: State) -> None:
        shape = None if state["shape"] is None else tuple(state["shape"])
        if not self._given and state["outputs"] is None:
            self._body, self.task = None, tasks.make(self.config)
        elif not self._given and (self._body is None or shape != self._shape):
            self._build(tuple(state["shape"]), outputs=state["outputs"])
        if self._body is not None:
            self._body.load_state(state["model"])
        self._shape = shape
        self.task.load_state(state["task"])

    def _build(self, shape: tuple[int, ...], outputs: int) -> None:
        with torch_draws(self.config.seed, "model", 0):
            module = models.default(shape, self.config.hidden, outputs)
        self._adopt(module.to(self.config.device))

    def _adopt(self, module: nn.Module) -> None:
        self._body = models.Body(module, self.config.head_layer)
        width, classes = self._body.width, self.config.classes or ()
        if width is not None and len(classes) > width:
            raise ConfigError(
                f"classes lists {len(classes)} labels, but the model answers with {width} outputs: "
                f"give it {len(classes)}, or leave classes out"
            )
        self.task = tasks.make(self.config)
