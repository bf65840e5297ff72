"""A correction of something protected: updates until it is known, and what its neighbours moved."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.ogp import tiny
from benchmarks.timing import table
from tenuto import Learner, OnlineLearnerConfig

UPDATES, KNOWN, FACTS = 10, 0.1, 3
CORRECTED = " Orsa"


def corrected(targets: tuple[str, ...], seed: int, rate: float, *, revise: bool) -> list[str]:
    """Three facts are learned and protected one by one, then the first is corrected."""
    config = OnlineLearnerConfig(
        task="language",
        optimizer="adamw",
        learning_rate=rate,
        weight_decay=0.1,
        batch_size=1,
        boundaries="none",
        seed=seed,
    )
    options = {"threshold": 1.0, "ratio": 0.0, "revise": revise}
    learner = Learner(tiny.model(targets, seed), config, method="ogp_lora", options=options)
    facts = tiny.dealt(seed, FACTS)
    rows = [tiny.row(*fact) for fact in facts]
    for row in rows:
        for _ in range(40):
            learner.learn_one(row)
        learner.consolidate()
    before, new = tiny.losses(learner, rows), tiny.row(facts[0][0], CORRECTED)
    first, needed = float(tiny.losses(learner, [new])), None
    for update in range(1, UPDATES + 1):
        learner.learn_one(new)
        if needed is None and float(tiny.losses(learner, [new])) < KNOWN:
            needed = update
    moved = float((tiny.losses(learner, rows) - before)[1:].abs().max())
    said = str(needed) if needed is not None else f"more than {UPDATES}"
    return [f"{first:.2f}", f"{float(tiny.losses(learner, [new])):.3f}", said, f"{moved:.4f}"]


def show(seeds: Sequence[int], _out: Path) -> None:
    """Measure and print."""
    lines = []
    for revise in (True, False):
        for seed in seeds:
            name = "with the path" if revise else "without"
            lines.append([name, str(seed), *corrected(tiny.EVERYTHING, seed, 5e-3, revise=revise)])
    print(f"A correction of a protected answer, all sites, {UPDATES} updates")
    head = ["", "seed", "loss before", "after", "updates until known", "others moved, nats"]
    print(table(head, lines))
