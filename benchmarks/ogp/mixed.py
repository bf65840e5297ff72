"""A mixed stream: new facts, corrections, poison, broken rows and saturation; what fires, and where.

Every segment says beforehand what must fire in it, and nothing else may: revisions (a protected answer is
corrected), prunes (saturated bases give up directions), evictions (rows of a sender who contradicts what is
known), rejections (rows whose loss is not finite) and rollbacks. At 50 random updates the state is saved, and
a fresh learner that loads it must make the next updates bit for bit.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from benchmarks.ogp import tiny
from benchmarks.timing import table
from tenuto import Learner, OnlineExample, OnlineLearnerConfig
from tenuto.models.language import answer, code
from tenuto.types import State

UPDATES, POINTS, FURTHER = 2000, 50, 2
HONEST = ("ann", "bob", "cid")
WRONG = " purple"
CONFIG = OnlineLearnerConfig(
    task="language",
    optimizer="adamw",
    learning_rate=5e-3,
    weight_decay=0.1,
    batch_size=1,
    boundaries="none",
    memory_size=256,
    guard="finite+poisoning+divergence",
)
OPTIONS = {"threshold": 1.0}
NOISE, STUCK = 260, 110
"""Rows that fill the bases and the ring; updates on one new fact after them."""
Fact = tuple[str, str]


@dataclass(frozen=True)
class Segment:
    """Some rows, and what must fire on them.

    Args:
        rows: in order; None: the learner consolidates.
        must: how often each kind must fire, None: at least once; what is not named must not.
    """

    name: str
    rows: Sequence[OnlineExample | None]
    must: dict[str, int | None] = field(default_factory=dict)


def said(fact: Fact, sender: str | None) -> OnlineExample:
    """A fact as a sender tells it."""
    return msgspec.structs.replace(tiny.row(*fact), principal=sender)


def told(facts: Sequence[Fact], times: int, senders: Sequence[str | None] = HONEST) -> list[OnlineExample]:
    """Facts one after another, each so many times, by senders in turn."""
    turns = itertools.cycle(senders)
    return [said(fact, next(turns)) for fact in facts for _ in range(times)]


def noise(count: int, seed: int) -> list[OnlineExample]:
    """Rows of tokens at random: what they give a site spans everything."""
    draws = np.random.default_rng(seed).integers(3, 500, (count, tiny.LENGTH))
    rows = [code([(row[:-1].tolist(), False), (row[-1:].tolist(), True)], tiny.LENGTH) for row in draws]
    return [
        OnlineExample(input=row, target=answer(row, tiny.ROOM), principal=who)
        for row, who in zip(rows, itertools.cycle(HONEST), strict=False)
    ]


def segments(seed: int, times: int, updates: int) -> Iterator[Segment]:
    """The stream; the last segment goes on until so many updates are made.

    One contradiction proves nothing: the first lie, about a protected answer, is taken for a correction, and
    what honest senders say of it next for another. Before the noise three facts are protected: by all of them
    bases 64 wide would be full, and the noise would find them saturated.
    """
    first, new = [tiny.dealt(seed, 9)[part] for part in (slice(0, 3), slice(3, 9))]
    known, later = [*first[2:], *new[:4]], new[4:]
    corrected = [(first[number][0], word) for number, word in enumerate((" Orsa", " the moon"))]
    yield Segment("three facts, each protected", [*_protected(first, times)])
    yield Segment("two of them corrected", told(corrected, times, [None]), {"revisions": 2})
    yield Segment("new facts", told(new[:4], times))
    yield Segment("known ones again, in turns", told(known * 24, 1))
    lies = told([(question, WRONG) for question, _ in [*known, *known]], 1, ["mal"])
    mixed = [row for pair in zip(lies, told([*known[1:], *known], 1), strict=False) for row in pair]
    yield Segment("poison among known ones", mixed, {"revisions": None, "evictions": len(lies) - 2})
    broken = [msgspec.structs.replace(row, weight=1e38) for row in told(later, 1)]
    yield Segment("broken rows", [*broken, *told(known, 1)], {"rejections": len(broken)})
    yield Segment("noise, and all of it protected", [*noise(NOISE, seed), None])
    yield Segment("new facts under saturation", told(later[:1], STUCK), {"prunes": 1})
    rest = itertools.cycle(told([*later, *known, *corrected], 5))
    yield Segment("on and on", list(itertools.islice(rest, updates)))


def _protected(facts: Sequence[Fact], times: int) -> Iterator[OnlineExample | None]:
    for number, fact in enumerate(facts):
        yield from told([fact], times, HONEST[number:] + HONEST[:number])
        yield None


def make(seed: int, layers: int | None = None) -> Learner:
    """A learner before its first row, of so many blocks; None: of all."""
    config = CONFIG.but({"seed": seed} | ({"learning_rate": 0.02} if layers else {}))
    return Learner(tiny.model(tiny.EVERYTHING, seed, layers), config, method="ogp_lora", options=OPTIONS)


def fired(learner: Learner) -> Counter[str]:
    """How often a revision and a prune were made so far."""
    state = learner.recipe.protection.state() if learner.recipe.protection is not None else {}
    return Counter(revisions=state["revisions"], prunes=state["saturation"]["prunes"])


KINDS = {"evict": "evictions", "reject": "rejections", "rollback": "rollbacks", "freeze": "freezes"}


@dataclass
class Walk:
    """A learner on its way through the stream, and what it met."""

    learner: Learner
    points: set[int]
    saved: list[tuple[State, list[OnlineExample | None], str]] = field(default_factory=list)
    _open: list[tuple[State, list[OnlineExample | None]]] = field(default_factory=list)

    def go(self, segment: Segment, updates: int) -> Counter[str]:
        """Learn a segment, until so many updates are made in all; what fired."""
        before, met = fired(self.learner), Counter[str]()
        for row in segment.rows:
            if self.learner.steps >= updates:
                break
            if row is None:
                self.learner.consolidate()
            else:
                trace = self.learner.learn_one(row)
                if not trace.verdict.keeps:
                    met[KINDS[trace.verdict.ruling]] += 1
            self._note(row)
        return met + fired(self.learner) - before

    def _note(self, row: OnlineExample | None) -> None:
        for _, rows in self._open:
            rows.append(row)
        for state, rows in [one for one in self._open if len(one[1]) == FURTHER]:
            self.saved.append((state, rows, self.learner.digest()))
        self._open = [one for one in self._open if len(one[1]) < FURTHER]
        if row is not None and self.learner.steps in self.points:
            self.points.remove(self.learner.steps)
            self._open.append((self.learner.save_state(), []))

    @property
    def poisoned(self) -> int:
        """Rows of the one who lies that are still in memory."""
        memory = self.learner.memory
        return 0 if memory is None else len(memory.beside.slots("principal", ["mal"]))

    def resumed(self, seed: int, layers: int | None = None) -> int:
        """At how many points a fresh learner that loads the state makes the next updates bit for bit."""
        same = 0
        for state, rows, digest in self.saved:
            fresh = make(seed, layers)
            fresh.load_state(state)
            for row in rows:
                fresh.consolidate() if row is None else fresh.learn_one(row)
            same += fresh.digest() == digest
        return same


Counts = Mapping[str, int | None]
Found = list[tuple[str, int, Counts, Counts]]


def run(
    seed: int, *, updates: int = UPDATES, points: int = POINTS, times: int = 30, layers: int | None = None
) -> tuple[Walk, Found]:
    """The whole stream; the walk, and for each segment its name, its updates, what must fire and what did."""
    chosen = np.random.default_rng(seed).choice(updates - FURTHER - 1, points, replace=False) + 1
    walk, found = Walk(make(seed, layers), set(chosen.tolist())), Found()
    for segment in segments(seed, times, updates):
        begun = walk.learner.steps
        met = walk.go(segment, updates)
        found.append((segment.name, walk.learner.steps - begun, segment.must, dict(met)))
    return walk, found


def show(seeds: Sequence[int], _out: Path) -> None:
    """Measure and print."""
    for seed in seeds:
        walk, found = run(seed)
        lines = [[name, str(made), _spelt(must), _spelt(met)] for name, made, must, met in found]
        print(f"A mixed stream, {walk.learner.steps:,} updates, seed {seed}")
        print(table(["segment", "updates", "must fire", "fired"], lines))
        print(f"Rows of the one who lies that are left in memory: {walk.poisoned}")
        print(f"Resumed bit for bit at {walk.resumed(seed)} of {len(walk.saved)} random updates")


def _spelt(kinds: Counts) -> str:
    told = (f"{'some' if count is None else count} {kind}" for kind, count in sorted(kinds.items()))
    return ", ".join(told) or "nothing"
