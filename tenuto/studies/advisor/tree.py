"""The decision tree: from a profile to a method, with the reasons and the settings.

adapters of a language model                    -> hybrid (replay and elastic weights)
quick adaptation                                -> metacl, or lamaml
few contexts, and room for (nearly) all rows    -> full rehearsal: joint
drift, and nobody says when                     -> hybrid: online EWC and replay
rows may not be kept                            -> ewc or si, by the cost
many contexts, little memory, gradients to pay  -> gem, agem
else                                            -> derpp; er where a step must be cheap, or for numbers
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tenuto.studies.advisor.profile import Profile

FEW, MANY = 5, 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    """A method, why, and how.

    Args:
        method: its name.
        reasons: one sentence each, the deciding one first.
        options: of the method.
        settings: of the learner.
        rivals: methods that are worth a trial beside it.
    """

    method: str
    reasons: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    rivals: tuple[str, ...] = ()

    def arguments(self) -> str:
        """The same as options of `tenuto learn`.

        >>> Advice(method="er", reasons=(), settings={"memory_size": 200}).arguments()
        '--method er --set memory_size=200'
        """
        words = [f"--method {self.method}"]
        words += [f"--option {name}={value}" for name, value in self.options.items()]
        words += [f"--set {name}={value}" for name, value in self.settings.items()]
        return " ".join(words)


def advise(profile: Profile) -> Advice:
    """The method for a profile.

    >>> advise(Profile(drifting=True)).method, advise(Profile(remembers=False, boundaries=True)).method
    ('hybrid', 'ewc')
    """
    size = {"memory_size": profile.memory}
    if profile.adapters:
        return Advice(
            method="hybrid",
            reasons=("few weights learn, and replay with elastic weights holds them at little cost",),
            options={"strength": 1.0},
            settings={**size, "replay_ratio": 0.5},
            rivals=("er",),
        )
    if profile.quick:
        method = "metacl" if profile.cost >= 4 and not profile.regression else "lamaml"
        return Advice(
            method=method,
            reasons=("it learns to adapt within a few rows, and rehearses while it does",),
            settings=size,
            rivals=("er", "lamaml" if method == "metacl" else "metacl"),
        )
    return _room(profile, size) or _kept(profile, size)


def _room(profile: Profile, size: dict[str, Any]) -> Advice | None:
    """What follows from there being room for everything, or for nothing."""
    if not profile.remembers:
        return _without_memory(profile)
    room = profile.rows is not None and profile.memory >= 0.5 * profile.rows
    if room and (profile.contexts or 1) <= FEW and not profile.drifting:
        return Advice(
            method="joint",
            reasons=("few contexts, and room for nearly all rows: rehearse them all",),
            settings={},
            rivals=("derpp", "er"),
        )
    if profile.drifting and not profile.boundaries:
        return Advice(
            method="hybrid",
            reasons=(
                "the world drifts and nobody says when: online elastic weights hold, replay refreshes",
                "consolidate on a timer or on a drift signal, so that the elastic weights follow",
            ),
            settings={**size, "replay_ratio": 0.5},
            rivals=("er", "derpp"),
        )
    return None


def _without_memory(profile: Profile) -> Advice:
    if not profile.boundaries:
        return Advice(
            method="si",
            reasons=("no row may be kept, and importance gathered along the way needs none",),
            settings={"boundaries": "domain"},
            rivals=("lwf", "naive"),
        )
    return Advice(
        method="ewc",
        reasons=("no row may be kept beyond its context, and something says where contexts end",),
        options={"mode": "online"},
        rivals=("si", "lwf", "mas"),
    )


def _kept(profile: Profile, size: dict[str, Any]) -> Advice:
    """What follows from how many contexts share the memory, and from what a step may cost."""
    many = (profile.contexts or 0) >= MANY and profile.boundaries
    if many and profile.memory < 20 * (profile.contexts or 1):
        if profile.cost < 2:
            return Advice(
                method="ewc",
                reasons=("many contexts, little memory and cheap steps: hold the weights, not the rows",),
                options={"mode": "online"},
                rivals=("si", "er"),
            )
        return Advice(
            method="gem" if profile.cost >= 4 and not profile.blocks else "agem",
            reasons=("many contexts and little memory: a few rows of each still forbid what would undo it",),
            settings=size,
            rivals=("derpp", "er"),
        )
    settings = {**size, "replay_ratio": 0.5}
    if profile.regression or profile.cost < 1.5:
        why = "targets are numbers" if profile.regression else "a step must be cheap"
        return Advice(
            method="er",
            reasons=(f"{why}: plain replay",),
            settings=settings,
            rivals=("hybrid",) if profile.regression else ("er_ace",),
        )
    reasons = ["replay with stored outputs keeps most at two forwards' cost, and needs no boundaries"]
    if profile.blocks:
        reasons.append("classes arrive in blocks, where stored outputs and balanced memory matter most")
        settings["insertion"] = "class_balanced"
    return Advice(method="derpp", reasons=tuple(reasons), settings=settings, rivals=("er", "er_ace"))
