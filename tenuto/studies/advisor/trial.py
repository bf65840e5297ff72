"""The trial: methods learn the head of a stream, and are asked for what they kept and what they cost.

Every fifth row is held out and never learned. Accuracy is measured at the end on all of those; progressive
accuracy just before each row is learned; cost is CPU time per row over plain fine-tuning.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tenuto.config import OnlineLearnerConfig
from tenuto.learner import Learner
from tenuto.models.inputs import stack
from tenuto.studies.advisor.tree import Advice
from tenuto.types import OnlineExample

HELD_OUT = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """What a method made of the head of a stream.

    Args:
        method: its name.
        accuracy: at the end, on rows held out from all of it; under regression the R^2.
        progressive: the share answered right just before being learned; None under regression.
        cost: CPU time per row, in microseconds.
        refused: rows whose update the guard refused.
    """

    method: str
    accuracy: float
    progressive: float | None
    cost: float
    refused: int


def compare(
    head: Sequence[OnlineExample],
    methods: Mapping[str, Mapping[str, Any]],
    config: OnlineLearnerConfig,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> list[Score]:
    """Let each method learn the head, best first.

    Args:
        head: the first rows of a stream, in its order.
        methods: options by method.
        config: of every learner.
        on_progress: told the method, and rows learned of how many.

    >>> head = [OnlineExample(input=[i % 2, 1.0], target=i % 2) for i in range(100)]
    >>> [score.method for score in compare(head, {"naive": {}}, OnlineLearnerConfig(learning_rate=0.1))]
    ['naive']
    """
    scores = []
    for method, options in methods.items():
        tell = None if on_progress is None else _telling(on_progress, method)
        scores.append(_try(head, method, options, config, tell))
    return sorted(scores, key=lambda score: -score.accuracy)


def measured(
    advice: Advice,
    head: Sequence[OnlineExample],
    config: OnlineLearnerConfig,
    on_progress: Callable[[str, int, int], None] | None = None,
) -> tuple[Advice, list[Score]]:
    """The best of an advice, its rivals and plain fine-tuning on the head of a stream, and all scores.

    >>> head = [OnlineExample(input=[i % 2, 1.0], target=i % 2) for i in range(100)]
    >>> advice = Advice(method="er", reasons=("why not",))
    >>> advice, scores = measured(advice, head, OnlineLearnerConfig(learning_rate=0.1))
    >>> sorted(score.method for score in scores)
    ['er', 'naive']
    """
    numbers = any(not isinstance(row.target, int | str) for row in head)
    given = {name: value for name, value in advice.settings.items() if name != "memory_size"}
    config = config.but({**given, "task": "regression" if numbers else config.task})
    rivals: dict[str, dict[str, Any]] = {rival: {} for rival in (*advice.rivals, "naive")}
    scores = compare(head, {advice.method: advice.options, **rivals}, config, on_progress)
    best = scores[0]
    if best.method == advice.method:
        return advice, scores
    first = next(score for score in scores if score.method == advice.method)
    reason = (
        f"on the first {len(head):,} rows it kept {best.accuracy:.1%}, "
        f"where {advice.method} kept {first.accuracy:.1%}"
    )
    return replace(advice, method=best.method, options={}, reasons=(reason, *advice.reasons)), scores


def _telling(tell: Callable[[str, int, int], None], method: str) -> Callable[[int, int], None]:
    return lambda done, total: tell(method, done, total)


def _try(
    head: Sequence[OnlineExample],
    method: str,
    options: Mapping[str, Any],
    config: OnlineLearnerConfig,
    tell: Callable[[int, int], None] | None,
) -> Score:
    learner = Learner(config=config, method=method, options=options)
    learned = [row for i, row in enumerate(head) if i % HELD_OUT]
    spent, right, asked = 0.0, 0, 0
    for start in range(0, len(learned), config.batch_size):
        batch = stack(learned[start : start + config.batch_size])
        if start and config.task == "classification":
            answers = learner.predict(batch.inputs).labels
            right += sum(a == b for a, b in zip(answers, batch.targets, strict=True))
            asked += len(batch)
        before = time.process_time()
        learner.learn_batch(batch)
        spent += time.process_time() - before
        if tell is not None:
            tell(min(start + config.batch_size, len(learned)), len(learned))
    before = time.process_time()
    if learner.recipe.rehearsal:
        learner.consolidate()
    spent += time.process_time() - before
    return Score(
        method=method,
        accuracy=_kept(learner, head[::HELD_OUT]),
        progressive=right / asked if asked else None,
        cost=1e6 * spent / len(learned),
        refused=learner.stats.refused,
    )


def _kept(learner: Learner, rows: Sequence[OnlineExample]) -> float:
    """Accuracy on rows, or R^2."""
    answers = [answer for chunk in _chunks(rows) for answer in learner.predict(stack(chunk).inputs).labels]
    if learner.config.task == "classification":
        right = [bool(a == row.target) for a, row in zip(answers, rows, strict=True)]
        return sum(right) / len(right)
    found = np.asarray(answers, dtype=np.float64).reshape(len(rows), -1)
    wanted = np.asarray([row.target for row in rows], dtype=np.float64).reshape(len(rows), -1)
    spread = float(((wanted - wanted.mean(0)) ** 2).sum())
    return 1.0 - float(((wanted - found) ** 2).sum()) / spread if spread else 0.0


def _chunks(rows: Sequence[OnlineExample]) -> Iterator[Sequence[OnlineExample]]:
    for start in range(0, len(rows), 1000):
        yield rows[start : start + 1000]
