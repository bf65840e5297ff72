"""Keeping: rules beside the insertion policy that say which rows may stay, and which may not be replaced.

A rule looks at what lies beside the rows: group, number in the stream, and where it names them sender, domain
and newest loss. Before a row is offered to the insertion policy a rule may refuse it, or empty slots; when
the policy would put it into a slot that a rule protects, the policy is set back and the row is not kept.

The invariant: a rule is a pure function of what lies beside the rows, so it has no state, and since rows are
offered one by one, what is kept does not depend on how they were split into batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tenuto.config import Limits
from tenuto.errors import ConfigError
from tenuto.parts import check_options, declared, find, names
from tenuto.randomness import uniform

ROOM = "tenuto.memory.retention"
Column = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Held:
    """What lies beside the rows held: (k,) each of "group", "number" and what rules name in `needs`.

    Args:
        columns: by name.
        capacity: rows that memory holds.
        seed: key of draws among rows.
    """

    columns: Mapping[str, Column]
    capacity: int | None
    seed: int

    def lots(self, slots: Column) -> NDArray[np.float64]:
        """A draw (k,) in [0, 1) for each row, its own for as long as it is held."""
        return uniform(self.seed, "keep", self.columns["number"][slots].astype(np.uint64))


class Rule(Protocol):
    """One rule. `needs` names what it reads beside "group" and "number", as memory's policies do:
    "principals" (column "principal"), "domains" ("domain"), "losses" ("loss")."""

    needs: frozenset[str]
    share: float
    """Of all that memory holds; 0: it asks for none."""
    protecting: bool
    """May it protect a row?"""

    def room(self, held: Held, row: Mapping[str, Any]) -> tuple[Sequence[int], bool]:
        """Slots to be emptied before this row is offered; and may it be?"""

    def protects(self, held: Held, slot: int) -> bool:
        """May the insertion policy not give this slot to another row?"""


class Cap:
    """At most so many rows of one value; a uniform sample of those that were offered since it was reached.

    Of the rows of a value those of the smallest lots stay. A lot is drawn once for each row of the stream, so
    of n rows offered each is as likely to be held as any other (bottom-k sampling; Cohen & Kaplan 2007), with
    nothing to count.

    Args:
        column: which value; a negative number is a row without one, which no limit holds for.
        rows: the limit, or
        share: of all that memory holds, at least one row.

    >>> kept = Cap("group", rows=2)
    >>> held = Held({"group": np.array([7, 7, 8]), "number": np.array([0, 1, 2])}, capacity=4, seed=0)
    >>> [kept.room(held, {"group": group, "number": 3}) for group in (7, 8)]
    [([], False), ([], True)]
    """

    protecting = False

    def __init__(self, column: str, *, rows: int = 0, share: float = 0.0) -> None:
        self._column, self._rows, self.share = column, rows, share
        self.needs = frozenset[str]() if column == "group" else frozenset({f"{column}s"})

    def room(self, held: Held, row: Mapping[str, Any]) -> tuple[Sequence[int], bool]:
        """Those of the largest lots go, this one among them."""
        value = row[self._column]
        same = np.flatnonzero(held.columns[self._column] == value)
        over = len(same) + 1 - self._limit(held)
        if over < 1 or (value < 0 and self._column != "group"):
            return [], True
        lots = held.lots(same)
        mine = uniform(held.seed, "keep", np.array([row["number"]], dtype=np.uint64))[0]
        order = same[np.argsort(-lots, kind="stable")]
        higher = int((lots > mine).sum())
        return [int(slot) for slot in order[: min(over, higher)]], higher >= over

    def protects(self, held: Held, slot: int) -> bool:
        """No."""
        return False

    def _limit(self, held: Held) -> int:
        if not self.share or held.capacity is None:
            return self._rows
        return max(1, int(self.share * held.capacity))


class Keeping:
    """Several rules, as the setting `memory_keep` names them: "principal:0.5+age:10000".

    Raises:
        ConfigError: a rule is unknown, named twice, or its limit is not one.

    >>> sorted(Keeping("count:20+principal:0.5").needs)
    ['principals']
    """

    def __init__(self, rules: str) -> None:
        self._rules: dict[str, Rule] = {}
        for part in rules.split("+"):
            name, _, limit = (word.strip() for word in part.partition(":"))
            if name in self._rules:
                raise ConfigError(f"memory_keep {rules!r} names {name} twice")
            self._rules[name] = _made(name, limit)
        self.needs = frozenset[str]().union(*(rule.needs for rule in self._rules.values()))
        read = {"principals": "principal", "domains": "domain", "losses": "loss"}
        self.columns = ["group", "number", *(read[need] for need in sorted(self.needs & read.keys()))]
        self.protecting = any(rule.protecting for rule in self._rules.values())
        self.shares = any(rule.share for rule in self._rules.values())

    def room(self, held: Held, row: Mapping[str, Any]) -> tuple[set[int], bool]:
        """Slots to be emptied before this row is offered; and may it be, by all rules?"""
        answers = [rule.room(held, row) for rule in self._rules.values()]
        return {slot for slots, _ in answers for slot in slots}, all(may for _, may in answers)

    def protects(self, held: Held, slot: int) -> bool:
        """Does any rule protect the row in this slot?"""
        return any(rule.protects(held, slot) for rule in self._rules.values())


def limits() -> dict[str, Limits]:
    """What the limit of each rule may be.

    >>> limits()["age"].unit
    'rows'
    """
    return {name: declared(find(ROOM, "rule", name).rule)["limit"][1] for name in names(ROOM)}


def _made(name: str, limit: str) -> Rule:
    make = find(ROOM, "rule for what memory keeps", name).rule
    try:
        number: int | float = int(limit) if limit.lstrip("-").isdecimal() else float(limit)
    except ValueError:
        raise ConfigError(
            f"memory_keep names {name} with {limit or 'no limit'!r}; give a number, as {name}:2"
        ) from None
    check_options(f"rule {name!r}", make, {"limit": number})
    rule: Rule = make(number)
    return rule
