"""The demo: handwritten digits, two new ones at a time, learned by several methods and seeds.

Every run is a real session with a home of its own. Nothing tells the learner where a context ends. The
settings were chosen once, on a quarter of the rows to learn and seeds 100-103, from a grid of rates, memory
sizes, ratios and DER++'s weights: no choice has seen a test row or a seed that is shown.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import tenuto
from tenuto.config import OnlineLearnerConfig
from tenuto.evaluation import AccuracyMatrix, Curve, Report, Run, label_entropy, retention_bits
from tenuto.session import Session
from tenuto.store.records import Step
from tenuto.streams import open_stream
from tenuto.studies import proofs
from tenuto.studies.contexts import Contexts, digits
from tenuto.studies.joint import bound

METHODS: Mapping[str, Mapping[str, float]] = {"naive": {}, "er": {}, "derpp": {"alpha": 0.3, "beta": 2.0}}
"""The methods and their options; the last one is killed and resumed."""
SETTINGS = OnlineLearnerConfig(learning_rate=0.1, batch_size=10, memory_size=200)
EPOCHS = 10
"""Passes of joint training."""
LOOK = 3
"""Steps between two looks at what is known."""
SMOOTH = 5
"""Steps that a point of the progressive accuracy is averaged over."""

Tell = Callable[[str, int, int, str], None]
"""Told as it goes: the stage, how far it is, of how much, and a remark."""


@dataclass(slots=True)
class Watch:
    """Follows a run, testing it now and then and at the end of each context.

    Args:
        session, contexts: what is learned.
        rows: learned so far.
        right: rows so far, and the share right before learning, of each step.
        looks: rows so far, accuracy on the first context, and on all that have begun.
        matrix: accuracies (moments, contexts).
        losses: (moments, contexts) in nats; NaN of what was not learned yet.
    """

    session: Session
    contexts: Contexts
    rows: int = 0
    right: list[tuple[int, float]] = field(default_factory=list)
    looks: list[tuple[int, float, float]] = field(default_factory=list)
    matrix: list[list[float]] = field(default_factory=list)
    losses: list[list[float]] = field(default_factory=list)

    def step(self, step: Step) -> None:
        """Note a step, and test where it is time to."""
        if not step.rows:
            return
        self.rows += step.rows
        if step.correct is not None:
            self.right.append((self.rows, step.correct / step.rows))
        ended = self.rows == self.contexts.ends[len(self.matrix)]
        if ended or step.k % LOOK == 0:
            self._look(ended)

    def _look(self, ended: bool) -> None:
        """Test every context."""
        now = len(self.matrix)
        found = [self._test(context) for context in range(len(self.contexts.tests))]
        right = [share for share, _ in found]
        self.looks.append((self.rows, right[0], float(np.mean(right[: now + 1]))))
        if ended:
            self.matrix.append(right)
            self.losses.append([loss if i <= now else np.nan for i, (_, loss) in enumerate(found)])

    def _test(self, context: int) -> tuple[float, float]:
        """Accuracy, and mean loss in nats, on a context's test rows."""
        inputs, labels = self.contexts.tests[context]
        answer = self.session.predict(inputs)
        right = float(np.mean(np.asarray(answer.labels) == labels))
        column = {label: i for i, label in enumerate(answer.classes)}
        columns = torch.tensor([column.get(label, -1) for label in labels.tolist()])
        if (columns < 0).any():
            return right, np.nan
        return right, torch.nn.functional.cross_entropy(answer.outputs, columns).item()


def report(folder: Path, seeds: Sequence[int], tell: Tell, *, command: str = "") -> Report:
    """Run the demo.

    Args:
        folder: an empty directory for the homes.
        seeds: one run of each method per seed.
        tell: told as it goes.
        command: how to repeat it, for the report.
    """
    made = {seed: digits(seed, batch=SETTINGS.batch_size) for seed in seeds}
    runs: list[Run] = []
    ends: dict[tuple[str, int], str] = {}
    for method in METHODS:
        for number, seed in enumerate(seeds):
            run, ends[method, seed] = _learned(folder, made[seed], method, seed, number, len(seeds), tell)
            runs.append(run)
        reached = [run.figures["average_accuracy"] for run in runs[-len(seeds) :]]
        tell(method, 1, 1, f"{_percent(reached)} of all contexts known in the end")
    joint = []
    for number, seed in enumerate(seeds):
        tell("joint training", number, len(seeds), f"seed {seed}")
        joint.append(bound(made[seed], SETTINGS.but({"seed": seed}), epochs=EPOCHS))
    tell("joint training", 1, 1, f"{_percent(joint)} of all contexts known in the end")
    method, seed = [*METHODS][-1], seeds[0]
    proven = proofs.Subject(
        contexts=made[seed],
        method=method,
        options=METHODS[method],
        config=SETTINGS.but({"seed": seed}),
        digest=ends[method, seed],
    )
    home, resumed = proofs.resumed(folder, proven, lambda *told: tell("kill and resume", *told))
    forgot = proofs.forgotten(folder, home, proven, lambda *told: tell("forget a row", *told))
    rows = len(made[seed].labels)
    return Report(
        title="Two new digits at a time",
        subtitle=f"{rows:,} handwritten digits, each learned once as it came, in {len(made[seed].names)} "
        f"contexts that the learner is not told of, with {SETTINGS.memory_size} rows of memory.",
        runs=tuple(runs),
        joint=tuple(joint),
        proofs=(resumed, forgot),
        facts=_facts(seeds, command),
        context_names=made[seed].names,
    )


def _learned(
    folder: Path, contexts: Contexts, method: str, seed: int, number: int, count: int, tell: Tell
) -> tuple[Run, str]:
    """One method on one seed; what was measured, and the digest it ended with."""
    total = len(contexts.labels)
    path = contexts.write(folder / f"digits-{seed}.jsonl")
    home, config = folder / f"{method}-{seed}", SETTINGS.but({"seed": seed})
    with Session(home, config=config, method=method, options=METHODS[method]) as session:
        watch = Watch(session, contexts)

        def on_step(step: Step) -> None:
            watch.step(step)
            if (rows := number * total + watch.rows) < count * total:
                tell(method, rows, count * total, f"seed {seed}: {_remark(watch)}")

        session.learn(open_stream(path), on_step=on_step)
        digest = session.learner.digest()
    return _run(watch, method, seed), digest


def _remark(watch: Watch) -> str:
    if not watch.looks:
        return "begins"
    begun = min(len(watch.matrix) + 1, len(watch.contexts.names))
    return f"{_percent([watch.looks[-1][2]])} of {begun} contexts known"


def _run(watch: Watch, method: str, seed: int) -> Run:
    """What a run gave, drawn and counted."""
    labels = np.concatenate([labels for _, labels in watch.contexts.tests])
    nothing = label_entropy(np.bincount(labels))
    kept = retention_bits(watch.losses, reference=[nothing] * len(watch.contexts.names))
    right = np.mean([share for _, share in watch.right])
    return Run(
        method=method,
        seed=seed,
        matrix=AccuracyMatrix(values=watch.matrix),
        curves=_curves(watch),
        measures={"progressive_accuracy": float(right), "retention_bits": float(kept[-1].mean())},
    )


def _curves(watch: Watch) -> dict[str, Curve]:
    looked, first, begun = (np.array(column) for column in zip(*watch.looks, strict=True))
    rows, right = (np.array(column) for column in zip(*watch.right, strict=True))
    smooth = np.convolve(right, np.ones(SMOOTH) / SMOOTH, "valid")

    def curve(x: NDArray[Any], y: NDArray[Any], label: str) -> Curve:
        ends = watch.contexts.ends[:-1]
        return Curve(
            x=tuple(x.tolist()), y=tuple(y.tolist()), x_label="rows learned", y_label=label, boundaries=ends
        )

    return {
        "What is known of all that has begun": curve(looked, begun, "accuracy, mean over contexts"),
        f"What is left of the first context ({watch.contexts.names[0]})": curve(looked, first, "accuracy"),
        "Progressive accuracy": curve(rows[SMOOTH - 1 :], smooth, "share right just before being learned"),
    }


def _percent(shares: Sequence[float]) -> str:
    return f"{100 * np.mean(shares):.1f} %"


def _facts(seeds: Sequence[int], command: str) -> dict[str, str]:
    told = ", ".join(
        f"{name}={getattr(SETTINGS, name)}" for name in ("learning_rate", "batch_size", "memory_size")
    )
    return {
        "command": command,
        "settings": f"{told}, the default model (two hidden layers of {SETTINGS.hidden[0]}), head grows",
        "seeds": ", ".join(map(str, seeds)),
        "split": "a quarter of each digit to test on; one pass over the rest",
        "joint training": f"{EPOCHS} epochs over the same rows in random order, same model and settings",
        "versions": f"tenuto {tenuto.__version__}, torch {torch.__version__}",
        "machine": f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, "
        f"{torch.get_num_threads()} thread",
    }
