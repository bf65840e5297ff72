"""A language model in the one learner: what it answers, what it learns, what is saved of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tenuto import Batch, Learner, OnlineExample, OnlineLearnerConfig, Session, SessionConfig, trees
from tenuto.errors import ConfigError, ExampleError
from tenuto.models.language import PAD, answer, code
from tenuto.session import recovery
from tenuto.tasks import Language
from tests import language

CONFIG = OnlineLearnerConfig(
    task="language",
    optimizer="adamw",
    learning_rate=5e-3,
    memory_size=50,
    batch_size=1,
    boundaries="none",
    guard="finite+divergence+norm_budget",
)
PIECES = st.lists(
    st.tuples(st.lists(st.integers(0, 50_000), min_size=1, max_size=6), st.booleans()), min_size=1, max_size=5
)


@given(PIECES)
def test_a_row_tells_what_is_asked_and_what_is_answered(pieces: list[tuple[list[int], bool]]) -> None:
    pieces = [([7], False), *pieces, ([9], True)]
    row = code(pieces, 40)
    used = row[row != PAD].tolist()
    assert [token if token >= 0 else ~token for token in used] == [t for piece, _ in pieces for t in piece]
    told = [token for piece, answered in pieces if answered for token in piece]
    assert answer(row, 40)[: len(told)] == told
    assert set(answer(row, 40)[len(told) :]) <= {-1.0}


def test_what_cannot_be_a_row_is_told() -> None:
    with pytest.raises(ExampleError, match="has 3 tokens; the longest allowed has 2"):
        code([([1, 2], False), ([3], True)], 2)
    with pytest.raises(ExampleError, match="begins with an answer"):
        code([([1], True)], 4)
    with pytest.raises(ExampleError, match="no answer"):
        code([([1], False)], 4)
    with pytest.raises(ExampleError, match="the answer has 2 tokens"):
        answer(code([([1], False), ([2, 3], True)], 4), 1)


@pytest.mark.parametrize("bad", [[[0.5, 1.0]], [[-2.0, 1.0]], [[-1.0, 1.0]], [1.0, 2.0]])
def test_what_is_no_answer_is_refused(bad: list[object]) -> None:
    with pytest.raises(ExampleError):
        Language().encode(bad)


def test_outputs_and_loss_are_those_of_the_library_whatever_lies_beside_a_row() -> None:
    model, rows = language.model(), language.rows()
    together = torch.cat([language.inputs(row) for row in rows])
    with torch.no_grad():
        found = model(together)
        for number, row in enumerate(rows):
            used = row.input[row.input != PAD].tolist()
            ids = torch.tensor([[t if t >= 0 else ~t for t in used]])
            labels = torch.tensor([[-100 if t >= 0 else ~t for t in used]])
            theirs = model.base(input_ids=ids, labels=labels)
            first = next(place for place, token in enumerate(used) if token < 0)
            count = len(used) - first
            torch.testing.assert_close(found[number, :count], theirs.logits[0, first - 1 : -1])
            targets = Language().encode([row.target])
            torch.testing.assert_close(Language().losses(found[number : number + 1], targets)[0], theirs.loss)


def test_a_new_adapter_changes_no_answer_and_its_draw_is_keyed() -> None:
    row = language.inputs(language.rows()[0])
    one, same, other = (language.model(seed=seed) for seed in (1, 1, 2))
    with torch.no_grad(), one.base.disable_adapter():
        bare = one(row)
    with torch.no_grad():
        assert torch.equal(one(row), bare)
    weights = [dict(model.named_parameters()) for model in (one, same, other)]
    name = next(name for name in weights[0] if "lora_A" in name)
    assert torch.equal(weights[0][name], weights[1][name])
    assert not torch.equal(weights[0][name], weights[2][name])


def test_a_target_that_reaches_nothing_is_refused() -> None:
    from tenuto.adapters.lora import adapt

    with pytest.raises(ConfigError, match="no layer 'experts'"):
        adapt(language.base(), targets=("experts",))
    with pytest.raises(ConfigError, match="rank"):
        adapt(language.base(), rank=0)


def test_corrections_are_learned_one_by_one_and_only_the_adapter_is_saved() -> None:
    learner, rows = Learner(language.model(), CONFIG), language.rows()
    before = {name: one.clone() for name, one in learner.model.named_parameters() if not one.requires_grad}
    for row in rows:
        for _ in range(40):
            assert learner.learn_one(row).verdict.keeps
    for row in rows:
        outputs = learner.outputs(language.inputs(row))
        assert learner.task.right(outputs, Language().encode([row.target])) == [True]
    saved = learner.save_state()["model"]
    assert set(saved) == set(learner.body.params)
    assert all("lora_" in name for name in saved)
    after = dict(learner.model.named_parameters())
    assert all(torch.equal(one, after[name]) for name, one in before.items())


@pytest.mark.parametrize("method", ["der", "derpp", "lamaml", "slda"])
def test_a_method_that_cannot_says_so_before_anything_is_learned(method: str) -> None:
    with pytest.raises(ConfigError, match="cannot learn language"):
        Learner(language.model(), CONFIG, method=method)


@pytest.mark.parametrize("method", ["naive", "er", "si", "mas", "agem", "gem", "lwf", "mir", "ewc"])
def test_methods_of_the_field_learn_language_and_resume_bit_for_bit(method: str) -> None:
    def learner() -> Learner:
        return Learner(language.model(), CONFIG, method=method)

    rows = language.rows()
    one, other = learner(), learner()
    for row in rows:
        one.learn_one(row)
    one.consolidate()
    other.load_state(one.save_state())
    assert other.digest() == one.digest()
    for made in (one, other):
        for row in rows:
            assert made.learn_one(row).verdict.keeps
    assert trees.digest(one.save_state()) == trees.digest(other.save_state())


def test_a_session_keeps_corrections_and_forgets_one_exactly(tmp_path: Path) -> None:
    rows, often = language.rows(), SessionConfig(commit_every=2, snapshot_every=3)

    def session(home: str) -> Session:
        return Session(tmp_path / home, language.model(), CONFIG, settings=often)

    with session("a") as s:
        s.ingest(rows)
        s.run()
        whole = s.learner.digest()
    with session("a") as s:
        assert s.learner.digest() == whole
        assert recovery.verify(s.home, s._make).holds
        s.forget(id="fact-1")
        s.flush()
        without = s.learner.digest()
    with session("b") as s:
        s.ingest([rows[0], rows[2]])
        s.flush()
        assert s.learner.digest() == without
    size = sum(file.stat().st_size for file in (tmp_path / "a").rglob("*") if file.is_file())
    assert size < 2_000_000
    assert np.asarray(rows[0].input).dtype == np.int32


def test_the_fisher_information_of_a_draw_is_a_mean_over_what_the_model_says() -> None:
    """Of many draws, where many tokens may come, it nears the expected square of the gradient."""
    from tenuto.methods.shared import fisher
    from tenuto.tasks import Language as Task

    learner = Learner(language.model(), CONFIG)
    coded = code([([1, 403, 480], False), ([261], True)], language.ROOM)
    row = OnlineExample(input=coded, target=answer(coded, language.ANSWER))
    learner.learn_one(row)
    objective, params = learner._objective, learner.body.params
    one, same = (fisher.fisher(objective, params, _batch(row), kind) for kind in ("exact", "sampled"))
    assert trees.digest(one) == trees.digest(same)
    found = [fisher.fisher(objective, params, _batch(row), "sampled", number=n) for n in range(200)]
    outputs = objective.outputs(params, _batch(row).inputs)
    assert outputs.shape[:2] == (1, 1)
    expected = {name: torch.zeros_like(one) for name, one in params.items()}
    chances = outputs.detach().softmax(-1)[0, 0]
    for token in (chances > 1e-5).nonzero()[:, 0].tolist():
        loss = Task().loss(outputs, torch.tensor([[token]]))
        grads = torch.autograd.grad(loss, list(params.values()), retain_graph=True)
        for name, grad in zip(params, grads, strict=True):
            expected[name] += chances[token] * grad.square()
    for name, one in expected.items():
        mean = torch.stack([draw[name] for draw in found]).mean(0)
        assert abs(mean.sum() / one.sum() - 1) < 0.25


def _batch(row: OnlineExample) -> Batch:
    targets = Language().encode([row.target])
    return Batch(language.inputs(row).long(), targets)
