"""The agenda against a plain model: what is due next, from any cursor, with anything left out."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto.store.agenda import Agenda, Order, Return, Rows
from tenuto.store.cursor import Cursor
from tenuto.store.journal import Journal
from tenuto.store.records import Row

BATCH = 3
WORDS = st.lists(
    st.one_of(st.integers(1, 5), st.sampled_from(["flush", "consolidate"])), min_size=1, max_size=12
)


def journal_of(words: list[int | str], *, without: set[str] = frozenset()) -> Journal:
    """A journal that holds runs of rows and commands, in order; some ids never came."""
    journal = Journal(Path(tempfile.mkdtemp()) / "ingest.db")
    n = 0
    for word in words:
        if isinstance(word, str):
            journal.command(word, {})
            continue
        ids = [f"r{n + i}" for i in range(word)]
        n += word
        rows = [Row(id=id, body=id.encode()) for id in ids if id not in without]
        if rows:
            journal.append(rows)
    return journal


def told(journal: Journal, cursor: Cursor | None = None, *, pieces: int = 10_000) -> list[list[str]]:
    """The work of an agenda in words: the ids of each step, or the command."""
    agenda = Agenda(journal, cursor or Cursor(), BATCH)
    done: list[list[str]] = []
    while len(done) < pieces and (work := agenda.next()) is not None:
        done.append(words_of(work))
    if cursor is not None:
        for name, value in agenda.cursor.to_plain().items():
            setattr(cursor, name, value)
    return done


def words_of(work: Rows | Order | Return) -> list[str]:
    match work:
        case Rows(entries):
            return [entry.id or "" for entry in entries]
        case Order(entry):
            return [f"<{entry.kind}>"]
    raise AssertionError(f"nothing goes back here: {work}")


def expected(words: list[int | str], without: set[str] = frozenset()) -> list[list[str]]:
    """The same, by the definition."""
    done: list[list[str]] = []
    pending: list[str] = []
    n = 0
    for word in words:
        if word == "flush":
            done += [pending] if pending else []
            pending = []
        elif isinstance(word, str):
            done.append([f"<{word}>"])
        else:
            for i in range(n, n + word):
                pending += [f"r{i}"] if f"r{i}" not in without else []
                if len(pending) == BATCH:
                    done.append(pending)
                    pending = []
            n += word
    return done


@given(WORDS)
@settings(max_examples=25, deadline=None)
def test_work_is_what_the_definition_says(words: list[int | str]) -> None:
    assert told(journal_of(words)) == expected(words)


@given(WORDS, st.integers(0, 12))
@settings(max_examples=25, deadline=None)
def test_any_cursor_resumes_where_it_stands(words: list[int | str], pieces: int) -> None:
    journal, cursor = journal_of(words), Cursor()
    first = told(journal, cursor, pieces=pieces)
    again = Cursor.of(cursor.to_plain())
    assert first + told(journal, again) == expected(words)


@given(WORDS, st.sets(st.integers(0, 20), max_size=4))
@settings(max_examples=25, deadline=None)
def test_a_forgotten_row_leaves_the_work_of_a_journal_that_never_held_it(
    words: list[int | str], gone: set[int]
) -> None:
    journal, ids = journal_of(words), {f"r{i}" for i in gone}
    seqs = [entry.seq for id in ids if (entry := journal.lookup(id)) is not None]
    if seqs:
        journal.erase(seqs, reason="test")
    assert told(journal) == told(journal_of(words, without=ids)) == expected(words, ids)


def test_rows_of_an_incomplete_batch_are_in_the_cursor() -> None:
    journal, cursor = journal_of([5]), Cursor()
    assert told(journal, cursor) == [["r0", "r1", "r2"]]
    assert (cursor.seq, cursor.pending) == (5, [4, 5])
    journal.append([Row(id="r5", body=b"r5")])
    assert told(journal, Cursor.of(cursor.to_plain())) == [["r3", "r4", "r5"]]


def test_a_take_acts_at_once_and_its_rows_do_not_come_again() -> None:
    journal = journal_of([12])
    agenda = Agenda(journal, Cursor(), BATCH)
    assert words_of(agenda.next()) == ["r0", "r1", "r2"]
    journal.command("take", {"seqs": [11, 5, 1]}, after=agenda.cursor.seq)
    agenda.listen()
    assert words_of(agenda.next()) == ["r10", "r4"], "r0 was learned already"
    half = Cursor.of(agenda.cursor.to_plain())
    rest = [["r3", "r5", "r6"], ["r7", "r8", "r9"]]
    assert told(journal, half) == rest
    assert [words_of(work) for work in iter(agenda.next, None)] == rest
    assert agenda.cursor.pending == [12]
    assert agenda.cursor.taken == []


def test_a_take_out_of_an_incomplete_batch_leaves_the_others_waiting() -> None:
    journal, cursor = journal_of([2]), Cursor()
    assert told(journal, cursor) == []
    journal.command("take", {"seqs": [1]}, after=cursor.seq)
    assert told(journal, cursor) == [["r0"]]
    assert cursor.pending == [2]


def test_a_reset_sends_back_and_is_a_jump_for_who_comes_again() -> None:
    journal, cursor = journal_of([9]), Cursor()
    early = Cursor()
    told(journal, early, pieces=1)
    told(journal, cursor)
    journal.command("reset", {"seq": early.seq, "done": early.done}, after=cursor.seq)
    journal.append([Row(id=f"r{i}", body=b"x%d" % i) for i in range(9, 12)])
    agenda = Agenda(journal, cursor, BATCH)
    assert agenda.next() == Return(early.place)
    again = Cursor.of(early.to_plain())
    assert told(journal, again) == [["r9", "r10", "r11"]]
    assert again.aside == [[4, 9]]
    assert told(journal) == [["r0", "r1", "r2"], ["r9", "r10", "r11"]], "from the very beginning too"


def test_of_two_resets_the_one_that_reaches_further_back_swallows_the_other() -> None:
    journal = journal_of([6])
    journal.command("reset", {"seq": 3, "done": 0}, after=6)
    journal.append([Row(id=f"s{i}", body=b"s%d" % i) for i in range(3)])
    journal.command("reset", {"seq": 0, "done": 0}, after=journal.last_seq)
    journal.append([Row(id=f"t{i}", body=b"t%d" % i) for i in range(3)])
    assert told(journal) == [["t0", "t1", "t2"]]


def test_what_was_set_aside_can_be_taken_again_once() -> None:
    journal = journal_of([6])
    journal.command("reset", {"seq": 3, "done": 0}, after=6)
    cursor = Cursor()
    told(journal, cursor)
    journal.command("take", {"seqs": [5]}, after=cursor.seq)
    journal.command("take", {"seqs": [5, 6]}, after=cursor.seq)
    assert told(journal, cursor) == [["r4"], ["r5"]]
    assert cursor.aside == [[4, 4]]
