"""A predictor that remembers rows, and finds those that are like a query.

Rows are found among all that are remembered, embedded anew under the present model. Comparing with each is
exact, and cheaper than embedding them, which an index over a model that moves would need as often; so there
is no index that could be out of step, and nothing is saved. Ask many queries at once: rows are embedded once.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.memory import ReplayBuffer
from tenuto.memory.episodes import Episode, Episodes
from tenuto.models import Body
from tenuto.models.inputs import question
from tenuto.modes import evaluating
from tenuto.predictor import Predictor
from tenuto.randomness import torch_draws

TOGETHER = 1024
"""Rows that are embedded at once."""
By = Literal["features", "inputs"]


class Remembering(Predictor):
    """A predictor with a memory of rows.

    Args:
        memory: None where it keeps none.
    """

    def __init__(
        self, model: nn.Module | None, config: OnlineLearnerConfig, memory: ReplayBuffer | None
    ) -> None:
        self.memory = memory
        super().__init__(model, config)

    def recall(
        self, query: Any, count: int = 5, *, by: By = "features", beta: float | None = None
    ) -> list[list[Episode]]:
        """For each row of a query (n, *shape), at most `count` remembered rows, the likest first.

        Args:
            query: rows as for `predict`, or one row.
            count: rows to find for each.
            by: "features", what the output layer reads under the present model; or "inputs", the rows as
                they are. A model without an output layer of its own is asked by inputs.
            beta: complete the query from memory first (modern Hopfield retrieval at this inverse temperature,
                over vectors of length 1), and find what is like what it became.

        Raises:
            NothingLearned: there is no model yet.
            ConfigError: nothing is remembered, `by` is neither, or `beta` is not above 0.

        >>> from tenuto import Batch, Learner
        >>> learner = Learner()
        >>> _ = learner.learn_batch(Batch(torch.eye(3), ["a", "b", "c"]))
        >>> [[found]] = learner.recall(torch.tensor([0.1, 0.9, 0.0]), 1, by="inputs")
        >>> found.slot, round(found.similarity, 3)
        (1, 0.994)
        """
        body, memory = self.body, self.memory
        if by not in ("features", "inputs"):
            raise ConfigError(f"rows are recalled by features or inputs, not by {by!r}")
        if memory is None or not len(memory):
            raise ConfigError("nothing is remembered that could be recalled")
        asked = embedded(body, question(query, self._shape), by)
        held = embedded(body, memory.table.inputs(torch.arange(len(memory))), by)
        episodes = Episodes(nn.functional.normalize(held, dim=1))
        if beta is not None:
            asked, _ = episodes.complete(nn.functional.normalize(asked, dim=1), beta=beta)
        return episodes.recall(asked, count)


def embedded(body: Body, inputs: Tensor, by: By = "features") -> Tensor:
    """Rows (n, *shape) as vectors (n, d): what the output layer reads of each, or the rows themselves.

    The model is asked in evaluation mode and left as it was.
    """
    if by == "inputs" or body.head is None:
        return body.read(inputs).detach().flatten(1).to("cpu", torch.float32)
    found: list[Tensor] = []
    hook = body.head.layer.register_forward_pre_hook(lambda _, args: found.append(args[0].detach()))
    try:
        with evaluating(body.module), torch.no_grad(), torch_draws(0, "infer", 0):
            for rows in torch.split(inputs, TOGETHER):
                before = len(found)
                body.module(body.read(rows))
                if len(found) != before + 1 or len(found[-1]) != len(rows):
                    raise ConfigError("the output layer does not read one vector per row; recall by inputs")
    finally:
        hook.remove()
    return torch.cat(found).flatten(1).to("cpu", torch.float32)
