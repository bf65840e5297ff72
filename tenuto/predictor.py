"""The predictor: rows of one shape in, answers out.

A model that was given has its form at once, but for the shape; otherwise the first row settles it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from tenuto import models, tasks, trees
from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError, ExampleError, NothingLearned
from tenuto.models import weights as warm
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
        self._warm: trees.Tree = {}
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

    def warm_start(self, weights: Mapping[str, Tensor] | str | Path) -> None:
        """Begin from named tensors, or a `.safetensors` file of them, by the names of the model's own.

        The head's may be left out: it is then new. Before the first row a head that grows takes their
        width, and its columns mean what those of a given model mean; later every shape must fit. A model
        that is yet to be made takes them with the first row.

        Raises:
            ConfigError: a name or a shape is not the model's; nothing has changed.

        >>> import torch
        >>> predictor = Predictor(nn.Linear(2, 1), OnlineLearnerConfig(task="regression"))
        >>> predictor.warm_start({"weight": torch.ones(1, 2), "bias": torch.zeros(1)})
        >>> predictor.predict([[1.0, 2.0]]).labels
        [3.0]
        """
        found = warm.read(weights)
        if self._body is None:
            self._warm = warm.fitted(self._sketch(found), found, regrow=self._regrows)
        elif self._shape is None:
            self._begin(self._body, found)
        else:
            warm.put(self._body, warm.fitted(self._body, found, regrow=False))

    @property
    def _regrows(self) -> bool:
        """May a head take the width of the weights it begins from?"""
        config = self.config
        return config.task == "classification" and config.head == "grow" and config.classes is None

    def _sketch(self, weights: trees.Tree) -> models.Body:
        """The default model for rows as long as these weights read."""
        first = weights.get("body.0.weight" if self.config.hidden else "head.weight")
        features = first.shape[1] if first is not None and first.dim() == 2 else 1
        outputs = len(self.config.classes or ())
        if self.config.task == "regression":
            outputs = len(weights.get("head.bias", (0,)))
        with torch_draws(self.config.seed, "model", 0):
            return models.Body(
                models.default((features,), self.config.hidden, outputs), self.config.head_layer
            )

    def _begin(self, body: models.Body, weights: trees.Tree) -> None:
        warm.put(body, warm.fitted(body, weights, regrow=self._regrows and body.grows))
        self._adopt(body.module)

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
            if self._warm:
                try:
                    self._begin(self.body, self._warm)
                except ConfigError as error:
                    raise ExampleError(f"such rows do not fit the weights to begin from: {error}") from error

    def _unsettle(self, body: models.Body | None, task: Task) -> None:
        """Take back what the first rows settled."""
        self._body, self.task, self._shape = body, task, None

    def _form(self) -> State:
        """The shape of a row, the model and its task, as plain data."""
        return {
            "shape": None if self._shape is None else list(self._shape),
            "outputs": None if self._body is None else self._body.width,
            "model": dict(self._warm) if self._body is None else self._body.state(),
            "task": self.task.state(),
        }

    def _take_form(self, state: State) -> None:
        shape = None if state["shape"] is None else tuple(state["shape"])
        if not self._given and state["outputs"] is None:
            self._body, self.task = None, tasks.make(self.config)
            self._warm = trees.copy(state["model"])
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
