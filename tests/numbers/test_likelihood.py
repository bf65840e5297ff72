"""Log-probabilities of a few columns are those of the whole softmax, and so is their gradient."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from tenuto.likelihood import TOGETHER, log_likelihood
from tenuto.tasks import Language
from tenuto.tasks.language import ABSENT

ROWS, WORDS = 2 * TOGETHER + 3, 50


def drawn(*shape: int) -> torch.Tensor:
    return 4 * torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("asked", [1, 5])
@pytest.mark.parametrize("some", [False, True])
def test_chances_and_gradient_are_those_of_the_softmax(asked: int, some: bool) -> None:
    logits, pull = drawn(ROWS, WORDS), drawn(ROWS, asked)
    columns = drawn(ROWS, WORDS).topk(asked).indices
    present = torch.arange(ROWS) % 3 > 0 if some else torch.ones(ROWS, dtype=torch.bool)
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    found = log_likelihood(ours, columns, present if some else None)
    expected = theirs.log_softmax(-1).gather(1, columns) * present[:, None]
    (found * pull).sum().backward()
    (expected * pull).sum().backward()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_narrow_logits_are_read_in_float32_and_their_gradient_is_narrow() -> None:
    logits = drawn(3, 4, WORDS).bfloat16().requires_grad_()
    columns = torch.zeros(3, 4, 1, dtype=torch.int64)
    found = log_likelihood(logits, columns)
    assert (found.dtype, found.shape) == (torch.float32, columns.shape)
    torch.testing.assert_close(found[..., 0], logits.float().log_softmax(-1)[..., 0])
    found.sum().backward()
    assert logits.grad is not None
    assert (logits.grad.dtype, logits.grad.shape) == (torch.bfloat16, logits.shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_loss_of_an_answer_is_the_cross_entropy_of_its_tokens(dtype: torch.dtype) -> None:
    """Whatever lies behind it, which gains no gradient."""
    targets = torch.tensor([[3, 4, 5], [6, ABSENT, ABSENT]])
    outputs = drawn(2, 3, WORDS).to(dtype).requires_grad_()
    found = Language().losses(outputs, targets)
    whole = outputs.detach().float()
    expected = [F.cross_entropy(whole[0], targets[0]), F.cross_entropy(whole[1, :1], targets[1, :1])]
    torch.testing.assert_close(found, torch.stack(expected))
    found.sum().backward()
    assert outputs.grad is not None
    assert not outputs.grad[1, 1:].any()
    assert outputs.grad[1, 0].any()
