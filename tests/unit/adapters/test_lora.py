"""An adapter reaches every weight that its targets name, fused experts among them, or is refused."""

from __future__ import annotations

from typing import Any
from warnings import catch_warnings, simplefilter

import pytest
import torch

from tenuto.adapters.export import export
from tenuto.adapters.lora import adapt, reached
from tenuto.errors import ConfigError
from tests import encoder

SIZES = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "head_dim": 8}
HEADS = {"num_attention_heads": 2, "num_key_value_heads": 2}


def mixtral() -> Any:
    from transformers import MixtralConfig, MixtralForCausalLM

    return MixtralForCausalLM(MixtralConfig(**SIZES, **HEADS, intermediate_size=32, num_local_experts=4))


def qwen() -> Any:
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    sizes = {"intermediate_size": 32, "moe_intermediate_size": 16, "num_experts": 4, "num_experts_per_tok": 2}
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**SIZES, **HEADS, **sizes))


@pytest.mark.parametrize("make", [mixtral, qwen])
@pytest.mark.parametrize(
    "targets", [("q_proj", "gate_up_proj", "down_proj"), ("v_proj", "down_proj"), ("gate",)]
)
def test_fused_experts_that_a_target_names_are_reached(make: Any, targets: tuple[str, ...]) -> None:
    base = make()
    named = [
        one.numel()
        for name, one in base.named_parameters()
        if name.removesuffix(".weight").rpartition(".")[2] in targets
    ]
    every = sum(one.numel() for one in base.parameters())
    adapted = adapt(base, rank=4, targets=targets)
    assert reached(adapted) == (sum(named), every)
    adapted(input_ids=torch.arange(32)[None]).logits.square().sum().backward()
    learned = [one for one in adapted.parameters() if one.requires_grad]
    assert all(one.grad is not None for one in learned)


def test_what_the_library_alone_would_pass_over() -> None:
    """The trap that is closed here: of the experts named it adapts none, and says nothing."""
    from peft import LoraConfig, get_peft_model

    named = ["q_proj", "down_proj"]
    config = LoraConfig(r=4, target_modules=named, task_type="CAUSAL_LM")
    with catch_warnings():
        simplefilter("ignore", FutureWarning)
        theirs = get_peft_model(mixtral(), config)
    ours = adapt(mixtral(), rank=4, targets=named)
    assert reached(theirs)[0] < reached(ours)[0]


def test_a_target_without_a_matrix_is_refused() -> None:
    for target in ("experts", "input_layernorm", "all-linear"):
        with pytest.raises(ConfigError, match=f"no layer '{target}'"):
            adapt(mixtral(), targets=("q_proj", target))


def test_a_weight_that_is_named_and_not_reached_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import peft

    def forgetful(base: Any, config: Any, adapter_name: str) -> Any:
        config.target_parameters = None
        return made(base, config, adapter_name=adapter_name)

    made = peft.get_peft_model
    monkeypatch.setattr(peft, "get_peft_model", forgetful)
    with pytest.raises(
        ConfigError, match=r"reaches 2 of 4 weights .* not model.layers.0.mlp.experts.down_proj"
    ):
        adapt(mixtral(), targets=("q_proj", "down_proj"))


def test_an_encoders_queries_and_values_are_found_by_themselves() -> None:
    adapted = adapt(encoder.base(), rank=2)
    learned = {name for name, one in adapted.named_parameters() if one.requires_grad}
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in learned} == {"query", "value"}
    assert reached(adapted)[0] == 3 * 2 * encoder.WIDTH**2
    upper = adapt(encoder.base(), rank=2, layers=(2,))
    assert reached(upper)[0] == 2 * encoder.WIDTH**2
    with pytest.raises(ConfigError, match="no layer 'query' to adapt in blocks 7"):
        adapt(encoder.base(), layers=(7,))
    with pytest.raises(ConfigError, match="no layers q_proj, v_proj or query, value"):
        adapt(torch.nn.Linear(2, 2))


def test_an_adapter_on_fused_experts_is_not_exported(tmp_path: Any) -> None:
    adapted = adapt(mixtral(), rank=8, targets=("down_proj",))
    with pytest.raises(ConfigError, match="fused experts"):
        export(adapted, tmp_path, name="moe", generation=1, base="mixtral", about={})
