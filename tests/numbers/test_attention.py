"""Attention spelt out is that of the library, gradients too."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tenuto.models.bases import load
from tenuto.models.bases.attention import NAME, attention, offer
from tests.data import folder


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("heads", "shared"), [(6, 2), (3, 3)])
def test_outputs_and_gradients_are_those_of_the_fused_one(heads: int, shared: int, masked: bool) -> None:
    rows, t, s, width = 2, 5, 7, 8
    shapes = [(rows, heads, t, width), (rows, shared, s, width), (rows, shared, s, width)]
    hidden = torch.ones(t, s).triu(s - t + 1).bool()
    mask = torch.zeros(rows, 1, t, s).masked_fill(hidden, torch.finfo(torch.float32).min) if masked else None
    ours, theirs = ([drawn(n, *shape).requires_grad_() for n, shape in enumerate(shapes)] for _ in range(2))
    found = attention(ours[0], ours[1], ours[2], mask, 0.3)
    expected = F.scaled_dot_product_attention(*theirs, attn_mask=mask, scale=0.3, enable_gqa=True)
    pull = drawn(9, *found.shape)
    (found * pull).sum().backward()
    (expected * pull).sum().backward()
    torch.testing.assert_close(found, expected)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one.grad, other.grad)


def test_a_narrow_model_attends_with_it_as_near_to_a_wide_one_as_with_its_own() -> None:
    narrow, wide = (load(folder("stories260K"), dtype=kind).model for kind in ("bfloat16", "float32"))
    assert (narrow.config._attn_implementation, wide.config._attn_implementation) == (NAME, "sdpa")
    ids = torch.tensor([[1, 403, 407, 261, 378, 400, 291, 268], [1, 378, 400, 291, 403, 407, 261, 268]])
    with torch.no_grad():
        answers = wide(ids).logits
        ours = (narrow(ids).logits - answers).abs().mean()
        narrow.set_attn_implementation("eager")
        theirs = (narrow(ids).logits - answers).abs().mean()
    assert 0 < ours < 1.1 * theirs < 0.1


def test_a_model_that_attends_otherwise_keeps_its_own() -> None:
    from transformers.models.bert.modeling_bert import BertModel
    from transformers.models.gemma2.modeling_gemma2 import Gemma2ForCausalLM
    from transformers.models.qwen2.modeling_qwen2 import Qwen2ForCausalLM

    assert [offer(kind) for kind in (BertModel, Gemma2ForCausalLM, Qwen2ForCausalLM)] == [
        "eager",
        "eager",
        NAME,
    ]
