"""What is like a learned row is answered by its adapter, and all else by the base as it was."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tenuto import Learner
from tenuto.adapters.lora import adapt, middle
from tenuto.adapters.neighbours import Neighbours
from tenuto.errors import ConfigError
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tenuto.models.speech import Speech
from tenuto.session.openings import SENTENCES
from tenuto.session.spoken import reply
from tenuto.types import OnlineExample
from tests import language
from tests.unit.adapters.test_language import CONFIG
from tests.unit.adapters.test_speech import Base, Tiny

ORDINARY, OTHERS = SENTENCES[:24], SENTENCES[24:40]


def rows(count: int, at: float, seed: int = 0) -> torch.Tensor:
    spread = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    return spread + at * torch.eye(8)[0]


def test_of_strangers_the_share_that_is_asked_for_is_let_in() -> None:
    router = Neighbours(wrong=0.1)
    router.set_apart(rows(400, 0.0))
    router.note("corrections", rows(20, 4.0, seed=1), torch.zeros(20))
    fresh = router.strange(rows(4000, 0.0, seed=2))
    assert 0.05 < float((~fresh).float().mean()) < 0.15
    assert not router.strange(rows(20, 4.0, seed=1)).any()


def test_order_does_not_matter_and_the_state_is_whole() -> None:
    mine, other, queries = Neighbours(wrong=0.05), Neighbours(wrong=0.05), rows(200, 2.0, seed=3)
    learned = {"a": rows(9, 4.0, seed=1), "b": rows(9, -4.0, seed=2)}
    mine.set_apart(rows(100, 0.0))
    for name, found in learned.items():
        mine.note(name, found, torch.zeros(9))
    for name in ("b", "a"):
        for row in learned[name]:
            other.note(name, row[None], torch.zeros(1))
    other.set_apart(rows(100, 0.0))
    assert mine.route(queries) == other.route(queries)
    assert {*mine.route(queries)} == {"a", None}
    again = Neighbours(wrong=0.05)
    again.load_state(mine.state())
    assert again.route(queries) == mine.route(queries)
    assert mine.nearest(queries[:1], without=["a"]) == ["b"]


def test_without_strangers_all_is_known_and_bad_rows_change_nothing() -> None:
    router = Neighbours(wrong=0.05)
    with pytest.raises(ConfigError, match="knows no row yet"):
        router.route(rows(1, 0.0))
    router.note("a", rows(2, 4.0), torch.zeros(2))
    assert router.route(rows(3, -4.0)) == ["a"] * 3
    before = router.state()
    with pytest.raises(ConfigError, match=r"\(n, 8\), not \(1, 5\)"):
        router.note("a", torch.zeros(1, 5), torch.zeros(1))
    with pytest.raises(ConfigError, match="NaN"):
        router.note("a", torch.full((1, 8), torch.nan), torch.zeros(1))
    assert all(torch.equal(router.state()[name], before[name]) for name in ("rows", "strangers"))


def learner(**options: Any) -> Learner:
    base = language.base()
    targets, layers = middle(base)
    speech = Speech(Tiny(), length=language.ROOM, room=language.ANSWER)
    model = LanguageModel(adapt(base, targets=targets, layers=layers), speech)
    config = CONFIG.but({"passes": 60, "replay_ratio": 0.67, "stop_loss": 0.05})
    made = Learner(model, config, method="anchored", options=options)
    held = speech.ended(model, [[("text", text)] for text in ORDINARY], length=8)
    made.anchor(stack([OnlineExample(input=row, target=target) for row, target in held]))
    return made


def taught(made: Learner) -> Learner:
    model: Any = made.model
    for prompt, told in language.FACTS[:2]:
        row, target = model.speech.row([("user", prompt), ("assistant", told)])
        made.learn_one(OnlineExample(input=row, target=target))
    return made


def test_what_was_taught_is_said_and_all_else_as_before_word_for_word() -> None:
    fresh = learner(wrong=0.05)
    before = [reply(fresh, [("user", text)], most=12) for text in OTHERS]
    made = taught(fresh)
    model: Any = made.model
    asked = torch.stack([torch.from_numpy(model.speech.asking([("user", text)])) for text in OTHERS])
    strange = [n for n, name in enumerate(made.route(asked)) if name is None]
    assert len(strange) > len(OTHERS) / 2
    assert [reply(made, [("user", p)], most=8) for p, _ in language.FACTS[:2]] == [
        told.strip() for _, told in language.FACTS[:2]
    ]
    after = [reply(made, [("user", text)], most=12) for text in OTHERS]
    assert [after[n] for n in strange] == [before[n] for n in strange]
    adapted = taught(learner())
    after = [reply(adapted, [("user", text)], most=12) for text in OTHERS]
    assert [after[n] for n in strange] != [before[n] for n in strange]


def test_outputs_are_routed_and_the_state_resumes_bit_for_bit() -> None:
    made, model = taught(learner(wrong=0.05)), None
    model = made.model
    assert isinstance(model, LanguageModel)
    speech: Any = model.speech
    strange, _ = speech.row([("user", ORDINARY[0]), ("assistant", "a tree")])
    known, _ = speech.row([("user", language.FACTS[0][0]), ("assistant", language.FACTS[0][1])])
    assert made.route(torch.from_numpy(strange)[None]) == [None]
    outputs = made.predict(torch.from_numpy(strange)[None]).outputs
    with model.base.disable_adapter():  # type: ignore[operator]
        bare = model.eval()(torch.from_numpy(strange)[None])
        other = model(torch.from_numpy(known)[None])
    assert torch.equal(outputs, bare.detach())
    assert not torch.equal(made.predict(torch.from_numpy(known)[None]).outputs, other.detach())
    again = learner(wrong=0.05)
    again.load_state(made.save_state())
    assert again.digest() == made.digest()
    row, target = speech.row([("user", language.FACTS[2][0]), ("assistant", language.FACTS[2][1])])
    for one in (made, again):
        one.learn_one(OnlineExample(input=row, target=target))
    assert again.digest() == made.digest()


def test_what_is_asked_is_read_without_its_template() -> None:
    for template in (True, False):
        speech = Speech(Base(template=template), length=24, room=8)
        speech.question([("user", "where is zed")])
        for messages in ([("user", "where is zed"), ("assistant", "here")], [("user", "where is zed")]):
            row = speech.row(messages)[0] if len(messages) > 1 else speech.asking(messages)
            tokens = [token for token in row.tolist() if token != 2**31 - 1]
            assert speech.asked(tokens) == [20, 21, 22]
    text, _ = speech.row([("text", "where is zed")])
    assert speech.asked([token for token in text.tolist() if token != 2**31 - 1])[:3] == [20, 21, 22]


def test_facts_are_looked_for_in_the_middle() -> None:
    base = language.base()
    assert middle(base) == (("down_proj",), range(1, 3))
    assert middle(torch.nn.Sequential()) == (None, None)
