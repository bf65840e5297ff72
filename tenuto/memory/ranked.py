"""Insertion by value: a full memory gives up the least valuable row of its largest group.

    value_i = w rank(loss_i) + (1 - w) rank(novelty_i),   novelty_i = min_{j != i} |x_i - x_j| in its group
    P(give up the row of rank r) ~ (r + 1)^(-1/T),        r = 0 the least valuable

A row of a group that has less than the others takes a place of the largest group; a row of a largest group
stands with that group's rows and may itself be the one given up. Ranks are within the group, so no scale of a
loss or of an input counts, and a hard class does not drive out an easy one. Losses are refreshed by replay;
age and use count for nothing.

The invariant: novelty is the distance to the nearest *other* row now held of the same group, kept so while
rows come and go: a row that loses its nearest one looks for it again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.errors import ConfigError
from tenuto.protocols import Incoming, Left
from tenuto.randomness import uniform
from tenuto.types import State

Floats = NDArray[np.float64]
Read = Callable[[NDArray[np.int64]], Tensor]


class Ranked:
    """Groups of equal size, each of its most valuable rows.

    Args:
        capacity: rows held.
        seed: key of its draws.
        surprise: w, the weight of the loss's rank in [0, 1]; the rest is the novelty's.
        temperature: T of the draw among ranks; 0: always the least valuable.

    >>> kept = Ranked(2, seed=0, surprise=1.0, temperature=0.0)
    >>> kept.slots(Incoming(0, torch.zeros(4), losses=torch.tensor([1.0, 3.0, 0.5, 2.0])))
    [0, 1, -1, 0]
    """

    def __init__(self, capacity: int, seed: int, *, surprise: float, temperature: float) -> None:
        self._capacity, self._seed = capacity, seed
        self._surprise, self._temperature = surprise, temperature
        self.needs = frozenset[str]()
        if surprise > 0:
            self.needs |= {"losses", "fresh losses"}
        if surprise < 1:
            self.needs |= {"inputs"}
        self._count = 0
        self._sizes: dict[int, int] = {}
        self._group = np.zeros(capacity, dtype=np.int64)
        self._loss = np.zeros(capacity)
        self._novelty = np.full(capacity, np.inf)
        self._nearest = np.full(capacity, -1, dtype=np.int64)

    def slots(self, incoming: Incoming) -> list[int]:
        """A slot for each row, or -1.

        Raises:
            ConfigError: the losses or inputs that it compares were not given.
        """
        groups = incoming.groups.tolist()
        n, first = len(groups), incoming.first
        if self._surprise > 0 and incoming.losses is None:
            raise ConfigError("this insertion policy keeps what surprises: give `losses` with the rows")
        if self._surprise < 1 and (incoming.inputs is None or incoming.stored is None):
            raise ConfigError(
                "this insertion policy compares inputs: give `inputs` and `stored` with the rows"
            )
        losses = _numbers(incoming.losses, n)
        draws = uniform(self._seed, "give up", np.arange(first, first + n, dtype=np.uint64)).tolist()
        placed: dict[int, int] = {}
        slots = []
        for row, group in enumerate(groups):
            slots.append(self._place(int(group), losses[row], draws[row], row, reader(incoming, placed)))
            if slots[-1] >= 0:
                placed[slots[-1]] = row
        return slots

    def seen(self, slots: Tensor, losses: Tensor) -> None:
        """Refresh the losses of replayed rows; one that is no number changes none."""
        where, newest = slots.numpy(), losses.numpy(force=True).astype(np.float64)
        known = np.isfinite(newest)
        self._loss[where[known]] = newest[known]

    def evicted(self, left: Left) -> None:
        """The others keep their losses; those that lost their nearest look for it again."""
        stay, now = np.array(left.stay, dtype=np.int64), np.full(self._count + 1, -1, dtype=np.int64)
        now[stay] = np.arange(len(stay))
        lost = (self._nearest[stay] >= 0) & (now[self._nearest[stay]] < 0)
        for kept in (self._group, self._loss, self._novelty, self._nearest):
            kept[: len(stay)] = kept[stay]
        self._nearest[: len(stay)] = now[self._nearest[: len(stay)]]
        self._count = len(stay)
        self._capacity = self._capacity if left.capacity is None else left.capacity
        self._count_groups()

        def read(slots: NDArray[np.int64]) -> Tensor:
            return left.stored(torch.from_numpy(slots))

        for slot in np.flatnonzero(lost).tolist():
            others = self._members(int(self._group[slot]))
            others = others[others != slot]
            self._look(slot, others, _distances(read, others, read(np.array([slot]))[0]))

    def state(self) -> State:
        """Group, loss, novelty and nearest other row of each slot."""
        names = ("group", "loss", "novelty", "nearest")
        return {name: torch.from_numpy(vars(self)[f"_{name}"][: self._count]) for name in names}

    def load_state(self, state: State) -> None:
        """Take what was saved."""
        self._count = count = len(state["group"])
        for name in ("group", "loss", "novelty", "nearest"):
            vars(self)[f"_{name}"][:count] = state[name].numpy()
        self._count_groups()

    def _count_groups(self) -> None:
        groups, sizes = np.unique(self._group[: self._count], return_counts=True)
        self._sizes = dict(zip(groups.tolist(), sizes.tolist(), strict=True))

    def _place(self, group: int, loss: float, draw: float, row: int, read: Read) -> int:
        """The slot of one row, given a draw in [0, 1)."""
        x = read(np.array([-1 - row]))[0] if self._surprise < 1 else None
        if self._count < self._capacity:
            slot, self._count = self._count, self._count + 1
        else:
            most = max(self._sizes.values())
            joins = self._sizes.get(group, 0) == most
            donor = group if joins else min(g for g, size in self._sizes.items() if size == most)
            members = self._members(donor)
            distances = _distances(read, members, x) if joins else None
            slot = self._given_up(members, distances, loss, draw)
            if slot < 0:
                return -1
            self._leave(slot, donor, read)
        self._join(slot, group, loss, x, read)
        return slot

    def _given_up(self, members: NDArray[np.int64], to: Floats | None, loss: float, draw: float) -> int:
        """Which of a group's rows goes; a new row that joins them at distances `to` is -1."""
        losses, novelty = self._loss[members], self._novelty[members]
        if to is not None:
            members = np.insert(members, 0, -1)
            losses = np.insert(losses, 0, loss)
            novelty = np.insert(np.minimum(novelty, to), 0, to.min(initial=np.inf))
        value = self._surprise * _ranks(losses) + (1 - self._surprise) * _ranks(novelty)
        order = np.argsort(value, kind="stable")
        if not self._temperature:
            return int(members[order[0]])
        ends = (np.arange(1, len(order) + 1) ** (-1 / self._temperature)).cumsum()
        rank = min(int(ends.searchsorted(draw * ends[-1], side="right")), len(order) - 1)
        return int(members[order[rank]])

    def _leave(self, slot: int, group: int, read: Read) -> None:
        """A row goes; those it was nearest to look for their nearest again."""
        self._group[slot] = -1
        self._sizes[group] -= 1
        if not self._sizes[group]:
            del self._sizes[group]
        if self._surprise == 1:
            return
        members = self._members(group)
        for orphan in members[self._nearest[members] == slot]:
            others = members[members != orphan]
            self._look(orphan, others, _distances(read, others, read(np.array([orphan]))[0]))

    def _join(self, slot: int, group: int, loss: float, x: Tensor | None, read: Read) -> None:
        """A row comes, and is the nearest to some."""
        members = self._members(group)
        members = members[members != slot]
        self._group[slot], self._loss[slot] = group, loss
        self._sizes[group] = self._sizes.get(group, 0) + 1
        if x is None:
            return
        to = _distances(read, members, x)
        self._look(slot, members, to)
        nearer = to < self._novelty[members]
        self._novelty[members[nearer]], self._nearest[members[nearer]] = to[nearer], slot

    def _look(self, slot: int, others: NDArray[np.int64], to: Floats) -> None:
        at = int(to.argmin()) if len(to) else -1
        self._novelty[slot] = to[at] if len(to) else np.inf
        self._nearest[slot] = others[at] if len(to) else -1

    def _members(self, group: int) -> NDArray[np.int64]:
        return np.flatnonzero(self._group[: self._count] == group)


def reader(incoming: Incoming, placed: dict[int, int]) -> Read:
    """Inputs by slot, as it is after the rows placed so far; row i of the batch is -1 - i."""
    inputs, stored = incoming.inputs, incoming.stored

    def read(slots: NDArray[np.int64]) -> Tensor:
        if inputs is None or stored is None:
            raise ConfigError("no inputs were given")
        rows = np.array([placed.get(slot, -1 - slot if slot < 0 else -1) for slot in slots.tolist()])
        found = inputs.new_empty(len(slots), inputs.shape[1])
        fresh, held = rows >= 0, rows < 0
        if fresh.any():
            found[torch.from_numpy(fresh)] = inputs[torch.from_numpy(rows[fresh])]
        if held.any():
            found[torch.from_numpy(held)] = stored(torch.from_numpy(slots[held]))
        return found

    return read


def _distances(read: Read, slots: NDArray[np.int64], x: Tensor | None) -> Floats:
    """The distances (k,) of an input from those in slots (k,); 0 where inputs do not count."""
    if x is None or not len(slots):
        return np.zeros(len(slots))
    return np.asarray((read(slots) - x).square().sum(1).sqrt().double().numpy(force=True))


def _ranks(values: Floats) -> Floats:
    """0 for the least; of equal ones the first is the least."""
    ranks = np.empty(len(values))
    ranks[np.argsort(values, kind="stable")] = np.arange(len(values))
    return ranks


def _numbers(losses: Tensor | None, n: int) -> list[float]:
    """Losses as numbers that can be ranked: what is not one surprises least."""
    if losses is None:
        return [0.0] * n
    return [float(x) for x in np.nan_to_num(losses.numpy(force=True).astype(np.float64), posinf=0.0)]
