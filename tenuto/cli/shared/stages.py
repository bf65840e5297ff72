"""Stages of a longer piece of work: a bar each on a terminal, a line each elsewhere."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Stages(AbstractContextManager["Stages"]):
    """Shows how far each stage is.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("[bold]{task.description:<16}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[remark]}", style="dim"),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}

    def tell(self, stage: str, done: int, total: int, remark: str) -> None:
        """A stage is `done` of `total` far."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, remark=remark)
        self._progress.update(self._tasks[stage], completed=done, total=total, remark=remark)
        if done == total and not self._console.is_terminal:
            self._console.print(f"{stage}: {remark}", soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
