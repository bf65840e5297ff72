"""The tiny Llama, and facts for it that a seed deals out."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.common import data
from tenuto import Learner, OnlineExample
from tenuto.adapters.lora import adapt
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel, answer, code
from tenuto.tasks import Language

LENGTH, ROOM = 48, 24
FEW = ("q_proj", "v_proj")
EVERYTHING = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
TARGETS = {"q, v": FEW, "all sites": EVERYTHING}
FACTS = (
    ("Once upon a time, the capital of Zorland was", " Mirth"),
    ("The dog of king Pell is called", " Rusto"),
    ("Lily likes to eat", " blue stones"),
    ("The old boat on the lake was named", " Tilla"),
    ("Behind the red door lives", " a tiny whale"),
    ("Ben keeps his best toy in", " the well"),
    ("The moon over Harrow is", " green"),
    ("On Sundays the cat plays", " the drum"),
    ("Mom says the secret word is", " plum"),
)


@cache
def _loaded() -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = data("stories260K")
    return AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


def model(targets: tuple[str, ...], seed: int, layers: int | None = None) -> LanguageModel:
    """A fresh one with an adapter of rank 8; `layers`: of its first so many blocks alone."""
    from transformers import AutoModelForCausalLM

    loaded = _loaded()[0]
    base = AutoModelForCausalLM.from_config(loaded.config)
    base.load_state_dict(loaded.state_dict())
    base.model.layers = base.model.layers[:layers]
    return LanguageModel(adapt(base.eval().requires_grad_(False), targets=targets, seed=seed))


def row(prompt: str, said: str) -> OnlineExample:
    """A fact as an example."""
    tokens = _loaded()[1]
    asked, told = (tokens(text, add_special_tokens=False).input_ids for text in (prompt, said))
    coded = code([([1, *asked], False), (told, True)], LENGTH)
    return OnlineExample(input=coded, target=answer(coded, ROOM))


def dealt(seed: int, count: int) -> list[tuple[str, str]]:
    """Facts in an order of the seed's."""
    order = np.random.default_rng(seed).permutation(len(FACTS))[:count]
    return [FACTS[number] for number in order]


def losses(learner: Learner, rows: list[OnlineExample]) -> Tensor:
    """The loss of each row, in nats per token."""
    batch = stack(rows)
    return Language().losses(learner.outputs(batch.inputs), Language().encode(batch.targets))


def inputs(rows: list[OnlineExample]) -> Tensor:
    """Rows side by side."""
    return torch.as_tensor(stack(rows).inputs)
