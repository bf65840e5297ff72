"""A verifier: is an answer that was just given confident and wrong?

Any callable that reads a question and an answer is one. The default compares with what is approved: an answer
that differs from the approved one of the same question is wrong. Of a question nobody has answered it asks
the model again, some times under keyed draws: an answer that the model is sure of and does not repeat is
doubtful (self-consistency; Wang et al. 2023).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from msgspec import Struct

from tenuto.errors import ConfigError, ExampleError
from tenuto.models.language import LanguageModel
from tenuto.models.speech import Speech
from tenuto.session.corrections import Corrections, plain
from tenuto.session.session import Session


class Flag(Struct, frozen=True, kw_only=True):
    """An answer that should not have been given.

    Args:
        reason: in words that quote nothing.
        id: of the approved correction that says otherwise; None: nobody has said what is right.
    """

    reason: str
    id: str | None = None


Verifier = Callable[[str, str], Flag | None]
"""Reads a question and the answer given; None where nothing is wrong with it."""


class Consistency:
    """The default verifier.

    Args:
        session: whose model answered.
        samples: answers that are drawn; 0: only what is approved is compared with.
        confident: the mean probability of its tokens from which an answer is a confident one.
        agreeing: share of the draws that must agree with it.
        similar: share of words in common from which a question counts as one that was corrected.
        most: tokens of a draw.

    Raises:
        ConfigError: nobody can ask this model in words.
    """

    def __init__(
        self,
        session: Session,
        *,
        samples: int = 5,
        confident: float = 0.7,
        agreeing: float = 0.5,
        similar: float = 1.0,
        most: int = 48,
    ) -> None:
        model, screen = session.learner.model, session.way.screen
        if not isinstance(model, LanguageModel) or model.speech is None or screen is None:
            raise ConfigError("a verifier asks a language model in words; this session has none")
        self._session = session
        self._model: LanguageModel = model
        self._speech: Speech = model.speech
        self._corrections: Corrections = screen.corrections
        self._samples, self._confident, self._agreeing = samples, confident, agreeing
        self._similar, self._most = similar, most
        self._count = 0

    def __call__(self, question: str, answer: str) -> Flag | None:
        """What is wrong with an answer."""
        try:
            row, target = self._speech.row([("user", question), ("assistant", answer)])
        except ExampleError:
            return None
        asked, said = (plain(text) for text in self._speech.said(row))
        approved = self._corrections.similar(asked, self._session.fold.cursor, least=self._similar)
        if approved is not None:
            if approved.answer == said:
                return None
            return Flag(reason=f"{approved.id} is approved and says otherwise", id=approved.id)
        with self._session.learner.answering(row):
            return self._doubt(question, said, torch.from_numpy(row)[None], torch.tensor([target]))

    def _doubt(self, question: str, said: str, row: torch.Tensor, target: torch.Tensor) -> Flag | None:
        if not self._samples:
            return None
        learner = self._session.learner
        loss = learner.task.losses(learner.body.infer(row).float(), target.long())
        sure = float((-loss).exp())
        if sure < self._confident:
            return None
        self._count += 1
        drawn = self._speech.drawn(
            self._model,
            [("user", question)],
            self._samples,
            key=(learner.config.seed, self._count),
            most=self._most,
        )
        agree = sum(plain(one) == said for one in drawn) / self._samples
        if agree >= self._agreeing:
            return None
        return Flag(reason=f"an answer of mean probability {sure:.2f} was given by {agree:.0%} of draws")
