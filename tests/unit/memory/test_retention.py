"""Rules for what memory keeps: caps, age, importance; with every insertion policy, alone and in a learner."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto import Batch, Learner, OnlineLearnerConfig, trees
from tenuto.errors import ConfigError
from tenuto.memory import RuledBuffer
from tenuto.memory.keeping import limits
from tenuto.parts import names
from tests.contract import checks
from tests.contract.walks import Walk, maker, rows

RULES = "count:5+domain:0.5+principal:0.3+age:25+importance:0.2"
SENDERS = st.lists(st.sampled_from(["ann", "bob", "eve", None]), min_size=1, max_size=40)


def offer(buffer: RuledBuffer, senders: list[str | None], *, first: int = 0, split: int = 3) -> None:
    """Rows numbered from `first`; the loss of each is a fraction, its domain changes every ten rows."""
    numbers = torch.arange(first, first + len(senders))
    for part in numbers.split(split):
        inputs = torch.stack([part.float(), part.float().cos()], 1)

        def alike(slots: torch.Tensor, inputs: torch.Tensor = inputs) -> torch.Tensor:
            return torch.cos(inputs[:, :1] - buffer.table.get(slots)["inputs"][:, 0])

        named = {
            "principal": [senders[number - first] for number in part.tolist()],
            "domain": [f"d{number // 10}" for number in part.tolist()],
        }
        columns = {"inputs": inputs, "targets": part % 3}
        buffer.add(part % 3, columns, alike, part * 0.618 % 1, named)


def numbers(buffer: RuledBuffer) -> list[int]:
    """The numbers of the rows held."""
    return [int(n) for n in buffer.table.columns["inputs"][: len(buffer), 0].tolist()] if len(buffer) else []


@pytest.mark.parametrize("insertion", names("tenuto.memory.insertion"))
@settings(max_examples=10)
@given(SENDERS, st.data())
def test_the_rules_hold_after_every_row(
    insertion: str, senders: list[str | None], data: st.DataObject
) -> None:
    buffer = RuledBuffer(keep=RULES, capacity=12, insertion=insertion)
    other = RuledBuffer(keep=RULES, capacity=12, insertion=insertion)
    cut = data.draw(st.integers(0, len(senders)))
    for row, sender in enumerate(senders):
        offer(buffer, [sender], first=row)
        if row + 1 == cut:
            other.load_state(trees.detach(buffer.state()))
        if row >= cut:
            offer(other, [sender], first=row)
        held = numbers(buffer)
        assert len(held) == len(set(held)) <= 12
        assert max(Counter(number % 3 for number in held).values(), default=0) <= 5
        assert max(Counter(number // 10 for number in held).values(), default=0) <= 6
        of = Counter(senders[number] for number in held)
        assert all(count <= 3 for sender, count in of.items() if sender is not None)
        assert all(number >= row - 25 for number in held)
    if cut < len(senders):
        assert trees.digest(other.state()) == trees.digest(buffer.state())


@pytest.mark.parametrize("insertion", ["reservoir", "ring", "greedy", "class_balanced", "fifo", "coreset"])
def test_what_is_kept_does_not_depend_on_the_split(insertion: str) -> None:
    senders = [None if i % 7 == 0 else "eve" if i % 3 else f"s{i % 5}" for i in range(90)]
    found = []
    for split in (1, 4, 90):
        buffer = RuledBuffer(keep="principal:0.3+age:60+importance:0.2", capacity=12, insertion=insertion)
        offer(buffer, senders, split=split)
        found.append(numbers(buffer))
    assert found[0] == found[1] == found[2]


def test_a_sender_of_nearly_all_holds_its_share_and_the_rest_is_the_others() -> None:
    """A uniform sample of its rows; memory stays full."""
    counts = np.zeros(1000)
    for seed in range(25):
        buffer = RuledBuffer(keep="principal:0.5", capacity=40, seed=seed)
        senders: list[str | None] = [f"s{i % 50}" if i % 10 == 0 else "eve" for i in range(1000)]
        offer(buffer, senders, split=50)
        held = numbers(buffer)
        assert 15 <= Counter(senders[number] for number in held)["eve"] <= 20
        assert len(held) == 40
        counts[held] += 1
    theirs = counts[[i for i in range(1000) if i % 10]]
    expected = theirs.sum() / 4
    assert all(abs(part.sum() - expected) < 5 * expected**0.5 for part in np.array_split(theirs, 4))


def test_without_a_rule_a_sender_of_nearly_all_holds_nearly_all() -> None:
    buffer = RuledBuffer(keep="age:100000", capacity=40)
    offer(buffer, [f"s{i % 50}" if i % 10 == 0 else "eve" for i in range(1000)], split=50)
    assert sum(number % 10 != 0 for number in numbers(buffer)) > 30


def test_a_memory_that_empties_between_two_rows_keeps_names() -> None:
    buffer = RuledBuffer(keep="age:1", capacity=1)
    offer(buffer, ["ann"])
    offer(buffer, ["bob", "bob", "eve", "eve"], first=10, split=4)
    assert buffer.beside.slots("principal", ["eve"]) == [0]
    assert buffer.beside.slots("principal", ["ann", "bob"]) == []


def test_what_matters_is_not_replaced() -> None:
    """The share of the largest losses stays, whatever comes, until its loss falls."""
    buffer = RuledBuffer(keep="importance:0.5", capacity=4, insertion="fifo")
    losses = torch.tensor([9.0, 0.1, 8.0, 0.2])
    columns = {"inputs": torch.arange(4.0)[:, None], "targets": torch.zeros(4, dtype=torch.int64)}
    buffer.add(columns["targets"], columns, losses=losses)
    later = {"inputs": torch.arange(4.0, 10)[:, None], "targets": torch.zeros(6, dtype=torch.int64)}
    buffer.add(later["targets"], later, losses=torch.full((6,), 0.3))
    assert {0, 2} <= set(numbers(buffer))
    buffer.seen_again(torch.tensor([numbers(buffer).index(0)]), torch.tensor([0.0]))
    buffer.add(later["targets"], {**later, "inputs": later["inputs"] + 6}, losses=torch.full((6,), 0.3))
    assert 0 not in numbers(buffer)
    assert 2 in numbers(buffer)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=300))
@settings(max_examples=10)
def test_names_without_end_are_let_go(senders: list[int]) -> None:
    buffer = RuledBuffer(keep="principal:0.5", capacity=5)
    told: list[str | None] = [f"s{number}" for number in senders]
    offer(buffer, told, split=1)
    table = buffer.state()["names"]["principal"]
    assert len(table) <= 64 + 2 * 5 + 1
    held = buffer.beside.filled("principal").tolist()
    assert [table[number] for number in held] == [told[number] for number in numbers(buffer)]


@pytest.mark.parametrize(
    ("keep", "says"),
    [
        ("principal", "give a number, as principal:2"),
        ("principal:most", "principal with 'most'"),
        ("principal:2.0", "must be at most 1"),
        ("age:0", "must be at least 1"),
        ("age:1.5", "must be int"),
        ("age:5+age:6", "names age twice"),
        ("principle:0.5", "did you mean 'principal'"),
    ],
)
def test_a_rule_that_is_none_is_refused(keep: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Learner(config=OnlineLearnerConfig(memory_keep=keep))


def test_a_share_of_a_memory_without_bound_is_refused() -> None:
    with pytest.raises(ConfigError, match="no bound"):
        Learner(config=OnlineLearnerConfig(memory_keep="principal:0.5"), method="joint")
    assert set(limits()) == {"age", "count", "domain", "importance", "principal"}


NAMED: Walk = tuple(
    None
    if at == 6
    else rows("abcde"[: 2 + at % 3] + "a", seed=at, principals=["eve"] * 2 + [None] + ["ann"] * (at % 3))
    for at in range(12)
)


@pytest.mark.parametrize("insertion", ["reservoir", "ring", "gss", "mixed"])
@pytest.mark.parametrize(
    "check",
    [checks.resumes_at_every_step, checks.goes_back_in_time, checks.state_is_plain],
    ids=lambda check: check.__name__,
)
def test_in_a_learner(insertion: str, check: checks.Check) -> None:
    """Everything at once: bytes that shrink as classes come, rules, a policy that reads domains."""
    keep = "principal:0.4+age:20+importance:0.2"
    settings = {"insertion": insertion, "sampling": "by_domain", "memory_keep": keep, "memory_bytes": 1000}
    check(maker("derpp", **settings), NAMED)


def test_rules_hold_in_a_learner() -> None:
    learner = Learner(config=OnlineLearnerConfig(memory_size=20, memory_keep="domain:0.25+principal:0.5"))
    draws = torch.Generator().manual_seed(0)
    for step in range(60):
        inputs = torch.randn(10, 4, generator=draws)
        batch = Batch(inputs, [0, 1] * 5, domains=[f"d{step // 12}"] * 10, principals=["eve"] * 9 + ["ann"])
        learner.learn_batch(batch)
    assert learner.memory is not None
    assert len(learner.memory.beside.slots("principal", ["eve"])) <= 10
    for domain in range(5):
        assert len(learner.memory.beside.slots("domain", [f"d{domain}"])) <= 5
    assert len(learner.memory) > 12
