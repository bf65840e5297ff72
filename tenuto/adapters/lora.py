"""Low-rank adapters on a frozen base (Hu et al. 2022), in PEFT's own form: y = W x + (alpha / r) B A x.

A target is a layer, or a tensor that holds the weights of many experts at once, (experts, d_out, d_in), whose
adapter has r rows of A for each. PEFT passes over the latter unless they are named as parameters; here every
weight that a target names is counted.

The invariant: the base is frozen, A is drawn under the seed, B begins at zero: a new one changes no answer;
and all that was named is reached, or the adapter is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Annotated, Any
from warnings import catch_warnings, simplefilter

from torch import Tensor, nn

from tenuto.config import Limits
from tenuto.errors import ConfigError
from tenuto.parts import check_options
from tenuto.randomness import torch_draws

ATTENTION = (("q_proj", "v_proj"), ("query", "value"))
"""Queries and values, as causal models and as encoders name them."""
MIDDLE = (4 / 15, 2 / 3)
"""Where the middle blocks begin and end, as shares of the depth."""
_LAYER = re.compile(r"\.(\d+)\.")


def adapt(
    base: Any,
    rank: Annotated[int, Limits(low=1, high=256, usual=(4, 64))] = 8,
    alpha: Annotated[int, Limits(low=1, usual=(8, 64))] = 16,
    targets: Sequence[str] | None = None,
    seed: int = 0,
    name: str = "default",
    layers: Sequence[int] | None = None,
) -> nn.Module:
    """The base with an adapter on these layers; the base's weights are frozen.

    Args:
        base: a model of transformers.
        rank: r, the rank of B A.
        alpha: the adapter's output is scaled by alpha / rank.
        targets: names of layers or of fused experts, or the ends of their names; None: the queries and values
            of attention.
        seed: key of the draw of A.
        name: the adapter's.
        layers: the blocks to adapt, counted from 0; None: all. No gradient has to go below the first.

    Raises:
        ConfigError: an option is out of bounds, a target names no weight, or one it names is not reached.

    Source: Hu et al., LoRA: low-rank adaptation of large language models, 2022.
    """
    from peft import LoraConfig, get_peft_model

    check_options("lora", adapt, {"rank": rank, "alpha": alpha})
    modules, experts = _named(base, _attention(base) if targets is None else targets, layers)
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,
        target_modules=modules,
        target_parameters=experts or None,
        lora_dropout=0.0,
        task_type="CAUSAL_LM" if hasattr(base, "generate") else "FEATURE_EXTRACTION",
    )
    with torch_draws(seed, f"adapter:{name}", 0), catch_warnings():
        simplefilter("ignore", FutureWarning)
        try:
            adapted: nn.Module = get_peft_model(base, config, adapter_name=name)
        except ValueError as error:
            raise ConfigError(f"such targets cannot be adapted: {error}") from error
    found = {label for label, _ in _wrapped(adapted)}
    if missed := sorted({*modules, *experts} - found):
        raise ConfigError(
            f"the adapter reaches {len(found)} of {len(found) + len(missed)} weights that its targets name, "
            f"and not {missed[0]}; name others in targets"
        )
    return adapted


def middle(base: Any) -> tuple[tuple[str, ...] | None, range | None]:
    """Targets and layers for corrections: what the feed-forward part of the middle blocks puts out.

    There a fact is called up by its subject (Meng et al. 2022), so that a change there leaves more of what
    else a model knows than one of attention does. Where they have no `down_proj`, a base is adapted as usual.
    """
    if not any(name.endswith(".mlp.down_proj") for name, _ in base.named_modules()):
        return None, None
    depth = base.config.num_hidden_layers
    return ("down_proj",), range(round(MIDDLE[0] * depth), max(round(MIDDLE[1] * depth), 1))


def reached(adapted: nn.Module) -> tuple[int, int]:
    """How many of the base's numbers an adapter changes the effect of, and how many there are.

    >>> reached(nn.Linear(2, 3))
    (0, 9)
    """
    mine = sum(weight.numel() for _, weight in _wrapped(adapted))
    every = {id(one): one.numel() for name, one in adapted.named_parameters() if ".lora_" not in name}
    return mine, sum(every.values())


def _attention(base: nn.Module) -> tuple[str, ...]:
    """The names of queries and values in this base."""
    names = {layer.rpartition(".")[2] for layer, _ in base.named_modules()}
    found = next((pair for pair in ATTENTION if names.issuperset(pair)), None)
    if found is None:
        known = " or ".join(", ".join(pair) for pair in ATTENTION)
        raise ConfigError(f"the base has no layers {known} to adapt; name others in targets")
    return found


def _named(
    base: nn.Module, targets: Sequence[str], layers: Sequence[int] | None
) -> tuple[list[str], list[str]]:
    """The full names of the layers, and of the fused experts, that targets name within these blocks."""
    modules = [name for name, layer in base.named_modules() if name and _holds(layer)]
    fused = [name for name, one in base.named_parameters() if one.dim() == 3]
    found: tuple[list[str], list[str]] = ([], [])
    for target in targets:
        for names, kept in zip((modules, fused), found, strict=True):
            named = [name for name in names if f".{name}".endswith(f".{target}")]
            kept += [name for name in named if name not in kept and _within(name, layers)]
        if not any(f".{name}".endswith(f".{target}") for kept in found for name in kept):
            where = "" if layers is None else f" in blocks {', '.join(map(str, layers))}"
            raise ConfigError(f"the base has no layer {target!r} to adapt{where}; name others in targets")
    return found


def _holds(layer: nn.Module) -> bool:
    """Has a layer a matrix of weights of its own?"""
    weight = getattr(layer, "weight", None)
    return isinstance(weight, Tensor) and weight.dim() == 2


def _within(name: str, layers: Sequence[int] | None) -> bool:
    number = _LAYER.search(name)
    return layers is None or (number is not None and int(number[1]) in layers)


def _wrapped(adapted: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The base's weights that have an adapter beside them, by their names in the base."""
    for name, part in adapted.named_modules():
        if not getattr(part, "lora_A", None):
            continue
        layer: Any = part
        label = name.removeprefix("base_model.model.").replace(".base_layer", "")
        parameter = getattr(layer, "parameter_name", None)
        if parameter is None:
            yield label, layer.get_base_layer().weight
        else:
            yield f"{label}.{parameter}".removesuffix(".weight"), layer.get_param()
