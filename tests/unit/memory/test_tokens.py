"""Rows of tokens come out of memory as they went in, and lie there in two bytes a token, or four."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tenuto.memory import ReplayBuffer
from tenuto.memory.tokens import PAD, Tokens


def rows(vocabulary: int, count: int = 5, seed: int = 0) -> dict[str, torch.Tensor]:
    """Rows of unlike lengths, with answers in several places."""
    draws = np.random.default_rng(seed)
    inputs = torch.from_numpy(draws.integers(0, vocabulary, (count, 21)))
    inputs = torch.where(torch.from_numpy(draws.random((count, 21)) < 0.4), ~inputs, inputs)
    for row, length in enumerate(draws.integers(1, 22, count)):
        inputs[row, length:] = PAD
    targets = torch.from_numpy(draws.integers(-1, vocabulary, (count, 6)))
    return {"inputs": inputs, "targets": targets}


def same(table: Tokens, wanted: dict[str, torch.Tensor], slots: list[int]) -> bool:
    found = table.get(torch.tensor(slots))
    alone = table.inputs(torch.tensor(slots))
    return (
        found.keys() == wanted.keys()
        and all(found[name].equal(wanted[name]) and found[name].dtype == torch.int64 for name in wanted)
        and alone.equal(wanted["inputs"])
    )


@pytest.mark.parametrize(("vocabulary", "width"), [(512, 2), (65_535, 2), (65_536, 4), (2**31 - 1, 4)])
def test_rows_come_out_as_they_went_in(vocabulary: int, width: int) -> None:
    given = rows(vocabulary)
    given["targets"][0, 0] = vocabulary - 1
    given["inputs"][0, 0] = vocabulary - 1 if vocabulary < 2**31 - 1 else 0
    table = Tokens(capacity=8)
    table.put([3, 0, 1, 4, 2], given)
    assert same(table, given, [3, 0, 1, 4, 2])
    assert table.columns["targets"].element_size() == width
    assert sum(column[0].nbytes for column in table.columns.values()) <= width * 27 + 3


def test_columns_are_widened_when_a_larger_token_comes_and_a_saved_table_is_taken_back() -> None:
    early, late = rows(512), rows(100_000, seed=1)
    table = Tokens(capacity=10)
    table.put_run(0, 5, early)
    table.put_run(5, 10, late)
    both = {name: torch.cat([early[name], late[name]]) for name in early}
    assert same(table, both, list(range(10)))
    again = Tokens(capacity=10)
    again.load_state(table.state())
    assert same(again, both, list(range(10)))
    whole = Tokens(capacity=10)
    whole.load_state({"columns": both})
    assert same(whole, both, list(range(10))), "what an earlier release saved, as int64, is not taken"


def test_a_bound_in_bytes_holds() -> None:
    buffer = ReplayBuffer(capacity=100, insertion="fifo", bytes=2000, tokens=True)
    for seed in range(6):
        given = rows(100_000, 8, seed)
        buffer.add(torch.zeros(8, dtype=torch.int64), given)
    held = sum(column[: len(buffer)].nbytes for column in buffer.table.columns.values())
    assert 8 < len(buffer) < 48
    assert held + 64 * len(buffer) <= 2000
    assert (
        buffer.table.inputs(torch.arange(len(buffer)))[-1].tolist() in rows(100_000, 8, 5)["inputs"].tolist()
    )


def test_rows_that_are_no_tokens_are_kept_whole() -> None:
    table = Tokens(capacity=4)
    given = {"inputs": torch.randn(2, 3), "targets": torch.tensor([[1, -1], [2, 3]])}
    table.put([0, 1], given)
    assert table.get(torch.arange(2))["inputs"].equal(given["inputs"])
    assert table.dtype == torch.float32
