"""Speech: what people say as rows a language model learns, and what it says in turn.

A conversation goes through the model's chat template; each answer is what the template adds to the messages
before it, its end included. A model without a template reads the messages one after the other, and ends an
answer with its end-of-sequence token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tenuto.errors import ConfigError, ExampleError
from tenuto.models.language import PAD, LanguageModel, answer, code
from tenuto.modes import evaluating
from tenuto.randomness import torch_draws

Message = tuple[str, str]
LENGTH, ROOM = 128, 64
"""Tokens of a row, and of all its answers, at most."""


class Base(Protocol):
    """A base model's tokenizer, and its chat template."""

    @property
    def tokenizer(self) -> Any: ...
    def encode(self, messages: Sequence[dict[str, str]], *, reply: bool = False) -> list[int]:
        """Token ids of messages through the chat template."""


class Speech:
    """Rows of one length from messages.

    Args:
        base: whose tokenizer and template.
        length: tokens of a row at most.
        room: tokens of all its answers at most.

    Raises:
        ConfigError: the tokenizer knows no end of a sequence.
    """

    def __init__(self, base: Base, *, length: int = LENGTH, room: int = ROOM) -> None:
        self._base, self._tokenizer = base, base.tokenizer
        self.length, self.room = length, room
        if self._tokenizer.eos_token_id is None:
            raise ConfigError("the tokenizer names no end of a sequence, so no answer could end")

    @property
    def chats(self) -> bool:
        """Has the model a chat template?"""
        return bool(self._tokenizer.chat_template)

    def row(self, messages: Sequence[Message]) -> tuple[NDArray[Any], list[float]]:
        """The input and the target of a conversation, or of a text.

        Raises:
            ExampleError: it is empty, too long, or says nothing to learn.
        """
        for role, content in messages:
            if not content.strip():
                raise ExampleError(f"what the {role} says is empty; write it, or leave the row out")
        coded = code(self._pieces(messages), self.length)
        return coded, answer(coded, self.room)

    def question(self, messages: Sequence[Message]) -> list[int]:
        """Token ids of messages that wait for an answer."""
        if self._tokenizer.chat_template:
            return self._base.encode(_plain(messages), reply=True)
        return [*self._begin(), *(token for message in messages for token in self._tokens(message[1]))]

    def asking(self, messages: Sequence[Message]) -> NDArray[Any]:
        """A row (length,) of what waits for an answer, its last tokens where it is longer."""
        tokens = self._begun(messages)[-self.length :]
        row = np.full(self.length, PAD, dtype=np.int32)
        row[: len(tokens)] = tokens
        return row

    def asked(self, tokens: Sequence[int]) -> list[int]:
        """The tokens of what is asked last in a row, without the template's own; of a text, all of it.

        They are those of the words behind a space, where the vocabulary has these: a first word is then spelt
        as it would be further on.
        """
        places = [n for n, token in enumerate(tokens) if token < 0]
        ends = [n for n in places if n - 1 not in places]
        start = 0 if len(ends) < 2 else 1 + max(n for n in places if n < ends[-1])
        prompt = list(tokens[start : ends[-1] if ends else len(tokens)])
        frame = self.question([("user", "")]) if self.chats else self._begin()
        prompt = prompt[_alike(prompt, frame) :]
        behind = _alike(prompt[::-1], frame[::-1]) if self.chats else 0
        said = self._tokenizer.decode(prompt[: len(prompt) - behind], skip_special_tokens=True).strip()
        if not said:
            whole = [token if token >= 0 else ~token for token in tokens]
            said = self._tokenizer.decode(whole, skip_special_tokens=True).strip()
        spaced = self._tokens(f" {said}")
        same = self._tokenizer.decode(spaced, skip_special_tokens=True).strip() == said
        return (spaced if same else self._tokens(said)) or [self._start()]

    def text(self, tokens: Sequence[int]) -> str:
        """What an answer's tokens say, up to its end."""
        ends = {self._tokenizer.eos_token_id}
        said = next((n for n, token in enumerate(tokens) if token in ends), len(tokens))
        told: str = self._tokenizer.decode(tokens[:said], skip_special_tokens=True)
        return told.strip()

    def said(self, row: NDArray[Any]) -> tuple[str, str]:
        """What a row asks before its last answer, and that answer; both empty of a text."""
        tokens = row[row != PAD].tolist()
        begun = next((n for n in range(len(tokens), 0, -1) if tokens[n - 1] >= 0), 0)
        if begun < 2:
            return "", ""
        asked = [~token if token < 0 else token for token in tokens[:begun]]
        told: str = self._tokenizer.decode(asked, skip_special_tokens=True)
        return told, self.text([~token for token in tokens[begun:]])

    def reply(self, model: LanguageModel, messages: Sequence[Message], *, most: int = 64) -> str:
        """The likeliest answer, token by token, of at most `most`; nothing changes."""
        return self.text(self._say(model, torch.tensor([self.question(messages)]), most)[0])

    def drawn(
        self,
        model: LanguageModel,
        messages: Sequence[Message],
        count: int,
        *,
        key: tuple[int, int],
        most: int = 64,
        temperature: float = 0.7,
    ) -> list[str]:
        """So many answers, drawn from the model's own distribution under a key of seed and number."""
        ids = torch.tensor([self.question(messages)]).expand(count, -1)
        with torch_draws(key[0], "drawn", key[1]):
            drawn = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": temperature}
            return [self.text(tokens) for tokens in self._say(model, ids, most, **drawn)]

    def ended(
        self, model: LanguageModel, asked: Sequence[Sequence[Message]], *, length: int = 24
    ) -> list[tuple[NDArray[Any], list[float]]]:
        """Rows of what waits for an answer, or for an end, and what the model says to it by itself.

        What is of one length is answered together, so that nothing is padded.

        Args:
            asked: conversations that wait for an answer, or texts, each as one message of the role "text".
            length: tokens of an answer, at most.
        """
        begun = [self._begun(messages) for messages in asked]
        told: dict[int, list[int]] = {}
        for size in sorted({len(one) for one in begun}):
            alike = [number for number, one in enumerate(begun) if len(one) == size]
            ids = torch.tensor([begun[number] for number in alike])
            told |= zip(alike, self._say(model, ids, min(length, self.length - size)), strict=True)
        end = self._tokenizer.eos_token_id
        rows = [
            code([(begun[number], False), (upto(told[number], end), True)], self.length)
            for number in range(len(begun))
        ]
        return [(row, answer(row, self.room)) for row in rows]

    def _begun(self, messages: Sequence[Message]) -> list[int]:
        if messages[0][0] == "text":
            return self._tokens(messages[0][1]) or [self._start()]
        return self.question(messages)

    def _say(self, model: LanguageModel, ids: Tensor, most: int, **how: Any) -> list[list[int]]:
        """What follows these tokens, greedily unless told how else; nothing changes."""
        if model.gate is not None:
            model.gate(ids)
        generate: Any = model.base.generate
        with evaluating(model), torch.no_grad():
            said = generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=most,
                pad_token_id=self._tokenizer.eos_token_id,
                **{"do_sample": False, **how},
            )
        found: list[list[int]] = said[:, ids.shape[1] :].tolist()
        return found

    def written(
        self, model: LanguageModel, count: int, *, seed: int, length: int = 48
    ) -> list[tuple[NDArray[Any], list[float]]]:
        """Texts that the model writes from nothing, as rows: drawn from its own distribution under a seed."""
        start, most = self._start(), min(length, self.length - 1, self.room)
        drawn = {"do_sample": True, "top_k": 0, "top_p": 1.0, "temperature": 1.0}
        with torch_draws(seed, "written", 0):
            found = self._say(model, torch.full((count, 1), start), most, **drawn)
        rows = [code([([start], False), (text, True)], self.length) for text in found]
        return [(row, answer(row, self.room)) for row in rows]

    def _start(self) -> int:
        """The token before a text: what stood between texts in training, as far as the vocabulary tells."""
        marks = {"<|endoftext|>", "<s>", "<|begin_of_text|>"}
        known = self._tokenizer.get_vocab()
        found = next((known[mark] for mark in sorted(marks) if mark in known), None)
        first = self._tokenizer.bos_token_id if found is None else found
        return int(self._tokenizer.eos_token_id if first is None else first)

    def _pieces(self, messages: Sequence[Message]) -> list[tuple[list[int], bool]]:
        end = self._tokenizer.eos_token_id
        if [role for role, _ in messages] == ["text"]:
            tokens = [*self._begin(), *self._tokens(messages[0][1])]
            return [(tokens[:1], False), ([*tokens[1:], end], True)]
        if not self._tokenizer.chat_template:
            spoken = [(self._tokens(content), role == "assistant") for role, content in messages]
            ended = [([*tokens, end], True) if answered else (tokens, False) for tokens, answered in spoken]
            return [(self._begin(), False), *ended]
        pieces: list[tuple[list[int], bool]] = []
        seen: list[int] = []
        for number, (role, _) in enumerate(messages):
            if role != "assistant":
                continue
            asked = self._base.encode(_plain(messages[:number]), reply=True)
            whole = self._base.encode(_plain(messages[: number + 1]))
            if asked[: len(seen)] != seen or whole[: len(asked)] != asked:
                raise ExampleError("the chat template changes earlier messages when later ones come")
            last = max((n for n, token in enumerate(whole) if token == end), default=len(whole) - 1)
            told = whole[len(asked) : last + 1]
            pieces += [(asked[len(seen) :], False), (told, True)]
            seen = asked + told
        return pieces

    def _tokens(self, text: str) -> list[int]:
        found: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return found

    def _begin(self) -> list[int]:
        first = self._tokenizer.bos_token_id
        return [] if first is None else [first]


def _alike(tokens: Sequence[int], others: Sequence[int]) -> int:
    """How many tokens two rows have in common before they first differ."""
    pairs = enumerate(zip(tokens, others, strict=False))
    return next((n for n, (one, other) in pairs if one != other), min(len(tokens), len(others)))


def upto(tokens: Sequence[int], end: int) -> list[int]:
    """Tokens up to the first end of a sequence, which stays.

    >>> upto([5, 6, 2, 2], 2)
    [5, 6, 2]
    """
    found = list(tokens)
    return found[: found.index(end) + 1] if end in found else found


def _plain(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": role, "content": content} for role, content in messages]
