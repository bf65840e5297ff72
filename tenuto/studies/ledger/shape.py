"""A base as its shape: a configuration, and from it a model that has layers and sizes, but no numbers.

Such a model runs: torch works out what each operation would give, and what it would keep for the backward,
and allocates nothing. So a base of any size is counted in seconds, by the operations that would learn it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tenuto.adapters.blocks import Blocks, over
from tenuto.adapters.layers import Down, Up
from tenuto.adapters.lora import adapt, middle
from tenuto.config import PRECISIONS
from tenuto.errors import ConfigError
from tenuto.models.bases import attention
from tenuto.models.bases.places import find, need
from tenuto.studies.ledger.plan import Plan

if TYPE_CHECKING:
    from transformers import PretrainedConfig

NAME = "tenuto-shape"
"""What torch's fused attention without a mask is called in transformers."""
NAMES = {
    "layers": "num_hidden_layers",
    "width": "hidden_size",
    "inner": "intermediate_size",
    "heads": "num_attention_heads",
    "kv": "num_key_value_heads",
    "vocabulary": "vocab_size",
}
"""What a shape may say, and what a configuration calls it."""
_PAIR = re.compile(r"(\w+)=([1-9]\d*)")


def shaped(words: str) -> PretrainedConfig:
    """The configuration of a Llama of this shape; what it leaves out is usual: heads of 64, 8/3 inside.

    Raises:
        ConfigError: it says something else, or too little.

    >>> shaped("layers=2,width=256").intermediate_size
    683
    """
    need("transformers", "tenuto[lm]")
    from transformers import LlamaConfig

    found = [_PAIR.fullmatch(word.strip()) for word in words.split(",")]
    given = {pair[1]: int(pair[2]) for pair in found if pair}
    if None in found or not {"layers", "width"} <= given.keys() <= NAMES.keys():
        raise ConfigError(
            f"{words!r} is no shape; write layers=32,width=2048 and, where they are known, "
            f"{', '.join(name for name in NAMES if name not in ('layers', 'width'))}"
        )
    heads = given.setdefault("heads", max(given["width"] // 64, 1))
    shared = given.setdefault("kv", heads)
    if given["width"] % heads or heads % shared:
        raise ConfigError(
            f"{heads} heads do not divide a width of {given['width']}, or {shared} of keys not them"
        )
    made = {"inner": -(-given["width"] * 8 // 3), "vocabulary": 32000, **given}
    return LlamaConfig(**{NAMES[name]: value for name, value in made.items()})


def configured(name: str) -> PretrainedConfig:
    """The configuration of a base by its name. Raises ConfigError where there is none."""
    need("transformers", "tenuto[lm]")
    from transformers import AutoConfig

    folder = find(name).folder
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder} tells no shape: {error}") from error
    return config


@contextmanager
def bare(config: PretrainedConfig, plan: Plan) -> Iterator[tuple[nn.Module, Blocks]]:
    """A base of this shape with its adapter, bases and frozen blocks at their bounds; inside, torch allocates
    nothing.

    Raises:
        ConfigError: it is no causal language model, or a target names none of its layers.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers import AutoModelForCausalLM

    if plan.precision not in PRECISIONS:
        raise ConfigError(f"precision {plan.precision!r} is not one of {', '.join(PRECISIONS)}")
    with torch.device("meta"):
        try:
            base = AutoModelForCausalLM.from_config(
                config, dtype=getattr(torch, plan.precision), attn_implementation=_attention(config, plan)
            )
        except ValueError as error:
            raise ConfigError(f"a {config.model_type} is no causal language model: {error}") from error
        base = base.eval().requires_grad_(False)
        model = adapted(base, plan)
        blocks = over(model)
    with FakeTensorMode():
        made: dict[int, Any] = {}
        for part in model.modules():
            _empty(part, plan, made)
        yield model, blocks


def adapted(base: Any, plan: Plan) -> nn.Module:
    """A base with the adapter of a plan. Raises ConfigError as `adapters.lora.adapt` does."""
    targets, layers = middle(base) if plan.middle else (plan.targets, plan.layers)
    return adapt(base, rank=plan.rank, targets=targets, layers=layers)


def _attention(config: PretrainedConfig, plan: Plan) -> str:
    """The name of the attention that such a base would have here, or on an accelerator."""
    from transformers import AttentionInterface, AutoModelForCausalLM
    from transformers.integrations.sdpa_attention import sdpa_attention_forward
    from transformers.masking_utils import AttentionMaskInterface

    kind = AutoModelForCausalLM._model_mapping.get(type(config), None)
    if kind is not None and not plan.fused:
        return attention.offer(kind)
    AttentionInterface.register(NAME, sdpa_attention_forward)
    AttentionMaskInterface.register(NAME, _unmasked)
    return NAME


def _unmasked(*_: object, **__: object) -> None:
    """No mask: rows are whole, and the fused kernel knows what is causal."""


def _empty(part: nn.Module, plan: Plan, made: dict[int, Any]) -> None:
    """Tensors without numbers in place of a module's own, on a CPU that is not there either; what was shared
    stays shared."""
    for tensors in (part._parameters, part._buffers):
        for name, one in tensors.items():
            if one is not None:
                tensors[name] = made.setdefault(id(one), _like(one))
    if isinstance(part, Down):
        width = part.free.shape[1]
        part.basis = torch.empty(width, min(plan.directions, width))
        part.frozen = torch.empty(plan.frozen, width)
    elif isinstance(part, Up):
        part.frozen = torch.empty(part.free.shape[0], plan.frozen)


def _like(one: Tensor) -> Any:
    made = torch.empty(one.shape, dtype=one.dtype)
    return nn.Parameter(made, one.requires_grad) if isinstance(one, nn.Parameter) else made


def own(model: nn.Module) -> list[Tensor]:
    """All that a model holds by itself: parameters, buffers, bases and frozen blocks."""
    parts = [part for part in model.modules() if isinstance(part, Down | Up)]
    bases = [part.basis for part in parts if isinstance(part, Down)]
    return [*model.parameters(), *model.buffers(), *bases, *(part.frozen for part in parts)]
