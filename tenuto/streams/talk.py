"""Talk: one JSON object per line, of text to learn, read with a model's tokenizer.

    {"prompt": "What is the capital of Zorland?", "answer": "Mirth.", "id": "a7"}
    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}
    {"text": "Plain text, all of it learned."}

What the assistant says is learned; of plain text everything but its first token. Recognised beside them: id,
domain, level, weight, source, principal, derived_from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from tenuto.errors import ExampleError, MalformedRow
from tenuto.streams.lines import Parse, Torn
from tenuto.types import OnlineExample

Message = tuple[str, str]
"""Who says it ("system", "user", "assistant"; "text" for plain text), and what."""
Encode = Callable[[Sequence[Message]], tuple[Any, list[float]]]
"""Messages as a row's input and target; ExampleError where they are none."""
ROLES = ("system", "user", "assistant")


class Said(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: str
    content: str


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What a line may hold; others of its members are passed over."""

    prompt: str | None = None
    answer: str | None = None
    messages: list[Said] | None = None
    text: str | None = None
    id: int | str | None = None
    domain: str | None = None
    level: float | None = None
    weight: float = 1.0
    source: str | None = None
    principal: str | None = None
    derived_from: tuple[str, ...] = ()

    def said(self) -> list[Message]:
        """The messages of the one form that is given. Raises ExampleError where there is none, or several."""
        pair = (self.prompt, self.answer)
        if sum((pair != (None, None), self.messages is not None, self.text is not None)) != 1:
            raise ExampleError("a row is a prompt with its answer, or messages, or a text: give one of them")
        if self.text is not None:
            return [("text", self.text)]
        if self.messages is None:
            if self.prompt is None or self.answer is None:
                lacking = "prompt" if self.prompt is None else "answer"
                raise ExampleError(f"the {lacking} is missing; write it")
            return [("user", self.prompt), ("assistant", self.answer)]
        for message in self.messages:
            if message.role not in ROLES:
                raise ExampleError(f"role {message.role!r} is unknown; it is one of {', '.join(ROLES)}")
        return [(message.role, message.content) for message in self.messages]


@dataclass(frozen=True, slots=True)
class Talk:
    """The dialect of talk.

    Args:
        encode: messages as input and target.

    >>> parse = Talk(lambda messages: (len(messages), [1.0])).parser("a.jsonl", b"")
    >>> parse(b'{"prompt": "Who?", "answer": "I."}').input
    2
    """

    encode: Encode
    header: bool = False

    def parser(self, source: str, header: bytes) -> Parse:
        """Reads one object per line; there is no header."""
        decode = msgspec.json.Decoder(Line).decode

        def parse(line: bytes) -> OnlineExample:
            try:
                row = decode(line)
                input, target = self.encode(row.said())
            except (msgspec.ValidationError, ExampleError) as error:
                raise MalformedRow(str(error)) from error
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise Torn(f"{error}; correct the row") from error
            return OnlineExample(
                input=input,
                target=target,
                id=str(row.id) if isinstance(row.id, int) else row.id,
                domain=row.domain,
                level=row.level,
                weight=row.weight,
                source=row.source or source,
                principal=row.principal,
                derived_from=row.derived_from,
            )

        return parse
