"""Stages of a longer piece of work: a bar each, where a terminal is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Stages(AbstractContextManager["Stages"]):
    """Shows how far each stage is.

    Args:
        console: where to; None: stderr, and nothing where that is no terminal.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._lines = console is not None and not console.is_terminal
        self._console = console or Console(stderr=True)
        self._progress = Progress(
            TextColumn("[bold]{task.description:<16}"),
            BarColumn(bar_width=24, complete_style="cyan", finished_style="cyan"),
            TextColumn("{task.fields[remark]}", style="dim"),
            TimeElapsedColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=console is None,
        )
        self._tasks: dict[str, TaskID] = {}

    def tell(self, stage: str, done: int, total: int, remark: str) -> None:
        """A stage is `done` of `total` far; without a terminal, its end is a line."""
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total, remark=remark)
        self._progress.update(self._tasks[stage], completed=done, total=total, remark=remark)
        if self._lines and done == total:
            self._console.print(f"{stage}: {remark}", soft_wrap=True)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
