"""A tiny Llama and rows for it, where the shared data is; 260,032 parameters, float32."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from tenuto import OnlineExample, OnlineLearnerConfig
from tenuto.models.language import LanguageModel, answer, code
from tenuto.models.speech import Speech
from tests.data import folder

ROOM, ANSWER = 48, 24
EVERYTHING = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
"""Every layer that can have an adapter."""
PROTECTED = OnlineLearnerConfig(
    task="language",
    optimizer="adamw",
    learning_rate=5e-3,
    weight_decay=0.1,
    memory_size=50,
    batch_size=1,
    boundaries="none",
    seed=1,
)
"""Settings under which a protected answer is learned in some twenty updates, and would be lost without."""
FACTS = (
    ("Once upon a time, the capital of Zorland was", " Mirth"),
    ("The dog of king Pell is called", " Rusto"),
    ("Lily likes to eat", " blue stones"),
)


@cache
def _loaded() -> tuple[dict[str, Any], Any, Any]:
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoTokenizer

    path = folder("stories260K")
    weights = load_file(path / "model.safetensors")
    return weights, AutoConfig.from_pretrained(path), AutoTokenizer.from_pretrained(path)


def base() -> Any:
    """A fresh copy of the model, frozen."""
    from transformers import AutoModelForCausalLM

    weights, config, _ = _loaded()
    model = AutoModelForCausalLM.from_config(config)
    missing, odd = model.load_state_dict(weights, strict=False)
    if odd or missing not in ([], ["lm_head.weight"]):
        raise RuntimeError(f"the weights lack {missing} and hold {odd}")
    return model.eval().requires_grad_(False)


def model(**options: Any) -> LanguageModel:
    """The model with an adapter."""
    from tenuto.adapters.lora import adapt

    return LanguageModel(adapt(base(), **options))


def spoken(**options: Any) -> LanguageModel:
    """The model with an adapter, to be asked in words."""
    from tenuto.adapters.lora import adapt
    from tenuto.models.bases import load
    from tenuto.models.speech import Speech

    loaded = load(folder("stories260K"))
    return LanguageModel(adapt(loaded.model, **options), Speech(loaded, length=ROOM, room=ANSWER))


def said(speech: Speech, prompt: str, answered: str, id: str, **more: Any) -> OnlineExample:
    """A correction in words as an example."""
    input, target = speech.row([("user", prompt), ("assistant", answered)])
    return OnlineExample(input=input, target=target, id=id, **more)


def row(prompt: str, said: str, **more: Any) -> OnlineExample:
    """A fact as an example."""
    tokens = _loaded()[2]
    asked, told = (tokens(text, add_special_tokens=False).input_ids for text in (prompt, said))
    coded = code([([1, *asked], False), (told, True)], ROOM)
    return OnlineExample(input=coded, target=answer(coded, ANSWER), **more)


def rows() -> list[OnlineExample]:
    """The facts, one after another."""
    return [row(*fact, id=f"fact-{number}") for number, fact in enumerate(FACTS)]


def inputs(example: OnlineExample) -> torch.Tensor:
    """One row as a batch."""
    return torch.from_numpy(example.input)[None]


def tokenizer() -> Any:
    """Its tokenizer."""
    return _loaded()[2]
