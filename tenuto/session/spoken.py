"""A home's language model: the base it names, an adapter on it, and the speech that goes with them.

The base's digest must be the one the home was made with; only the adapter is the home's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenuto import methods
from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.learner import Learner
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tenuto.models.speech import Message, Speech
from tenuto.session.openings import QUESTIONS, SENTENCES
from tenuto.types import Batch, OnlineExample

ANCHORS = 32
"""Texts that the base writes from nothing, to be held to beside ordinary sentences and questions."""
_NAMES = re.compile(r"smollm2|[\w.-]+/[\w.-]+")
SETTINGS: dict[str, Any] = {
    "task": "language",
    "optimizer": "adamw",
    "learning_rate": 2e-3,
    "batch_size": 1,
    "memory_size": 1000,
    "replay_ratio": 0.75,
    "passes": 20,
    "stop_loss": 0.1,
    "boundaries": "none",
}
"""What a language model's home is made with where nothing else is asked for: a correction is a batch of its
own, learned until it is known."""
METHOD, OPTIONS = "anchored", {"wrong": 0.02}


def settings(method: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a home that learns by this method is made with; a method with more memory of its own keeps that.

    >>> settings("er", None)["memory_size"], settings("ogp_lora", None).get("memory_size")
    (1000, None)
    """
    own = methods.load(method, options).capacity
    return {name: value for name, value in SETTINGS.items() if name != "memory_size" or own <= value}


def speaks(name: str) -> bool:
    """Does a model's name mean a language model: smollm2, a folder with a config.json, a hub's owner/model?

    >>> speaks("smollm2"), speaks("mlp:400-400"), speaks("package.module:function")
    (True, False, False)
    """
    return ":" not in name and (bool(_NAMES.fullmatch(name)) or (Path(name) / "config.json").is_file())


def load(name: str, config: OnlineLearnerConfig, digest: str | None) -> tuple[LanguageModel, str]:
    """The model of a home that names a base, and the base's digest.

    Args:
        digest: the base's when the home was made; None: it is being made.

    Raises:
        ConfigError: there is no such base, it is no causal language model, or it has changed.
    """
    from tenuto.adapters.lora import adapt, middle
    from tenuto.models import bases

    base = bases.load(name, dtype=config.precision)
    if digest is not None and base.digest != digest:
        raise ConfigError(
            f"the weights of {name} have changed since this home was made: its adapter was learned on others "
            f"(sha256 {digest[:12]}), not on these ({base.digest[:12]}); give it the old ones back"
        )
    if not hasattr(base.model, "generate"):
        raise ConfigError(f"{name} is an encoder, which answers nothing; take a causal language model")
    speech, (targets, layers) = Speech(base), middle(base.model)
    adapted = adapt(base.model, targets=targets, layers=layers, seed=config.seed)
    return LanguageModel(adapted, speech, checkpointing=config.checkpointing), base.digest


def reply(learner: Learner, messages: Sequence[Message], *, most: int = 64) -> str:
    """What a learner's language model says to messages that wait for an answer, likeliest token by token.

    Where the method has a router, what is unlike all that was learned is answered by the bare base.

    Raises:
        ConfigError: the learner has no language model, or nobody can ask it in words.
    """
    model = learner.model
    if not isinstance(model, LanguageModel) or model.speech is None:
        raise ConfigError("the learner holds no language model that can be asked in words")
    with learner.answering(model.speech.asking(messages)):
        return model.speech.reply(model, messages, most=most)


def anchor(learner: Learner) -> Learner:
    """Hold a new learner to texts that its base writes, where its method holds to any."""
    model = learner.model if learner.config.task == "language" else None
    if isinstance(model, LanguageModel) and model.speech is not None and learner.recipe.anchors is not None:
        learner.anchor(_written(model, learner.config.seed))
    return learner


def _written(model: LanguageModel, seed: int) -> Batch:
    """Texts from nothing, ordinary sentences ended, and, where it has a chat template, questions answered."""
    speech = model.speech
    if speech is None:
        raise ConfigError("a model that nobody asks in words writes no anchors")
    asked = [[("text", opening)] for opening in SENTENCES]
    if speech.chats:
        asked += [[("user", question)] for question in QUESTIONS]
    rows = [*speech.written(model, ANCHORS, seed=seed), *speech.ended(model, asked)]
    return stack([OnlineExample(input=input, target=target) for input, target in rows])
