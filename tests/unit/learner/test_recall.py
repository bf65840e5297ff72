"""A learner finds remembered rows by what its output layer reads of them, and nothing changes by it."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.errors import ConfigError, NothingLearned
from tests.contract.walks import generators, normed, rows


def taught(model: nn.Module | None = None) -> Learner:
    learner = Learner(model, OnlineLearnerConfig(learning_rate=0.05, hidden=(16,)))
    for step in range(30):
        learner.learn_batch(rows("abcde", seed=step))
    return learner


def test_rows_are_found_by_the_features_of_the_present_model() -> None:
    learner = taught()
    assert learner.memory is not None
    query, held = rows("ab", seed=99).inputs, learner.memory.table.columns["inputs"][: len(learner.memory)]
    body = nn.Sequential(*list(learner.model.children())[:-1]).eval()
    with torch.no_grad():
        cosines = F.cosine_similarity(body(query)[:, None], body(held)[None], dim=2)
    best = cosines.sort(dim=1, descending=True, stable=True)
    for answer, slots, similar in zip(learner.recall(query, 4), best.indices, best.values, strict=True):
        assert [episode.slot for episode in answer] == slots[:4].tolist()
        assert [episode.similarity for episode in answer] == pytest.approx(similar[:4].tolist(), abs=1e-5)


def test_a_remembered_row_finds_itself_by_inputs() -> None:
    learner = taught()
    assert learner.memory is not None
    inputs = learner.memory.table.columns["inputs"][: len(learner.memory)]
    found = learner.recall(inputs, 1, by="inputs")
    same = [torch.allclose(inputs[answer[0].slot], row) for answer, row in zip(found, inputs, strict=True)]
    assert all(same)
    assert all(answer[0].similarity > 0.9999 for answer in found)


def test_a_spoilt_query_is_completed_from_memory() -> None:
    learner = Learner(config=OnlineLearnerConfig(memory_size=64))
    stored = torch.randn(64, 100, generator=torch.Generator().manual_seed(1))
    learner.learn_batch(Batch(stored, [0] * 64))
    assert learner.memory is not None
    spoilt = stored.clone()
    spoilt[:, 50:] = 0
    for slot, answer in enumerate(learner.recall(spoilt, 1, by="inputs", beta=40.0)):
        held = learner.memory.table.columns["inputs"][answer[0].slot]
        assert torch.equal(held, stored[slot])
        assert answer[0].similarity > 0.95
    plain = [answer[0].similarity for answer in learner.recall(spoilt, 1, by="inputs")]
    assert max(plain) < 0.9


@pytest.mark.parametrize("model", [None, normed])
def test_recalling_changes_nothing(model: object) -> None:
    learner = taught(normed() if model else None)
    last = list(learner.model.children())[-1]
    last.eval()
    modes = [module.training for module in learner.model.modules()]
    before, state = generators(), learner.digest()
    first, second = (learner.recall(rows("abc", seed=5).inputs, 3) for _ in range(2))
    assert first == second
    assert (generators(), learner.digest()) == (before, state)
    assert [module.training for module in learner.model.modules()] == modes
    assert not last._forward_pre_hooks


def test_what_cannot_be_recalled_is_refused() -> None:
    with pytest.raises(NothingLearned):
        Learner().recall(torch.zeros(1, 4))
    naive = Learner(method="naive")
    naive.learn_batch(rows("ab"))
    with pytest.raises(ConfigError, match="nothing is remembered"):
        naive.recall(torch.zeros(1, 4))
    with pytest.raises(ConfigError, match="not by 'meaning'"):
        taught().recall(torch.zeros(1, 4), by="meaning")  # type: ignore[arg-type]
