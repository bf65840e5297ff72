"""The watch over the stream: a detector reads how fresh rows were answered, and its reports are answered too.

What it reads is measured before the rows are learned, so that a model that fits them afterwards hides
nothing. Where they rose the learner may close its context, let go of what it remembered, and for some steps
make more passes over each batch or replay more. That they fell is no more than learning.
"""

from __future__ import annotations

import math

from tenuto import drift
from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.protocols import Task
from tenuto.reports import DriftReport
from tenuto.types import State, Trace


class Watch:
    """A detector, and what its last report still changes.

    Args:
        config: names the detector, what it reads, the answers, and how many steps they last.

    >>> watch = Watch(OnlineLearnerConfig(drift="ddm", drift_answers=("passes",)))
    >>> watch.passes(2), watch.replay_ratio(0.5), watch.answers("renew")
    (2, 0.5, False)
    """

    def __init__(self, config: OnlineLearnerConfig) -> None:
        if config.drift is None:
            raise ConfigError("a watch needs the name of a detector in drift")
        self._on, self._answers, self._steps = config.drift_on, config.drift_answers, config.drift_steps
        self._detector = drift.load(config.drift, seed=config.seed)
        what = "loss" if config.task == "regression" else config.drift_on
        if self._detector.reads not in ("numbers", f"{what}s"):
            raise ConfigError(f"detector {config.drift} reads {self._detector.reads}, not a row's {what}")
        self._left = 0

    def answers(self, answer: str) -> bool:
        """Is this one of the answers to a report?"""
        return answer in self._answers

    def passes(self, asked: int) -> int:
        """Updates per batch: as many as asked for, three times that while an answer lasts."""
        return 3 * asked if self._left and "passes" in self._answers else asked

    def replay_ratio(self, asked: float) -> float:
        """Replayed of all rows: as asked for, half of the way to 1 from there while an answer lasts."""
        return min((1 + asked) / 2, 0.95) if self._left and "replay" in self._answers else asked

    def see(self, trace: Trace, rows: int, task: Task) -> tuple[DriftReport, ...]:
        """Read how the first `rows` rows of a committed step were answered; the drifts that made it worse."""
        self._left = max(self._left - 1, 0)
        outputs, targets = trace.estimate.outputs[:rows], trace.batch.targets[:rows]
        right = task.right(outputs, targets) if self._on == "error" else None
        values = task.losses(outputs, targets).tolist() if right is None else [float(not r) for r in right]
        read = (self._detector.update(value) for value in values if math.isfinite(value))
        found = [report for report in read if report is not None and report.rises is not False]
        if found:
            self._left = self._steps
        return tuple(found)

    def state(self) -> State:
        """The detector's, and for how many steps more its last report is answered."""
        return {"detector": self._detector.state(), "left": self._left}

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        self._detector.load_state(state["detector"])
        self._left = int(state["left"])


def watch(config: OnlineLearnerConfig) -> Watch | None:
    """The watch these settings ask for; None where they name no detector."""
    return None if config.drift is None else Watch(config)
