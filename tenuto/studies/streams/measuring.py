"""A learner walks along a stream: each batch is answered as it comes, and then learned.

It is ER with the preset `fast()` and the default network. What `acting` does was chosen on seeds 100 and 101
of the turning digits and on the first 10,000 rows of Elec2, among five choices of detectors and three
answers; on MNIST-360 nothing was chosen.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tenuto.config import OnlineLearnerConfig
from tenuto.learner import Learner
from tenuto.studies.papers.protocols import PROTOCOLS, Setting
from tenuto.studies.papers.run import network
from tenuto.studies.streams.moving import Moving
from tenuto.types import Batch

WITHOUT, ACTING, KEEPING = "without", "acting", "acting, memory kept"
FOLLOWERS: Mapping[str, Mapping[str, Any]] = {
    WITHOUT: {},
    ACTING: {"drift": "ddm+page_hinkley", "drift_answers": ("renew", "passes")},
    KEEPING: {"drift": "ddm+page_hinkley", "drift_answers": ("passes",)},
}
"""What each does about drift; the last lets go of nothing, for streams whose past comes back."""
_ASKED = 2000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Walk:
    """What a learner made of a stream.

    Args:
        hits: (n,) was the row answered rightly before it was learned?
        drifts: the rows after which a drift was reported.
        changes: the rows at which the stream moved at once, where anybody knows.
        tested: the share of the test rows answered rightly in the end; None: there are none.
        seconds: CPU seconds of answering and learning.
    """

    hits: NDArray[np.bool_]
    drifts: tuple[int, ...] = ()
    changes: tuple[int, ...] = ()
    tested: float | None = None
    seconds: float = 0.0

    @property
    def accuracy(self) -> float:
        """Progressive accuracy."""
        return float(self.hits.mean())


def follower(name: str, seed: int, classes: int) -> Learner:
    """ER with the preset `fast()`, which acts on drift as one of FOLLOWERS does."""
    changes = {"seed": seed, "classes": tuple(range(classes)), **FOLLOWERS[name]}
    return Learner(config=OnlineLearnerConfig.fast().but(changes), method="er")


def solver(setting: Setting, buffer: int | None, seed: int, classes: int) -> Learner:
    """A method of MNIST-360's table, on a multilayer perceptron 784-100-100."""
    settings = {
        "seed": seed,
        "head": "fixed",
        "classes": list(range(classes)),
        **({} if buffer is None else {"memory_size": buffer}),
        **setting.config,
    }
    model = network(PROTOCOLS["s-mnist"], seed)
    config = OnlineLearnerConfig.of(settings)
    return Learner(model, config, method=setting.method, options=setting.options)


def walk(learner: Learner, stream: Moving) -> Walk:
    """Answer and learn every batch, and be tested in the end.

    >>> import torch
    >>> rows = torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1])
    >>> found = walk(follower(WITHOUT, 0, 2), Moving(batches=[rows] * 20, classes=2))
    >>> len(found.hits), bool(found.hits[-2:].all()), found.drifts, found.tested
    (40, True, (), None)
    """
    began = time.process_time()
    hits: list[NDArray[np.bool_]] = []
    drifts: list[int] = []
    seen = 0
    for inputs, targets in stream.batches:
        trace = learner.learn_batch(Batch(inputs, targets))
        hits.append((trace.estimate.outputs[: len(targets)].argmax(1) == targets).numpy())
        seen += len(targets)
        drifts += [seen] * len(trace.drifts)
    seconds = time.process_time() - began
    return Walk(
        hits=np.concatenate(hits),
        drifts=tuple(drifts),
        changes=stream.changes,
        tested=_tested(learner, stream),
        seconds=seconds,
    )


def _tested(learner: Learner, stream: Moving) -> float | None:
    """The share of the test rows that are answered rightly, among all classes."""
    if stream.test is None:
        return None
    inputs, targets = stream.test
    pieces = [slice(start, start + _ASKED) for start in range(0, len(targets), _ASKED)]
    right = [(learner.outputs(inputs[piece]).argmax(1) == targets[piece]).sum() for piece in pieces]
    return sum(map(int, right)) / len(targets)
