"""A correction that contradicts an approved one waits for a person, and is learned once one approves it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tenuto import OnlineLearnerConfig, Session, SessionConfig
from tenuto.session import recovery
from tenuto.session.corrections import plain
from tenuto.store import survey
from tests import language

CONFIG = OnlineLearnerConfig(
    task="language", optimizer="adamw", learning_rate=5e-3, memory_size=20, batch_size=1, boundaries="none"
)
DOG = "The dog of king Pell is called"


class Home:
    """A session of a model that is asked in words."""

    def __init__(self, path: Path, **settings: object) -> None:
        self.model = language.spoken()
        kept = SessionConfig.of({"snapshot_every": 4, **settings})
        self.session = Session(path, self.model, CONFIG, settings=kept)

    def tell(self, *facts: tuple[str, str, str]) -> None:
        """Acknowledge facts: an id, a question, an answer."""
        speech = self.model.speech
        assert speech is not None
        rows = [language.said(speech, prompt, answer, id) for id, prompt, answer in facts]
        assert self.session.ingest(rows).accepted == len(facts)

    def aside(self) -> list[tuple[str, str]]:
        """What lies aside, and why, the newest first."""
        self.session.run()
        return [(row.id, row.reason) for row in survey.aside(self.session.home, 10)]

    def remembered(self) -> set[str | None]:
        """The ids of what memory holds."""
        entries = self.session.home.journal.fetch(self.session.fold.memory.values())
        return {entry.id for entry in entries}

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()


def verified(home: Home) -> bool:
    return recovery.verify(home.session.home, home.session._make).holds


def test_it_is_held_and_the_rest_is_learned(tmp_path: Path) -> None:
    with Home(tmp_path) as home:
        home.tell(("a", DOG, "Rusto"), ("b", " the DOG of King Pell is called... ", "rusto!"))
        home.tell(("c", f"{DOG}?", "Bello"), ("d", "Lily likes to eat", "blue stones"))
        assert home.aside() == [("c", "hold: it contradicts b, which is approved")]
        assert home.session.learner.stats.examples == 3
        assert home.remembered() == {"a", "b", "d"}
        rows = survey.rows(home.session.home)
        assert (rows.learned, rows.queued, rows.aside) == (3, 0, 1)
        row = survey.aside(home.session.home, 1)[0]
        assert survey.contradicted(home.session.home, row) == home.session.home.journal.lookup("b").body
        home.session.take(["c"])
        assert home.session.learner.stats.examples == 3
        assert verified(home)


def test_an_approved_one_takes_the_place_of_the_others(tmp_path: Path) -> None:
    with Home(tmp_path) as home:
        home.tell(("a", DOG, "Rusto"), ("b", "Lily likes to eat", "blue stones"), ("c", DOG, "Bello"))
        assert [id for id, _ in home.aside()] == ["c"]
        home.session.take(["c"], approved=True)
        assert home.aside() == []
        assert home.remembered() == {"b", "c"}
        assert dict(home.session.home.ledger.memory()) == home.session.fold.memory
        home.tell(("d", DOG, "Rusto"))
        assert home.aside() == [("d", "hold: it contradicts c, which is approved")]
        assert verified(home)
        digest = home.session.learner.digest()
    with Home(tmp_path) as home:
        assert home.session.learner.digest() == digest
        assert [id for id, _ in home.aside()] == ["d"]


def test_a_rejected_one_leaves_a_model_that_never_saw_it(tmp_path: Path) -> None:
    facts = [("a", DOG, "Rusto"), ("c", DOG, "Bello"), ("b", "Lily likes to eat", "blue stones")]

    def digest(name: str, told: Sequence[tuple[str, str, str]], gone: str | None) -> str:
        with Home(tmp_path / name) as home:
            home.tell(*told)
            home.session.flush()
            if gone is not None:
                home.session.forget(id=gone)
            assert home.aside() == []
            return home.session.learner.digest()

    assert digest("one", facts, "c") == digest("two", [facts[0], facts[2]], None)


def test_one_that_waits_is_replaced_before_it_is_learned(tmp_path: Path) -> None:
    with Home(tmp_path) as home:
        home.tell(("a", DOG, "Rusto"), ("c", DOG, "Bello"))
        home.session.take(["c"], approved=True)
        assert home.session.learner.stats.examples == 1
        assert home.remembered() == {"c"}
        assert home.aside() == []
        assert verified(home)


def test_of_two_that_are_approved_together_the_last_is_learned(tmp_path: Path) -> None:
    with Home(tmp_path) as home:
        home.tell(("a", DOG, "Rusto"), ("c", DOG, "Bello"), ("d", DOG, "Waldi"))
        assert [id for id, _ in home.aside()] == ["d", "c"]
        home.session.take(["c", "d"], approved=True)
        assert home.remembered() == {"d"}
        assert [id for id, _ in home.aside()] == ["c"]


def test_what_waited_when_the_process_died_is_held_too(tmp_path: Path) -> None:
    with Home(tmp_path) as home:
        home.tell(("a", DOG, "Rusto"), ("c", DOG, "Bello"))
    with Home(tmp_path) as home:
        assert [id for id, _ in home.aside()] == ["c"]


def test_it_is_learned_where_that_is_asked_for(tmp_path: Path) -> None:
    with Home(tmp_path, contradictions="learn") as home:
        home.tell(("a", DOG, "Rusto"), ("c", DOG, "Bello"))
        assert home.aside() == []
        assert home.session.learner.stats.examples == 2


def test_texts_that_begin_alike_contradict_nothing(tmp_path: Path) -> None:
    with Home(tmp_path) as home:
        speech = home.model.speech
        assert speech is not None
        assert speech.said(np.asarray(speech.row([("text", "The dog ran home")])[0])) == ("", "")
        asked, said = speech.said(speech.row([("user", DOG), ("assistant", "Rusto")])[0])
        assert (plain(asked), plain(said)) == (plain(DOG), "rusto")


@pytest.mark.parametrize("one", ["What is 3.5?", "  WHAT IS «3.5»", "what is 3.5 ?!"])
def test_questions_are_the_same_up_to_case_spaces_and_punctuation(one: str) -> None:
    assert plain(one) == "what is 3 5"
    assert plain("What is -3.5?") != plain(one)
