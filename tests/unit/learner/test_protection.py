"""Protection multiplies what anchors and springs hold with; where it is 1, states are those of before."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.errors import ConfigError, StateError
from tenuto.methods.shared.quadratic import Quadratic
from tenuto.types import State

CONFIG = OnlineLearnerConfig(classes=("a", "b"), hidden=(4,), learning_rate=0.05)


def learner(method: str, **changes: Any) -> Learner:
    options = {"strength": 0.5} if method == "ewc" else None
    made = Learner(config=CONFIG.but(changes), method=method, options=options)
    rows = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    labels = ["a" if row[0] > 0 else "b" for row in rows]
    made.learn_batch(Batch(rows[:20], labels[:20]))
    made.consolidate()
    for start in (20, 40):
        made.learn_batch(Batch(rows[start : start + 20], labels[start : start + 20][::-1]))
    return made


def pulls(made: Learner) -> torch.Tensor:
    """What the method's penalty pulls with."""
    tree = made.recipe.penalties[0].penalty_gradient(made.body.params)
    assert tree is not None
    return torch.cat([leaf.flatten() for leaf in tree.values()])


@pytest.mark.parametrize("method", ["ewc", "si", "mas"])
def test_springs_pull_so_many_times_as_hard(method: str) -> None:
    made = learner(method)
    before = pulls(made)
    assert before.abs().max() > 0
    made.configure({"protection": 0.25})
    torch.testing.assert_close(pulls(made), 0.25 * before)
    made.configure({"protection": 1.0})
    torch.testing.assert_close(pulls(made), before)


def test_no_spring_pulls_harder_than_a_step_can_follow() -> None:
    pull = Quadratic()
    pull.hold({"w": torch.tensor([2.0, 6.0])}, {"w": torch.zeros(2)}, rate=0.1)
    pull.protect(4.0)
    found = pull.gradient({"w": torch.ones(2)})
    assert found is not None
    assert found["w"].tolist() == [8.0, 10.0]
    other = Quadratic()
    other.load_state(pull.state())
    other.protect(4.0)
    again = other.gradient({"w": torch.ones(2)})
    assert again is not None
    assert again["w"].tolist() == [8.0, 10.0]


def test_a_state_resumes_with_it_and_one_without_it_is_one_of_before() -> None:
    made, plain = learner("ewc", protection=3.0), learner("ewc")
    state = made.save_state()
    assert state["settings"]["protection"] == 3.0
    assert "protection" not in plain.save_state()["settings"]
    other = learner("ewc")
    other.load_state(state)
    assert other.digest() == made.digest()
    torch.testing.assert_close(pulls(other), pulls(made))
    other.load_state(plain.save_state())
    assert other.config.protection == 1.0
    assert other.digest() == plain.digest()


def test_a_state_without_a_setting_of_old_is_refused() -> None:
    made = learner("ewc")
    state: State = made.save_state()
    del state["settings"]["passes"]
    before = made.digest()
    with pytest.raises(StateError, match="does not fit"):
        made.load_state(state)
    assert made.digest() == before


def test_it_is_bounded() -> None:
    with pytest.raises(ConfigError, match="protection is -1"):
        learner("ewc").configure({"protection": -1.0})
