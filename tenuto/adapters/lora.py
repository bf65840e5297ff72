"""Low-rank adapters on a frozen base (Hu et al. 2022), in PEFT's own form: y = W x + (alpha / r) B A x.

The invariant: the base is frozen, A is drawn under the seed, B begins at zero: a new one changes no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any
from warnings import catch_warnings, simplefilter

from torch import nn

from tenuto.config import Limits
from tenuto.errors import ConfigError
from tenuto.parts import check_options
from tenuto.randomness import torch_draws

ATTENTION = ("q_proj", "v_proj")


def adapt(
    base: Any,
    rank: Annotated[int, Limits(low=1, high=256, usual=(4, 64))] = 8,
    alpha: Annotated[int, Limits(low=1, usual=(8, 64))] = 16,
    targets: Sequence[str] = ATTENTION,
    seed: int = 0,
    name: str = "default",
) -> nn.Module:
    """The base with an adapter on these layers; the base's weights are frozen.

    Args:
        base: a model of transformers.
        rank: r, the rank of B A.
        alpha: the adapter's output is scaled by alpha / rank.
        targets: names of the layers, or the ends of their names.
        seed: key of the draw of A.
        name: the adapter's.

    Raises:
        ConfigError: an option is out of bounds, or a target matches no layer.

    Source: Hu et al., LoRA: low-rank adaptation of large language models, 2022.
    """
    from peft import LoraConfig, get_peft_model

    check_options("lora", adapt, {"rank": rank, "alpha": alpha})
    names = [layer for layer, _ in base.named_modules()]
    for target in targets:
        if not any(layer == target or layer.endswith(f".{target}") for layer in names):
            raise ConfigError(f"the base has no layer {target!r} to adapt; name others in targets")
    config = LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=0.0, task_type="CAUSAL_LM"
    )
    with torch_draws(seed, f"adapter:{name}", 0), catch_warnings():
        simplefilter("ignore", FutureWarning)
        adapted: nn.Module = get_peft_model(base, config, adapter_name=name)
    return adapted
