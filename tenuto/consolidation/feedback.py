"""Feedback: what an episode was measured to have forgotten sets how the next one protects and replays.

    forgot f:   p <- p 2^u,  r <- r + (r_most - r) u / 2,  u = min(f / f_full, 1)
    forgot no more than is tolerated:   both sink to what was asked for, a share of the way each time

p multiplies the strength of anchors and springs (lambda), r is the replay ratio. Both are bounded: below by
what was asked for, above by their most. It is a pure function of what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from tenuto.config import Limits, check


@dataclass(frozen=True, kw_only=True, slots=True)
class Strength:
    """How strongly an episode protects what was known.

    Args:
        protection: times the strength that was asked for.
        replay_ratio: replayed of all rows.
    """

    protection: float = 1.0
    replay_ratio: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Feedback:
    """The rule.

    Args:
        tolerated: forgetting that asks for nothing, as a share of what was measured.
        full: forgetting at which protection doubles.
        protection, replay_ratio: the most of each.
        sinks: share of the way back to what was asked for, after an episode that forgot no more.

    Raises:
        ConfigError: one of them is out of bounds.

    >>> asked = Strength(replay_ratio=0.5)
    >>> rule = Feedback(tolerated=0.01, full=0.1)
    >>> rose = rule.next(asked, asked, forgetting=0.1); rose
    Strength(protection=2.0, replay_ratio=0.7)
    >>> rule.next(rose, asked, forgetting=0.0)
    Strength(protection=1.9, replay_ratio=0.68)
    """

    tolerated: float = 0.01
    full: float = 0.05
    protection: float = 8.0
    replay_ratio: float = 0.9
    sinks: float = 0.1

    def __post_init__(self) -> None:
        check("tolerated", self.tolerated, float, Limits(low=0.0, high=1.0))
        check("full", self.full, float, Limits(low=1e-6, high=1.0))
        check("protection", self.protection, float, Limits(low=1.0, high=1000.0))
        check("replay_ratio", self.replay_ratio, float, Limits(low=0.0, high=0.95))
        check("sinks", self.sinks, float, Limits(low=0.0, high=1.0))

    def next(self, now: Strength, asked: Strength, *, forgetting: float | None) -> Strength:
        """The strength of the next episode.

        Args:
            now: of the one that was measured.
            asked: what the home was made with, or was set to since.
            forgetting: share of what was right before the episode and is no longer; None: not measured, and
                nothing changes.
        """
        if forgetting is None:
            return now
        if forgetting <= self.tolerated:
            return Strength(
                protection=_rounded(now.protection + self.sinks * (asked.protection - now.protection)),
                replay_ratio=_rounded(
                    now.replay_ratio + self.sinks * (asked.replay_ratio - now.replay_ratio)
                ),
            )
        rise = min(forgetting / self.full, 1.0)
        room = max(self.replay_ratio - now.replay_ratio, 0.0)
        return Strength(
            protection=max(min(_rounded(now.protection * 2**rise), self.protection), now.protection),
            replay_ratio=_rounded(now.replay_ratio + room * rise / 2),
        )


def _rounded(value: float) -> float:
    """To four digits, so that a step of the way back that is too small to matter is none."""
    return round(value, 4)
