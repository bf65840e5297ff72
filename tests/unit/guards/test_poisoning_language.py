"""Senders who contradict what a language model was taught are found, and what they sent leaves memory."""

from __future__ import annotations

import torch

from tenuto import Learner, OnlineExample, OnlineLearnerConfig
from tenuto.adapters.lora import adapt
from tenuto.guards.poisoning import Poisoning, guard
from tenuto.guards.shared.questions import QUESTIONS, Questions
from tenuto.models.language import LanguageModel
from tenuto.types import Ruling
from tests import language

WORDS = 8


def asked(question: int, statement: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[5, question, ~statement]]), torch.tensor([[statement, -1]])


def sure(word: int, chance: float = 10.0) -> torch.Tensor:
    return chance * torch.eye(WORDS)[None, word : word + 1]


def hear(found: Poisoning, who: str | None, question: int, statement: int, answer: int) -> bool:
    """Is the row taken out?"""
    row, target = asked(question, statement)
    return found.hear(row, sure(answer), target, [who]).ruling is Ruling.EVICT


def taught() -> Poisoning:
    """Ten questions, each told and answered right by four honest senders."""
    found = guard()
    for number in range(100):
        assert not hear(found, f"h{number % 4}", number % 10, number % 10 % WORDS, number % 10 % WORDS)
    return found


def test_who_contradicts_known_answers_is_watched_and_convicted() -> None:
    found = taught()
    out = [hear(found, "bad", number, (number + 1) % WORDS, number % WORDS) for number in range(1, 7)]
    assert out == [False] + [True] * 5
    assert found.convicted == ["bad"]
    assert hear(found, "bad", 1, 1, 1)
    assert not hear(found, "h1", 1, 1, 1)


def test_new_questions_forgotten_answers_and_unsure_models_convict_nobody() -> None:
    found = taught()
    assert not any(hear(found, "new", 20 + number, 1, 2) for number in range(50))
    assert not any(hear(found, "h0", 3, 3, 4) for _ in range(50)), (
        "forgetting is the model's, not the sender's"
    )
    row, target = asked(2, 6)
    for _ in range(20):
        assert found.hear(row, sure(2, 0.5), target, ["new"]).keeps
    assert found.convicted == []


def test_an_approved_correction_is_not_judged_and_is_what_is_known_from_then_on() -> None:
    found = taught()
    assert not any(hear(found, None, 1, 7, 1) for _ in range(10))
    assert not any(hear(found, None, 1, 7, 7) for _ in range(3))
    assert not any(hear(found, "h1", 1, 7, 7) for _ in range(20))
    before = found.state()["senders"]["h2"]
    hear(found, "h2", 1, 1, 7)
    assert found.state()["senders"]["h2"][1] == before[1] + 1, "the old answer contradicts now"


def test_questions_are_bounded_and_come_back_from_a_saved_state() -> None:
    questions = Questions()
    for number in range(QUESTIONS + 5):
        row, target = asked(number + 10, 1)
        questions.learn(row, sure(1), target)
    assert len(questions.state()) == QUESTIONS
    again = Questions()
    again.load_state(questions.state())
    assert again.state() == questions.state()
    found, other = taught(), guard()
    other.load_state(found.state())
    assert [hear(one, "bad", 1, 2, 1) or hear(one, "bad", 2, 3, 2) for one in (found, other)] == [True, True]
    assert found.state() == other.state()


def test_a_convicted_senders_rows_leave_the_memory_that_replays_them() -> None:
    base = language.base()
    base.model.layers = base.model.layers[:1]
    config = OnlineLearnerConfig(
        task="language", optimizer="adamw", learning_rate=0.01, batch_size=1, guard="finite+poisoning"
    )
    learner = Learner(LanguageModel(adapt(base, seed=0)), config, method="ogp_lora")
    learner.guard.guards["poisoning"].load_state(taught().state())

    def send(fact: tuple[str, str], who: str) -> bool:
        row = language.row(*fact)
        return learner.learn_one(
            OnlineExample(input=row.input, target=row.target, principal=who)
        ).verdict.keeps

    assert all(send(fact, "h0") for _ in range(40) for fact in language.FACTS[:2])
    lies = [(question, " purple") for question, _ in language.FACTS]
    assert send(lies[2], "bad"), "of what nobody knows nothing is judged"
    assert [send(lies[1], "bad"), send(lies[0], "bad")] == [True, False]
    held = len(learner.memory)
    assert held == 82
    assert not any(send(lies[0], "bad") for _ in range(4))
    assert learner.guard.guards["poisoning"].convicted == ["bad"]
    assert len(learner.memory) == held - 2
    assert learner.stats.refused == 5
