"""One learner, taught invented facts one after another, and asked what it knew before.

The base that learns may be held in bfloat16, which is faster; what was learned is asked beside the float32
base, as an engine would serve it: an adapter's own tensors are float32 either way.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from typing import Any, Literal, Self, get_args

import numpy as np
import torch

from tenuto.adapters.export import served
from tenuto.adapters.lora import adapt, middle
from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.learner import Learner
from tenuto.models.bases import load
from tenuto.models.language import LanguageModel
from tenuto.models.speech import Message, Speech
from tenuto.session.spoken import OPTIONS, SETTINGS, anchor
from tenuto.studies.facts.asking import LONG, SAID, begins, say
from tenuto.studies.facts.stories import FACTS
from tenuto.types import OnlineExample

Method = Literal["naive", "replay", "anchored", "protected"]
METHODS: dict[Method, tuple[str, dict[str, Any]]] = {
    "naive": ("naive", {}),
    "replay": ("er", {}),
    "anchored": ("anchored", dict(OPTIONS)),
    "protected": ("ogp_lora", {**OPTIONS, "ratio": 0.75, "general": 256, "weight": 8.0}),
}
"""The lines of the study, the methods behind them, their options; `anchored` is what a home by name has."""
Probe = Sequence[tuple[str, str]]
Tell = Callable[["Job", int], None]
"""Told how many facts a job has been taught."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run.

    Args:
        method: a line of the study.
        seed: key of the adapter, of what the base writes, and of every draw.
        facts: how many are taught.
        model: the base, by name.
        precision: what the base is held in while it learns.
        probe: the digest of what is asked beside the facts.
        every: ask the probe after so many facts; 0: in the end alone.
    """

    method: Method
    seed: int
    facts: int = len(FACTS)
    model: str = "smollm2"
    precision: str = "bfloat16"
    probe: str = ""
    every: int = 0

    @property
    def key(self) -> str:
        """What tells it from other runs."""
        return "|".join(f"{name}={value}" for name, value in self.to_plain().items())

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> Self:
        """From `to_plain`. Raises ConfigError where it is no job of this study."""
        if plain.keys() != {one.name for one in fields(cls)} or plain["method"] not in get_args(Method):
            raise ConfigError(f"{plain!r} is no run of this study")
        return cls(**plain)


class Voice:
    """A float32 base with an adapter to be filled in, what it says bare, and the probe.

    Args:
        model: the base, by name.
        probe: beginnings, and how a right answer begins.
        tell: called with prompts (done, in all) while the bare base is asked.
    """

    def __init__(self, model: str, probe: Probe, tell: Callable[[int, int], None] | None = None) -> None:
        self.name, self.probe = model, probe
        self.model = made(model, "float32", seed=0)
        self.asked: list[list[Message]] = [[("text", prompt)] for prompt, _ in probe]
        self.before = say(self.model, self.asked, SAID, bare=True, tell=tell)
        self.right = [n for n, said in enumerate(self.before) if begins(said, probe[n][1])]
        if not self.right:
            raise ConfigError(f"{model} answers nothing of the probe right: there is nothing to forget")

    def take(self, learner: Learner) -> None:
        """Hold the adapter of a learner, blocks made one."""
        theirs = [one for name, one in served(learner.model)[0].items() if ".lora_" in name]
        mine = [one for name, one in self.model.named_parameters() if ".lora_" in name]
        for held, one in zip(mine, theirs, strict=True):
            held.data = one.detach().clone()

    def known(self, said: Sequence[str]) -> dict[str, float]:
        """Of the known facts the share still right, and of all answers that of those that are the same."""
        kept = sum(begins(said[n], self.probe[n][1]) for n in self.right) / len(self.right)
        return {"kept": kept, "same": sum(map(str.__eq__, said, self.before)) / len(said)}


def made(name: str, precision: Any, seed: int) -> LanguageModel:
    """A base by name with the adapter that a home has."""
    base = load(name, dtype=precision)
    targets, layers = middle(base.model)
    return LanguageModel(adapt(base.model, targets=targets, layers=layers, seed=seed), Speech(base))


def digest(probe: Probe) -> str:
    """What tells a probe from another."""
    return sha256(repr(tuple(probe)).encode()).hexdigest()[:16]


def teach(job: Job, voice: Voice, tell: Tell) -> dict[str, Any]:
    """Teach the facts one by one, each until it is known; what was recalled and kept, as JSON holds it."""
    model = made(job.model, job.precision, job.seed)
    speech = model.speech
    if speech is None:
        raise ConfigError("the base cannot be asked in words")
    method, options = METHODS[job.method]
    config = OnlineLearnerConfig.of({**SETTINGS, "seed": job.seed})
    started = time.perf_counter()
    learner = anchor(Learner(model, config, method=method, options=options))
    ready, seconds, updates, curve = time.perf_counter() - started, [], [], []
    for number, fact in enumerate(FACTS[: job.facts], start=1):
        row, target = speech.row([("user", fact.asked), ("assistant", fact.told)])
        began, before = time.perf_counter(), learner.steps
        learner.learn_one(OnlineExample(input=row, target=target))
        seconds.append(time.perf_counter() - began)
        updates.append(learner.steps - before)
        if job.every and number % job.every == 0 and number < job.facts:
            curve.append({"facts": number, **_routed(_ask(voice, learner, number))})
        tell(job, number)
    found = _ask(voice, learner, job.facts)
    last = {"facts": job.facts, **_routed(found)}
    return {**found, "curve": [*curve, last], "seconds": seconds, "updates": updates, "ready": ready}


def _ask(voice: Voice, learner: Learner, facts: int) -> dict[str, Any]:
    """Ask the facts, in their own words and in others, and the probe; through a router too, where one is."""
    voice.take(learner)
    taught = FACTS[:facts]
    asked: dict[str, list[list[Message]]] = {
        "recalled": [[("user", fact.asked)] for fact in taught],
        "otherwise": [[("user", fact.otherwise)] for fact in taught],
        "known": voice.asked,
    }
    with_it = {
        what: say(voice.model, each, SAID if what == "known" else LONG) for what, each in asked.items()
    }
    found: dict[str, Any] = {"alone": _judged(voice, with_it, facts)}
    if learner.adapters is None:
        return found
    routed, let_in = {}, 0.0
    for what, each in asked.items():
        bare = say(voice.model, each, SAID if what == "known" else LONG, bare=True)
        names = _routes(learner, voice.model, each)
        routed[what] = [
            one if name is not None else other
            for one, other, name in zip(with_it[what], bare, names, strict=True)
        ]
        if what == "known":
            let_in = sum(name is not None for name in names) / len(names)
    return {**found, "routed": {**_judged(voice, routed, facts), "let_in": let_in}}


def _judged(voice: Voice, said: dict[str, list[str]], facts: int) -> dict[str, Any]:
    told = [fact.told for fact in FACTS[:facts]]
    right = {what: sum(map(str.__eq__, said[what], told)) for what in ("recalled", "otherwise")}
    return {**right, **voice.known(said["known"])}


def _routes(learner: Learner, model: LanguageModel, asked: Sequence[Sequence[Message]]) -> list[str | None]:
    speech = model.speech
    if speech is None:
        return [None] * len(asked)
    return learner.route(torch.from_numpy(np.stack([speech.asking(messages) for messages in asked])))


def _routed(found: dict[str, Any]) -> dict[str, Any]:
    """What who asks is told: through the router, where there is one."""
    whole: dict[str, Any] = found.get("routed", found["alone"])
    return whole
