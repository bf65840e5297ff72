"""A folder appears whole or not at all, and stands in nobody's way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tenuto.folders import appearing


def written(target: Path, text: str, *, replace: bool = False) -> None:
    with appearing(target, replace=replace) as part:
        (part / "file").write_text(text)


def test_what_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> None:
        with appearing(tmp_path / "made") as part:
            (part / "file").write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_not_taken_over(tmp_path: Path) -> None:
    (tmp_path / ".made.part").mkdir()
    (tmp_path / ".made.part" / "old").write_text("half")
    written(tmp_path / "made", "whole")
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "file"]


def test_what_stands_there_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    written(tmp_path / "made", "first")
    with pytest.raises(OSError, match="not empty"):
        written(tmp_path / "made", "second")
    assert (tmp_path / "made" / "file").read_text() == "first"
    written(tmp_path / "made", "second", replace=True)
    assert (tmp_path / "made" / "file").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
