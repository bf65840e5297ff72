"""A learning episode, in eight steps:

    collect -> assess -> replay -> importance -> train -> remember -> evaluate -> candidate

It is no second learner: it orders, and the session's own walk carries out. Rows are drawn forward by `take`
entries that say at what pace, importance is a `consolidate` entry, strengths are a `config` entry, and the
episode begins and ends with entries of its own. So a replay needs neither clock nor measurement, and an
episode that was broken off goes on from its plan: what it takes, and at what pace, is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tenuto.config import EpisodeConfig
from tenuto.consolidation.feedback import Feedback, Strength
from tenuto.consolidation.pace import cosine
from tenuto.evaluation.episodes import drift
from tenuto.reports import Reason
from tenuto.session.corrections import waiting
from tenuto.session.episodes.assessment import Assess
from tenuto.session.episodes.gauge import Gauge
from tenuto.session.episodes.measuring import measured, weights
from tenuto.session.episodes.plan import Plan, last
from tenuto.session.episodes.reports import EpisodeReport, Measures, Stage
from tenuto.session.session import Session

OnStage = Callable[[Stage], None] | None
KEPT = 60.0
"""Seconds of training after which the state is kept, so that a crash costs no more of them."""
NAME = "episode-{}"


class Episode:
    """One episode.

    Args:
        session: whose rows wait.
        reason: why it begins; of one that was broken off its own stands.
        config: bounds, pace and how much is measured.
        feedback: how what the last one forgot sets this one.
        hooks: assess each row.
        doubted: ids of approved corrections that were answered wrong, to be asked first.
        gauge: of time and memory.

    Raises:
        ConfigError: the session learns no language.
    """

    def __init__(
        self,
        session: Session,
        reason: Reason,
        *,
        config: EpisodeConfig,
        feedback: Feedback,
        hooks: Sequence[Assess],
        doubted: Sequence[str],
        gauge: Gauge,
    ) -> None:
        self._session, self._way, self._journal = session, session.way, session.home.journal
        self._config, self._feedback, self._hooks = config, feedback, hooks
        self._doubted, self._gauge = doubted, gauge
        self._way.obey()
        self._plan = Plan(session, reason, config)
        self._now = weights(session.learner)
        self._begun = self._plan.weights([*self._now]) or self._now
        self._after = Measures()
        self._forgetting: float | None = None
        self._stopped = ""
        self._stages: list[Stage] = []

    def run(self, on_stage: OnStage = None) -> EpisodeReport:
        """Go through the steps; ends after the second where there is nothing to learn."""
        for name, do in self._steps():
            before = self._gauge.seconds
            stage = Stage(name=name, told=do(), seconds=self._gauge.seconds - before)
            self._stages.append(stage)
            if on_stage is not None:
                on_stage(stage)
        return self._report()

    def _steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "collect", lambda: self._plan.collect(self._doubted)
        yield "assess", lambda: self._plan.assess(self._hooks)
        if not self._plan.seqs:
            return
        yield "replay", self._replay
        yield "importance", self._importance
        yield "train", self._train
        yield "remember", self._remember
        yield "evaluate", self._evaluate
        yield "candidate", self._candidate

    def _replay(self) -> str:
        """Set how strongly what is known is protected, as the last outcome asks, and begin."""
        if self._plan.begun is None:
            self._way.configure(last(self._session, "next", {}))
            bounds = {"seconds": self._config.seconds, "memory_bytes": self._config.memory_bytes}
            rate = self._session.learner.config.learning_rate
            self._plan.begin({"rate": rate, **_plain(self._strength()), "bounds": bounds})
        memory, strength = self._session.learner.memory, self._strength()
        rows = 0 if memory is None else len(memory)
        return (
            f"{strength.replay_ratio:.2f} of each step is drawn from {rows} rows; protection acts "
            f"{strength.protection:g} times"
        )

    def _strength(self) -> Strength:
        config = self._session.learner.config
        return Strength(protection=config.protection, replay_ratio=config.replay_ratio)

    def _importance(self) -> str:
        context, begun = self._session.learner.context, self._plan.begun
        if not context.keeps:
            return "the method measures none"
        newest = self._journal.newest("consolidate")
        if begun is not None and newest is not None and newest.seq > begun.seq:
            return "it was measured before"
        rows = len(context)
        if not rows:
            return "no row came since it was measured last"
        self._way.order("consolidate", {"cause": "episode", "found": f"episode {self._plan.number} began"})
        self._way.obey()
        return f"of the weights, on {rows} rows of what came before"

    def _train(self) -> str:
        """Take the rows, batch by batch, each at its pace, until they are learned or a bound is reached."""
        size, plan = self._session.learner.config.batch_size, self._plan
        batches = [plan.seqs[start : start + size] for start in range(0, len(plan.seqs), size)]
        kept, before = self._gauge.seconds, self._session.learner.steps
        for number, batch in enumerate(batches):
            rows = [seq for seq in batch if not plan.known(seq)]
            if not rows:
                continue
            self._stopped = self._session.frozen or self._gauge.over()
            if self._stopped:
                break
            pace = cosine(number, len(batches), warm=self._config.warm, floor=self._config.floor)
            body: dict[str, Any] = {"seqs": rows, "pace": pace}
            if over := [plan.over[seq] for seq in rows if seq in plan.over]:
                body["over"] = over
            self._way.order("take", body)
            self._way.obey()
            if self._gauge.seconds - kept > KEPT:
                self._session.snapshot()
                kept = self._gauge.seconds
        self._way.commit()
        updates, rate = self._session.learner.steps - before, self._session.learner.config.learning_rate
        told = f"{len(plan.made)} of {len(plan.seqs)} rows, {updates} updates, at most at {rate:g}"
        return f"{told}; stopped: {self._stopped}" if self._stopped else told

    def _remember(self) -> str:
        """What memory holds; the learner put rows into it as they were learned, and no others."""
        memory, held = self._session.learner.memory, set(self._session.fold.memory.values())
        if memory is None:
            return "the method remembers no row"
        return f"{len(held.intersection(self._plan.seqs))} of them are remembered, {len(memory)} rows in all"

    def _evaluate(self) -> str:
        """Ask again what was asked before, and what was learned."""
        plan, made = self._plan, self._plan.made
        before = plan.before
        gone = {plan.over[seq] for seq in made if seq in plan.over}
        asked = dict.fromkeys(seq for seq in (*before.right, *before.wrong, *made) if seq not in gone)
        entries = [entry for entry in self._journal.fetch(asked) if entry.status == "live"]
        self._after = after = measured(self._session.learner, entries, anchors=self._config.asked)
        self._forgetting = before.forgotten(after)
        told = [
            _told("base retention", before.retention, after.retention),
            _told("approved answers right", before.accumulation, after.accumulation),
            "" if after.perplexity is None else f"perplexity {after.perplexity:.3g}",
        ]
        return ", ".join(part for part in told if part) or "there was nothing to ask"

    def _candidate(self) -> str:
        """Keep what came of it, and write the outcome down."""
        home, name = self._session.home, NAME.format(self._plan.number)
        row = self._session.snapshot(name)
        known = [one for one in home.snapshots.list() if one.pinned and _candidate(one.name)]
        for old in known[self._config.candidates :]:
            home.ledger.pin(old.k, False)
        asked = home.config["config"]
        made = Strength(protection=asked.get("protection", 1.0), replay_ratio=asked["replay_ratio"])
        strength = self._feedback.next(self._strength(), made, forgetting=self._forgetting)
        self._now = weights(self._session.learner)
        body = {
            "number": self._plan.number,
            "learned": len(self._plan.made),
            "held": self._plan.held,
            "stopped": self._stopped,
            "after": self._after.to_plain(),
            "forgetting": self._forgetting,
            "drift": drift(self._begun, self._now),
            "next": _plain(strength),
            "candidate": {"name": name, "step": row.k, "digest": row.digest},
            "seconds": round(self._gauge.seconds, 3),
            "memory_bytes": self._gauge.bytes,
        }
        self._way.order("outcome", body)
        self._way.obey()
        self._way.commit()
        return (
            f"{name}, step {row.k}; the next replays {strength.replay_ratio:.2f} of each step and protects "
            f"{strength.protection:g} times"
        )

    def _report(self) -> EpisodeReport:
        plan, went = self._plan, self._plan.begun is not None
        return EpisodeReport(
            number=plan.number if went else 0,
            cause=plan.reason.cause,
            found=plan.reason.found,
            stages=tuple(self._stages),
            learned=len(plan.made),
            held=plan.held,
            waiting=sum(1 for _ in waiting(self._journal, self._session.fold.cursor)),
            stopped=self._stopped if went else "there is nothing to learn",
            before=plan.before,
            after=self._after,
            forgetting=self._forgetting,
            drift=drift(self._begun, self._now) if went else None,
            candidate=NAME.format(plan.number) if went else None,
            seconds=self._gauge.seconds,
            memory_bytes=self._gauge.bytes,
        )


def _plain(strength: Strength) -> dict[str, float]:
    return {"protection": strength.protection, "replay_ratio": strength.replay_ratio}


def _candidate(name: str | None) -> bool:
    return name is not None and name.removeprefix(NAME.format("")).isdigit()


def _told(what: str, before: float | None, after: float | None) -> str:
    if after is None:
        return ""
    return f"{what} {after:.1%}" if before is None else f"{what} {before:.1%} -> {after:.1%}"
