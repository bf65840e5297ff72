"""The watch over the stream: detectors read how fresh rows were answered, and their reports are answered too.

What they read, answers or inputs, is measured before the rows are learned, so that a model that fits them
afterwards hides nothing. Where they rose the learner may close its context, let go of what it remembered, and
for some steps make more passes over each batch or replay more. That they fell is no more than learning.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from tenuto import drift
from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.protocols import Task
from tenuto.reports import DriftReport
from tenuto.types import State, Trace

READ = {
    "error": ("numbers", "errors"),
    "loss": ("numbers",),
    "uncertainty": ("numbers",),
    "inputs": ("vectors",),
}
"""What a detector must read for each reading of a row."""
TASKS = {"uncertainty": ("classification",), "inputs": ("classification", "regression")}
"""The tasks that have a reading; all of them have the others."""


class Watch:
    """Detectors, joined by "+" in the settings, and what their last report still changes; none: all stays.

    Args:
        config: names the detectors, what they read, the answers, and how many steps these last.

    >>> watch = Watch(OnlineLearnerConfig(drift="ddm", drift_answers=("passes",)))
    >>> watch.passes(2), watch.replay_ratio(0.5), watch.answers("renew")
    (2, 0.5, False)
    """

    def __init__(self, config: OnlineLearnerConfig) -> None:
        self._on, self._answers, self._steps = config.drift_on, config.drift_answers, config.drift_steps
        names = [name.strip() for name in config.drift.split("+")] if config.drift is not None else []
        if len(set(names)) < len(names):
            raise ConfigError(f"drift {config.drift!r} names a detector twice")
        self._detectors = {name: drift.load(name, seed=config.seed) for name in names}
        if config.task == "regression" and config.drift_on == "error":
            self._on = "loss"
        for name, detector in self._detectors.items():
            if detector.reads not in READ[self._on]:
                raise ConfigError(f"detector {name} reads {detector.reads}, not a row's {self._on}")
        if self._detectors and config.task not in TASKS.get(self._on, (config.task,)):
            raise ConfigError(f"drift_on {self._on!r} has no meaning under {config.task}")
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
        if not self._detectors:
            return ()
        self._left = max(self._left - 1, 0)
        values = self._values(trace, rows, task)
        read = (detector.update(value) for detector in self._detectors.values() for value in values)
        found = [report for report in read if report is not None and report.rises is not False]
        if found:
            self._left = self._steps
        return tuple(found)

    def _values(self, trace: Trace, rows: int, task: Task) -> Iterable[float | Tensor]:
        """What is read of each row."""
        outputs, targets = trace.estimate.outputs[:rows], trace.batch.targets[:rows]
        if self._on == "inputs":
            return list(trace.batch.inputs[:rows].flatten(1).double())
        if self._on == "uncertainty":
            return [1 - chance for chance in outputs.softmax(1).amax(1).tolist() if math.isfinite(chance)]
        right = task.right(outputs, targets) if self._on == "error" else None
        if right is not None:
            return [float(not one) for one in right]
        return [loss for loss in task.losses(outputs, targets).tolist() if math.isfinite(loss)]

    def state(self) -> State:
        """The detectors', by name, and for how long the last report is answered; {} without any."""
        if not self._detectors:
            return {}
        detectors: State = {name: detector.state() for name, detector in self._detectors.items()}
        return {"detectors": detectors, "left": self._left}

    def load_state(self, state: State) -> None:
        """Take saved ones."""
        if not self._detectors:
            return
        for name, detector in self._detectors.items():
            detector.load_state(state["detectors"][name])
        self._left = int(state["left"])
