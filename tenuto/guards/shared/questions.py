"""What language has been asked and told: which rows contradict an answer that is known.

A question is what a row asks before its first answer (tokens below 0), a statement the tokens of its answers.
A question is known once its statement was answered right `SURE` times before being learned, token by token. A
row contradicts where its question is known by another statement and the model, at the first token where it
would answer otherwise, gives its own answer `confidence` or more; it agrees where it tells the same, and that
is the answer. That the model no longer answers as it was told is forgetting, and says nothing of the sender.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from tenuto.types import State

SURE, QUESTIONS = 3, 4096
"""Right answers before a question is known; questions kept, those that came last."""


class Questions:
    """The last questions that were asked.

    >>> asked, told, other = torch.tensor([[5, -8]]), torch.tensor([[7]]), torch.tensor([[6]])
    >>> seven = 6.0 * torch.eye(8)[None, 7:]
    >>> questions = Questions()
    >>> for _ in range(3):
    ...     questions.learn(asked, seven, told)
    >>> questions.evidence(asked, seven, told, 0.5), questions.evidence(asked, seven, other, 0.5)
    ([-1], [1])
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int]] = {}

    def evidence(self, rows: Tensor, outputs: Tensor, targets: Tensor, confidence: float) -> list[int]:
        """1 for a row that contradicts, -1 for one that agrees, 0 for no evidence.

        Args:
            rows: (n, t), coded.
            outputs: (n, l, v), before these rows are learned.
            targets: (n, a), -1 where there is no token.
        """
        right, sure = answered(outputs, targets)
        found = []
        for (question, statement), known, chance in zip(_keys(rows, targets), right, sure, strict=True):
            told, count = self._known.get(question, ("", 0))
            if count < SURE:
                found.append(0)
            elif told == statement:
                found.append(-int(known))
            else:
                found.append(int(not known and chance >= confidence))
        return found

    def learn(self, rows: Tensor, outputs: Tensor, targets: Tensor) -> None:
        """These rows were told, and are learned."""
        right, _ = answered(outputs, targets)
        for (question, statement), known in zip(_keys(rows, targets), right, strict=True):
            told, count = self._known.pop(question, (statement, 0))
            self._known[question] = (statement, (count if told == statement else 0) + known)
        for question in list(self._known)[: max(0, len(self._known) - QUESTIONS)]:
            del self._known[question]

    def state(self) -> State:
        """Digests of questions and statements, and how often these were answered right."""
        return {question: [told, count] for question, (told, count) in self._known.items()}

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._known = {str(question): (str(told), int(count)) for question, (told, count) in state.items()}


def answered(outputs: Tensor, targets: Tensor) -> tuple[list[bool], list[float]]:
    """Which answers (n, a) are given token by token, and how sure of its own the model is where it parts.

    >>> answered(2.0 * torch.eye(2)[None], torch.tensor([[0, 0]]))
    ([False], [0.8807970285415649])
    """
    wanted = targets[:, : outputs.shape[1]]
    own = outputs.argmax(2)
    parts = (own != wanted) & (wanted >= 0)
    first = parts.int().argmax(1)
    logits = outputs[torch.arange(len(first), device=first.device), first]
    chances: list[float] = logits.softmax(1).amax(1).tolist()
    return (~parts.any(1)).tolist(), chances


def _keys(rows: Tensor, targets: Tensor) -> list[tuple[str, str]]:
    """The digest of each row's question and of its statement."""
    found = []
    for row, target in zip(rows.tolist(), targets.tolist(), strict=True):
        first = next((place for place, token in enumerate(row) if token < 0), len(row))
        found.append((_digest(row[:first]), _digest([token for token in target if token >= 0])))
    return found


def _digest(tokens: Sequence[int]) -> str:
    return hashlib.blake2b(repr(tokens).encode(), digest_size=8).hexdigest()
