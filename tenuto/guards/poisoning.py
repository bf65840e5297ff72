"""Finds a sender whose labels contradict what the others have taught, and takes its rows out.

A row is judged where its label is known: at least 30 rows of it were seen, and of the last 20 or so most were
right. It contradicts where the model gives another known class `confidence` or more, and agrees where its
label is the answer; anything else is no evidence. In language a question stands for a label
(`guards.shared.questions`): what contradicts an answer that is known. Each sender has a score (Page 1954),

    s <- max(0, s + log(q1 / q0))    where a row contradicts        q1 = 0.6
    s <- max(0, s + log((1 - q1) / (1 - q0)))    where it agrees    q0 = twice the others' rate, 0.05 .. 0.4

A sender with s >= log(1 / alpha) is convicted: its rows are refused from then on and those remembered are to
be evicted. One with s >= log(1 / watch) is watched: its rows that contradict are refused. Nobody is judged
without at least 50 judged rows of others to compare with, nor whoever sent more than half of all of them:
the majority is what the others are measured by (no estimate survives more than half of its rows being bad).

Error rate: for a sender whose rows contradict at a rate of at most q0, independently, the mean number of rows
before a false conviction is at least 1 / alpha (Lorden 1971), 100,000 by default; at half that rate, where
an honest sender is, it is beyond 10^8. Rows of new classes are not judged. `python -m benchmarks.guards`
measures what is found and what is refused wrongly.

What it cannot see: poison before the classes are known, rows without a sender, a conspiracy of more than
half, a trigger that the model already obeys, and a minority that alone sends a new domain which the model
answers confidently and wrongly. A second pass over the same rows counts them twice: use it with `passes=1`.
Corrections contradict too: those that a session takes as approved name no sender, and nobody is judged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated

from torch import Tensor

from tenuto.config import Limits
from tenuto.guards.shared.questions import Questions
from tenuto.guards.shared.residuals import labelled
from tenuto.types import KEEP, Ruling, State, Trace, Verdict

KNOWN, PACE, ENOUGH, SENDERS = 30, 0.1, 50, 1024
"""Rows of a class before it is known; pace of its running accuracy; rows to compare with; senders kept."""
POISONED, LOW, HIGH = 0.6, 0.05, 0.4
"""The rate of contradiction tested for; what the honest rate is taken to be at least, and at most."""

Record = list[float]
"""A sender's score, rows that contradicted, rows judged."""


class Poisoning:
    """Refuse the rows of senders who contradict."""

    def __init__(self, confidence: float, alpha: float, watch: float) -> None:
        self._confidence, self._convict, self._watch = confidence, -math.log(alpha), -math.log(watch)
        self._senders: dict[str, Record] = {}
        self._convicted: set[str] = set()
        self._seen: list[int] = []
        self._right: list[float] = []
        self._questions = Questions()

    @property
    def convicted(self) -> list[str]:
        """Senders whose rows are refused."""
        return sorted(self._convicted)

    def release(self, principal: str) -> None:
        """Hear a sender again, after review."""
        self._convicted.discard(principal)
        self._senders.pop(principal, None)

    def judge(self, trace: Trace) -> Verdict:
        """Evict what contradicts; keep where the rows name no sender."""
        batch, outputs = trace.batch, trace.estimate.outputs
        fresh = batch.fresh
        if fresh and outputs.dim() == 3:
            senders = batch.principals or [None] * fresh
            return self.hear(batch.inputs[:fresh], outputs[:fresh], batch.targets[:fresh], senders)
        if not fresh or batch.principals is None or not labelled(outputs, batch.targets):
            return KEEP
        return self.inspect(outputs[:fresh], batch.targets[:fresh], batch.principals)

    def hear(
        self, rows: Tensor, outputs: Tensor, targets: Tensor, principals: Sequence[str | None]
    ) -> Verdict:
        """Judge coded rows (n, t) of language by outputs (n, l, v) before they are learned, and n senders."""
        evidence = self._questions.evidence(rows, outputs, targets, self._confidence)
        if (verdict := self._rule(evidence, principals)) is KEEP:
            self._questions.learn(rows, outputs, targets)
        return verdict

    def inspect(self, outputs: Tensor, targets: Tensor, principals: Sequence[str | None]) -> Verdict:
        """Judge rows by outputs (n, c) before they are learned, encoded targets (n,) and n senders.

        Where rows are evicted the others count only when they come again without those.
        """
        sure, best = outputs.softmax(1).max(1)
        answers, labels = best.tolist(), targets.tolist()
        verdict = self._rule(self._evidence(sure.tolist(), answers, labels), principals)
        if verdict is KEEP:
            self._learn(answers, labels, outputs.shape[1])
        return verdict

    def _rule(self, evidence: list[int], principals: Sequence[str | None]) -> Verdict:
        named = {p for p in principals if p is not None}
        rates = {p: self._honest(p) for p in named}
        before = {p: list(self._senders.get(p, [0.0, 0.0, 0.0])) for p in named}
        scores = {p: record[0] for p, record in before.items()}
        out = []
        for row, (who, sign) in enumerate(zip(principals, evidence, strict=True)):
            if who is None:
                continue
            scores[who] = _add(scores[who], sign, rates[who])
            heard = who not in self._convicted and scores[who] < self._convict
            if not heard or (sign > 0 and scores[who] >= self._watch):
                out.append(row)
        counted = out or range(len(principals))
        self._count(counted, evidence, principals, rates)
        if not out:
            return KEEP
        guilty = sorted({p for p in named if scores[p] >= self._convict} - self._convicted)
        self._convicted.update(guilty)
        watched = ", ".join(sorted({str(principals[row]) for row in out}))
        reason = f"{len(out)} of {len(evidence)} rows contradict what is known; they are from {watched}"
        return Verdict(Ruling.EVICT, reason, rows=tuple(out), principals=tuple(guilty))

    def _evidence(self, chances: list[float], answers: list[int], labels: list[int]) -> list[int]:
        """1 for a row that contradicts, -1 for one that agrees, 0 for no evidence."""
        found = []
        for chance, answer, label in zip(chances, answers, labels, strict=True):
            contradicts = answer != label and chance >= self._confidence and self._known(answer)
            found.append(0 if not self._known(label) else -1 if answer == label else int(contradicts))
        return found

    def _known(self, label: int) -> bool:
        return label < len(self._seen) and self._seen[label] >= KNOWN and self._right[label] >= 0.5

    def _honest(self, who: str) -> float:
        """The rate at which an honest row may contradict, by the others' rows; 1: there is none to tell."""
        others = [r for p, r in self._senders.items() if p != who and p not in self._convicted]
        wrong, judged = sum(r[1] for r in others), sum(r[2] for r in others)
        own = self._senders.get(who, [0.0, 0.0, 0.0])[2]
        if judged < ENOUGH or own > judged:
            return 1.0
        return min(max(2 * wrong / judged, LOW), HIGH)

    def _count(
        self,
        rows: Iterable[int],
        evidence: list[int],
        principals: Sequence[str | None],
        rates: dict[str, float],
    ) -> None:
        for row in rows:
            who, sign = principals[row], evidence[row]
            if who is None or not sign:
                continue
            record = self._senders.setdefault(who, [0.0, 0.0, 0.0])
            record[0] = _add(record[0], sign, rates[who])
            record[1] += sign > 0
            record[2] += 1
        while len(self._senders) > SENDERS:
            free = [p for p in self._senders if p not in self._convicted] or list(self._senders)
            gone = min(free, key=lambda p: (self._senders[p][0], self._senders[p][2], p))
            self.release(gone)

    def _learn(self, answers: list[int], labels: list[int], width: int) -> None:
        """Note how well each class is known; `width` classes have an output."""
        more = max(0, width - len(self._seen))
        self._seen += [0] * more
        self._right += [0.0] * more
        for answer, label in zip(answers, labels, strict=True):
            self._right[label] += PACE * ((answer == label) - self._right[label])
            self._seen[label] += 1

    def state(self) -> State:
        """Scores and counts by sender, who is convicted, and what is known of each class."""
        return {
            "senders": {name: list(record) for name, record in sorted(self._senders.items())},
            "convicted": self.convicted,
            "seen": list(self._seen),
            "right": list(self._right),
            **({"questions": questions} if (questions := self._questions.state()) else {}),
        }

    def load_state(self, state: State) -> None:
        """Take saved scores."""
        senders = {str(name): [float(x) for x in record] for name, record in state["senders"].items()}
        convicted = {str(name) for name in state["convicted"]}
        self._seen, self._right = list(map(int, state["seen"])), list(map(float, state["right"]))
        self._questions.load_state(state.get("questions", {}))
        self._senders, self._convicted = senders, convicted


def _add(score: float, sign: int, honest: float) -> float:
    if not sign or honest >= 1.0:
        return score
    step = math.log(POISONED / honest) if sign > 0 else math.log((1 - POISONED) / (1 - honest))
    return max(0.0, score + step)


def guard(
    confidence: Annotated[float, Limits(low=0.5, high=1.0, usual=(0.5, 0.9), unit="probability")] = 0.5,
    alpha: Annotated[float, Limits(low=1e-12, high=0.1, usual=(1e-8, 1e-3))] = 1e-5,
    watch: Annotated[float, Limits(low=1e-12, high=0.5, usual=(1e-3, 0.1))] = 1e-2,
) -> Poisoning:
    """The poisoning guard.

    Args:
        confidence: how sure the model must be of another class for a label to contradict it.
        alpha: one over the mean number of rows to a false conviction, at worst.
        watch: the same for holding a contradicting row back.

    >>> guard().convicted
    []
    """
    return Poisoning(confidence, alpha, watch)
