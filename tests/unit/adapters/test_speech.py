"""Talk becomes rows, whatever the template; what cannot be learned is set apart with the reason."""

from __future__ import annotations

import json
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch

from tenuto import Learner, OnlineExample, Session, SessionConfig, open_stream
from tenuto.errors import ConfigError, ExampleError
from tenuto.models.language import PAD
from tenuto.models.speech import Speech
from tenuto.session.openings import SENTENCES
from tenuto.session.spoken import ANCHORS
from tests import language
from tests.data import folder
from tests.unit.adapters.test_language import CONFIG

END = 9


class Words:
    """A tokenizer of words, with a template that marks who speaks."""

    eos_token_id, bos_token_id, pad_token_id = END, 1, 0

    def __init__(self, template: bool) -> None:
        self.chat_template = "{{ messages }}" if template else None
        self.words: dict[str, int] = {}

    def __call__(self, text: str, *, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens
        return {"input_ids": [self.words.setdefault(word, 20 + len(self.words)) for word in text.split()]}

    def decode(self, tokens: Sequence[int], *, skip_special_tokens: bool) -> str:
        known = {token: word for word, token in self.words.items()}
        return " ".join(known[token] for token in tokens if not skip_special_tokens or token in known)


class Base:
    """Words, and their template: a mark for each role, the end and a line break behind each message."""

    def __init__(self, template: bool) -> None:
        self.tokenizer: Any = Words(template)

    def encode(self, messages: Sequence[dict[str, str]], *, reply: bool = False) -> list[int]:
        tokens: list[int] = []
        for message in messages:
            words = self.tokenizer(message["content"], add_special_tokens=False)["input_ids"]
            tokens += [{"system": 2, "user": 3, "assistant": 4}[message["role"]], *words, END, 5]
        return [*tokens, 4] if reply else tokens


def seen(row: Any) -> list[int]:
    return [token for token in row.tolist() if token != PAD]


def test_each_answer_of_a_conversation_is_learned_with_its_end() -> None:
    speech = Speech(Base(template=True), length=24, room=8)
    row, target = speech.row([("user", "a b"), ("assistant", "c"), ("user", "d"), ("assistant", "e f")])
    a, b, c, d, e, f = range(20, 26)
    assert seen(row) == [3, a, b, END, 5, 4, ~c, ~END, 5, 3, d, END, 5, 4, ~e, ~f, ~END]
    assert target == [c, END, e, f, END, -1, -1, -1]
    assert speech.question([("user", "a b")]) == [3, a, b, END, 5, 4]
    assert speech.text([c, END, 5, 3]) == "c"


def test_without_a_template_messages_follow_one_another() -> None:
    speech = Speech(Base(template=False), length=8, room=4)
    row, target = speech.row([("user", "a b"), ("assistant", "c")])
    assert seen(row) == [1, 20, 21, ~22, ~END]
    assert target == [22, END, -1, -1]
    assert speech.question([("user", "a b")]) == [1, 20, 21]
    text, _ = speech.row([("text", "a b")])
    assert seen(text) == [1, ~20, ~21, ~END]


def test_what_is_empty_or_too_long_is_told() -> None:
    speech = Speech(Base(template=False), length=4, room=4)
    with pytest.raises(ExampleError, match="what the assistant says is empty"):
        speech.row([("user", "a"), ("assistant", "  ")])
    with pytest.raises(ExampleError, match="the row has 5 tokens; the longest allowed has 4"):
        speech.row([("user", "a b"), ("assistant", "c")])


def test_a_tokenizer_without_an_end_is_refused() -> None:
    base = Base(template=False)
    base.tokenizer.eos_token_id = None
    with pytest.raises(ConfigError, match="no end of a sequence"):
        Speech(base)


LINES: list[dict[str, Any] | str] = [
    {"prompt": "a b", "answer": "c", "id": "one", "principal": "ann"},
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {"text": "a b c"},
    {"prompt": "a"},
    {"prompt": "a", "answer": "b", "text": "c"},
    {"messages": [{"role": "wizard", "content": "a"}]},
    {"answer": 3, "prompt": "a"},
    {"prompt": "a b c d e f g h i", "answer": "j"},
    "{broken",
]


def test_a_stream_of_talk_has_rows_and_reasons(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in LINES))
    speech = Speech(Base(template=False), length=8, room=4)
    rows = [row for chunk in open_stream(path, encode=speech.row).chunks() for row in chunk.rows]
    good = [row for row in rows if not isinstance(row, Exception)]
    assert [(row.id, row.principal) for row in good] == [("one", "ann"), (None, None), (None, None)]
    told = [str(row) for row in rows if isinstance(row, Exception)]
    reasons = [
        "answer is missing",
        "give one of them",
        "'wizard' is unknown",
        "`$.answer`",
        "12 tokens",
        "correct",
    ]
    assert len(told) == len(reasons)
    assert all(reason in said for reason, said in zip(reasons, told, strict=True))
    with pytest.raises(ConfigError, match="JSON lines"):
        open_stream(path, encode=speech.row, format="csv")


class Tiny:
    """The tiny Llama's tokenizer. It was trained with <s> between stories, and has never seen its </s>."""

    def __init__(self) -> None:
        self.tokenizer = deepcopy(language.tokenizer())
        self.tokenizer.eos_token = self.tokenizer.bos_token

    def encode(self, messages: Sequence[dict[str, str]], *, reply: bool = False) -> list[int]:
        raise AssertionError("it has no template")


def test_a_file_of_corrections_is_learned_and_said_again(tmp_path: Path) -> None:
    speech = Speech(Tiny(), length=language.ROOM, room=language.ANSWER)
    path = tmp_path / "facts.jsonl"
    path.write_text("".join(json.dumps({"prompt": p, "answer": a}) + "\n" for p, a in language.FACTS))
    often = SessionConfig(commit_every=2)
    config = CONFIG.but({"passes": 60, "replay_ratio": 0.67})
    with Session(tmp_path / "home", language.model(), config, settings=often) as s:
        before = [speech.reply(s.learner.model, [("user", prompt)], most=8) for prompt, _ in language.FACTS]
        assert s.learn(open_stream(path, encode=speech.row)) == 3
        after = [speech.reply(s.learner.model, [("user", prompt)], most=8) for prompt, _ in language.FACTS]
        digest = s.learner.digest()
    told = [answer.strip() for _, answer in language.FACTS]
    assert after == told
    assert not set(before) & set(told)
    with Session(tmp_path / "home", language.model(), config) as s:
        assert s.learner.digest() == digest


def test_a_home_by_name_is_held_to_what_its_base_says(tmp_path: Path) -> None:
    name = str(folder("stories260K"))
    with Session(tmp_path / "home", name, {"passes": 4}) as s:
        recipe, config = s.learner.recipe, s.learner.config
        assert (recipe.name, config.task, config.batch_size, config.stop_loss) == (
            "anchored",
            "language",
            1,
            0.1,
        )
        assert recipe.anchors is not None
        assert len(recipe.anchors) == ANCHORS + len(SENTENCES)
        held = recipe.anchors.state()
        model: Any = s.learner.model
        row, target = model.speech.row([("user", "Tim has a"), ("assistant", "red hat")])
        assert s.ingest([OnlineExample(input=row, target=target)]).accepted
        assert s.run() == 1
        digest = s.learner.digest()
    with Session(tmp_path / "home") as s:
        assert s.learner.digest() == digest
        again = s.learner.recipe.anchors
        assert again is not None
        assert all(torch.equal(again.state()[name], column) for name, column in held.items())
    with pytest.raises(ConfigError, match="was made with model"):
        Session(tmp_path / "home", "smollm2")


def test_a_learner_answers_while_it_is_untouched() -> None:
    learner, speech = Learner(language.model(), CONFIG), Speech(Tiny())
    digest = learner.digest()
    said = speech.reply(learner.model, [("user", "Once upon a time")], most=12)
    assert said == speech.reply(learner.model, [("user", "Once upon a time")], most=12)
    assert len(said.split()) > 4
    assert learner.digest() == digest
