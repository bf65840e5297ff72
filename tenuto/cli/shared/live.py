"""The meter on a terminal: a bar, and under it what is being learned and kept. Elsewhere: nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tenuto.cli.shared.meter import Meter
from tenuto.cli.shared.output import percent
from tenuto.cli.shared.pace import Pace

INTERVAL = 0.1


class Display(AbstractContextManager["Display"]):
    """Draws a meter on stderr while the block runs, where stderr is a terminal."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._pace = Pace(INTERVAL)
        console = Console(stderr=True)
        self._live = (
            Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        )

    def draw(self, *, now: bool = False) -> None:
        """Draw, at most ten times a second unless `now`."""
        if self._live is not None and (now or self._pace.due()):
            self._live.update(picture(self._meter), refresh=True)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self.draw(now=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()


def picture(meter: Meter) -> RenderableType:
    """The bar and the figures."""
    bar = ProgressBar(
        total=meter.total or 1,
        completed=meter.read,
        pulse=meter.total is None,
        animation_time=meter.seconds,
        complete_style="cyan",
        finished_style="cyan",
        pulse_style="cyan",
    )
    of = "" if meter.total is None else f" / {meter.total:,}"
    top = Table.grid(padding=(0, 1), expand=True)
    top.add_column(no_wrap=True, overflow="ellipsis", max_width=28)
    top.add_column(ratio=1)
    top.add_column(no_wrap=True, justify="right")
    top.add_row(Text(meter.source or "opening", style="bold"), bar, f"{meter.read:,}{of} rows")
    return Group(top, _figures(meter))


def _figures(meter: Meter) -> Text:
    told = [(f"{meter.rate:,.0f}", "rows/s")]
    if meter.loss is not None:
        told.append((f"{meter.loss:.3f}", "loss"))
    if meter.progressive is not None:
        told.append((percent(meter.progressive), "right before learning"))
    if meter.retention is not None:
        told.append((percent(meter.retention), "of all learned kept"))
    if meter.held is not None:
        told.append((f"{meter.held:.4g}" if meter.numbers else percent(meter.held), "held out"))
    if meter.duplicates:
        told.append((f"{meter.duplicates:,}", "duplicates"))
    if meter.quarantined:
        told.append((f"{meter.quarantined:,}", "quarantined"))
    line = Text()
    for i, (figure, name) in enumerate(told):
        line.append("  " if i else "").append(figure, style="bold cyan").append(f" {name}", style="dim")
    return line
