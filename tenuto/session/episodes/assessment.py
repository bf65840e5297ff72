"""Assessment: which of the rows that wait may be learned unseen, and which a person is to judge.

A hook is any callable; it reads what a row asks and answers, and says what is wrong with it in words that
quote nothing, for these are kept where the row may be forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tenuto.session.corrections import plain
from tenuto.streams.personal import Hook, personal

Assess = Callable[[str, str], str | None]
"""What is wrong with a row that asks this and answers that; None: nothing."""
REPEATED = 8
"""Times that a word follows itself in a text that is broken."""


def quality(asked: str, answered: str) -> str | None:
    """What is wrong with an answer by its form alone.

    >>> quality("Who?", "who") , quality("Who?", "..."), quality("Who?", "me " * 9), quality("Who?", "Ann")
    ('it answers with the question', 'its answer has no word', 'its answer repeats one word', None)
    """
    words = plain(answered).split()
    if not any(letter.isalnum() for letter in answered):
        return "its answer has no word"
    if words == plain(asked).split():
        return "it answers with the question"
    runs = (words[n : n + REPEATED] for n in range(len(words) - REPEATED + 1))
    return "its answer repeats one word" if any(len(set(run)) == 1 for run in runs) else None


def private(hook: Hook = personal) -> Assess:
    """Assesses by a hook that reads a text: all that a row says.

    >>> private()("Who is it?", "ann@example.org")
    'it holds an e-mail address'
    """
    return lambda asked, answered: hook(f"{asked}\n{answered}")


def wrong(asked: str, answered: str, hooks: Sequence[Assess]) -> str | None:
    """What the first hook that finds something finds."""
    return next((found for hook in hooks if (found := hook(asked, answered))), None)
