"""Exact unlearning, tried on random lives: after `forget` the model is the one that never saw it.

A life is rows from several sources and principals, some derived from others, with flushes, takes, snapshots,
resets and consolidations between them; somewhere in it something is forgotten. Another home lives the same
life without those rows. Both end with one digest, and no file of the first holds their content any more.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tenuto.types import OnlineExample
from tests.crash import client, forks
from tests.crash.acts import (
    Act,
    Clash,
    Consolidate,
    Flush,
    Forget,
    Ingest,
    Reopen,
    Reset,
    Run,
    Snapshot,
    Take,
    example,
)
from tests.crash.client import Client
from tests.crash.kills import figures, recover
from tests.crash.promises import Fault, promised, sound, traces
from tests.crash.stories import STORIES, Story, stories

ROWS = 48
SOURCES = ("story", "letters", "calls")
PRINCIPALS = (None, None, "ada", "bob")


@dataclass(frozen=True)
class Life:
    """A random life with one forgetting in it.

    Args:
        acts: all of them.
        where: the number of the forgetting among them.
    """

    acts: tuple[Act, ...]
    where: int

    @property
    def gone(self) -> set[str]:
        """Ids of the rows forgotten, and of those that came later and were derived from them."""
        gone = set(promised(self.acts, self.where + 1).gone)
        for row in rows(self.acts):
            if not gone.isdisjoint(row.derived_from):
                gone.add(str(row.id))
        return gone

    def without(self) -> tuple[Act, ...]:
        """The same life had those rows never come."""
        gone = self.gone
        return tuple(spared for act in self.acts for spared in _spared(act, gone))


def rows(acts: tuple[Act, ...]) -> Iterator[OnlineExample]:
    """Every row of a life, in order."""
    for act in acts:
        if isinstance(act, Ingest):
            yield from act.rows


def draw(seed: str) -> Life:
    """A random life."""
    dice = random.Random(seed)
    acts: list[Act] = [Ingest(tuple(example(n) for n in range(4)), "base"), Flush()]
    sent = [f"r{n}" for n in range(4)]
    consolidated, marked = 0, False
    while len(sent) < ROWS:
        fresh = _chunk(dice, sent)
        ids = [str(row.id) for row in fresh.rows if not row.derived_from]
        match dice.randrange(9):
            case 0:
                acts += [fresh, Take(tuple(ids[-2:])), Run()]
            case 1:
                acts += [fresh, Flush()]
            case 2 if not marked:
                marked = True
                acts += [Run(), Snapshot("mark"), fresh, Run(), Reset("mark"), Take(tuple(ids[:1]))]
            case 3:
                consolidated += 1
                acts += [fresh, Consolidate(consolidated)]
            case 4:
                acts += [fresh, Clash(example(len(sent) + 500, secret=True, id=dice.choice(sent))), Run()]
            case 5:
                acts += [fresh, Run(), Reopen()]
            case _:
                acts += [fresh, Run()]
    where = dice.choice(
        [n for n, act in enumerate(acts, 1) if isinstance(act, Ingest | Run | Flush) and _free(acts, n)]
    )
    return Life((*acts[:where], _victim(dice, tuple(acts[:where])), *acts[where:]), where)


def try_(number: int, seed: int, story: Story, folder: Path) -> dict[str, Any]:
    """Live both lives; what differs."""
    life = draw(f"{seed}:{number}")
    faults = recover(lambda: _compare(life, story, folder))
    return {"forget": f"{number} ({life.acts[life.where]})", "faults": faults, "rows": len(life.gone)}


def run(count: int, *, workers: int, seed: int = 0) -> dict[str, Any]:
    """Forget at `count` random positions; the figures."""
    learners = stories(1000)[:: len(STORIES)]

    def work(number: int, folder: Path) -> dict[str, Any]:
        return try_(number, seed, learners[number % len(learners)], folder)

    with forks.room() as name:
        done = list(forks.spread(range(count), work, workers, Path(name)))
    return {
        "forgets": len(done),
        "rows": sum(tried["rows"] for tried in done),
        **figures([(tried["forget"], tried["faults"]) for tried in done]),
    }


def _compare(life: Life, story: Story, folder: Path) -> list[Fault]:
    faults: list[Fault] = []
    ends = []
    for acts, name in ((life.acts, "forgot"), (life.without(), "never-saw")):
        home = folder / name
        client.copy(folder / "nothing", home)
        player = Client(replace(story, acts=acts), home)

        def look(done: int, home: Path = home) -> None:
            if done > life.where:
                faults.extend(traces(home, _content(life), labels=story.grows))

        session = player.play(
            acts, 0, look if name == "forgot" else lambda _: None, player.open(), again=False
        )
        session.run()
        ends.append((session.learner.digest(), session.learner.stats.examples))
        session.close()
        faults += sound(home)
    if ends[0] != ends[1]:
        faults.append(Fault("differs", f"forgetting ends at {ends[0]}, never having seen it at {ends[1]}"))
    return faults + traces(folder / "forgot", _content(life), labels=story.grows)


def _content(life: Life) -> list[OnlineExample]:
    """Everything that was ever sent under the ids forgotten, up to then."""
    sent = life.acts[: life.where]
    clashes = [act.row for act in sent if isinstance(act, Clash)]
    return [row for row in (*rows(sent), *clashes) if row.id in life.gone]


def _chunk(dice: random.Random, sent: list[str]) -> Ingest:
    first, source = len(sent), dice.choice(SOURCES)
    chunk = []
    for n in range(first, first + dice.randint(2, 7)):
        parent = (dice.choice(sent),) if sent and dice.random() < 0.2 else ()
        principal, secret = dice.choice(PRINCIPALS), dice.random() < 0.3
        chunk.append(example(n, secret=secret, principal=principal, derived_from=parent))
        sent.append(f"r{n}")
    return Ingest(tuple(chunk), source)


def _free(acts: list[Act], where: int) -> bool:
    """No named snapshot is waiting for its reset: forgetting would take it away."""
    marks = sum(isinstance(act, Snapshot) for act in acts[:where])
    return marks == sum(isinstance(act, Reset) for act in acts[:where])


def _victim(dice: random.Random, acts: tuple[Act, ...]) -> Forget:
    held = [(row, act.source) for act in acts if isinstance(act, Ingest) for row in act.rows]
    row, source = dice.choice(held)
    match dice.randrange(5):
        case 0 if source != "base":
            return Forget(source=source)
        case 1 if row.principal is not None:
            return Forget(principal=row.principal)
    return Forget(id=row.id)


def _spared(act: Act, gone: set[str]) -> Iterator[Act]:
    match act:
        case Ingest(chunk, source):
            yield Ingest(tuple(row for row in chunk if row.id not in gone), source)
        case Take(ids):
            left = tuple(id for id in ids if id not in gone)
            if left:
                yield Take(left)
        case Forget():
            yield Run()
        case Clash(row) if row.id in gone:
            return
        case _:
            yield act
