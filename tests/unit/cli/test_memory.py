"""What is said of memory agrees with what is in it, however large it and its rows are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tenuto import OnlineExample, Session
from tenuto.cli.shared import memory
from tenuto.cli.shared.memory import composition
from tenuto.store.home import Home


def learned(path: Path, targets: list[int | str | float], **config: object) -> Home:
    with Session(path, config={"hidden": [4], **config}) as session:
        rows = [OnlineExample(input=[float(i)], target=target, id=str(i)) for i, target in enumerate(targets)]
        session.ingest(rows)
        session.flush()
    return Home.view(path)


@pytest.mark.parametrize("names", [("b", "a", "c"), (10, 9, 200)])
def test_it_counts_the_labels_in_memory(names: tuple[int | str, ...], tmp_path: Path) -> None:
    targets = [names[i % 3] for i in range(300)]
    with learned(tmp_path / "home", targets, memory_size=30) as home:
        held = composition(home)
        ids = [home.journal.fetch([seq])[0].id for seq in home.ledger.memory().values()]
    assert held.classes == Counter(targets[int(id or 0)] for id in ids)
    assert [*held.classes] == sorted(held.classes, key=str if isinstance(names[0], str) else int)
    assert (held.rows, held.read) == (30, 30)


def test_of_a_large_memory_it_reads_a_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "DRAWN", 50)
    with learned(tmp_path / "home", [i % 2 for i in range(300)], memory_size=210) as home:
        held = composition(home)
    assert held.rows == 210
    assert held.read == sum(held.classes.values()) == 42
    monkeypatch.setattr(memory, "READ", 200)
    with Home.view(tmp_path / "home") as home:
        assert composition(home).read <= 200 // 20


def test_numbers_have_no_classes(tmp_path: Path) -> None:
    targets = np.linspace(0, 1, 40).tolist()
    with learned(tmp_path / "home", targets, task="regression") as home:
        held = composition(home)
    assert (held.rows, held.read, held.classes) == (40, 40, {})


def test_nothing_is_said_of_an_empty_one(tmp_path: Path) -> None:
    with Session(tmp_path / "home"):
        pass
    with Home.view(tmp_path / "home") as home:
        assert composition(home).rows == 0
