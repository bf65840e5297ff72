"""What a step answers with is what the model said before it learned the rows: test, then train."""

from __future__ import annotations

import pytest
import torch

from tenuto import Batch, Learner, OnlineLearnerConfig, methods


@pytest.mark.parametrize("passes", [1, 3])
@pytest.mark.parametrize("method", methods.known(plain=True))
def test_outputs_are_from_before_the_update(method: str, passes: int) -> None:
    draws = torch.Generator().manual_seed(0)
    config = OnlineLearnerConfig(classes=(0, 1, 2), memory_size=20, learning_rate=0.1, passes=passes)
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    learner = Learner(net, config, method=method)
    for step in range(12):
        inputs = torch.randn(5, 6, generator=draws)
        targets = torch.randint(0, 3, (5,), generator=draws)
        before = learner.outputs(inputs) if step else None
        trace = learner.learn_batch(Batch(inputs, targets))
        if before is not None:
            torch.testing.assert_close(trace.estimate.outputs[:5], before)
