"""A learning episode: its eight steps, what calls for one, its bounds, and that a replay makes it again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenuto import Learner, OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.config import EpisodeConfig
from tenuto.consolidation import ConsolidationScheduler, cosine
from tenuto.errors import ConfigError
from tenuto.models.inputs import stack
from tenuto.reports import DriftReport, Reason
from tenuto.session import recovery, spoken
from tenuto.session.episodes import Consistency, EpisodeReport, Episodes, Flag, Stage
from tenuto.session.openings import SENTENCES
from tenuto.store import survey
from tenuto.store.records import Entry, Step
from tests import language

CONFIG = OnlineLearnerConfig(
    task="language",
    optimizer="adamw",
    learning_rate=0.01,
    memory_size=20,
    batch_size=1,
    boundaries="none",
)
THOROUGH = {"passes": 40, "stop_loss": 0.3}
FACTS = [(f"fact-{number}", *fact) for number, fact in enumerate(language.FACTS)]
ASKED = Reason(cause="asked", found="by a test")
FEW = EpisodeConfig(asked=8, again=0)
EIGHT = ["collect", "assess", "replay", "importance", "train", "remember", "evaluate", "candidate"]


class Home:
    """A session of a tiny Llama that is asked in words, and its episodes."""

    def __init__(self, path: Path, method: str = "er", **more: Any) -> None:
        self.model = language.spoken()
        options = {"fisher": "empirical"} if method == "ewc" else None
        config = CONFIG.but(more.pop("changes", {}))
        kept = SessionConfig(snapshot_every=1000)
        self.session = Session(path, self.model, config, method=method, options=options, settings=kept)
        self.episodes = Episodes(self.session, **{"config": FEW, "when": ConsolidationScheduler(), **more})
        assert self.model.speech is not None
        self.speech = self.model.speech

    def tell(self, *facts: tuple[str, str, str]) -> None:
        rows = [language.said(self.speech, prompt, answer, id) for id, prompt, answer in facts]
        assert self.session.ingest(rows).accepted == len(facts)

    def run(self, reason: Reason | None = ASKED, **more: Any) -> EpisodeReport:
        report = self.episodes.run(1.0, reason, **more)
        assert report is not None
        return report

    def say(self, prompt: str) -> str:
        return self.speech.reply(self.model, [("user", prompt)], most=8)

    def orders(self, *kinds: str) -> list[Entry]:
        return [entry for entry in self.session.home.journal.commands() if entry.kind in kinds]

    def remembered(self) -> set[str | None]:
        return {entry.id for entry in self.session.home.journal.fetch(self.session.fold.memory.values())}

    def steps(self) -> list[Step]:
        return self.session.home.ledger.steps()

    def verified(self) -> bool:
        return recovery.verify(self.session.home, self.session._make).holds

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()


def test_an_episode_goes_through_its_eight_steps(tmp_path: Path) -> None:
    stages: list[Stage] = []
    with Home(tmp_path, changes=THOROUGH) as home:
        home.tell(*FACTS[1:], ("bare", "Who?", "who"), ("mail", "Where is Ann?", "ann@example.org"))
        home.tell(("other", FACTS[1][1], "Gloom"))
        report = home.run(on_stage=stages.append)
        assert [stage.name for stage in report.stages] == EIGHT == [stage.name for stage in stages]
        assert (report.number, report.learned, report.held, report.waiting) == (1, 2, 3, 0)
        assert report.after.accumulation == 1.0
        assert report.before.accumulation is None
        assert report.forgetting is None
        assert 1.0 < (report.after.perplexity or 0.0) < 5.0
        assert report.drift is not None
        assert report.drift > 0.001
        assert home.say(FACTS[1][1]).startswith("Rusto")
        reasons = {row.id: row.reason for row in survey.aside(home.session.home, 5)}
        assert reasons == {
            "bare": "hold: it answers with the question",
            "mail": "hold: it holds an e-mail address",
            "other": "hold: it contradicts fact-1, which is approved",
        }
        assert not any("ann@" in str(entry.plain()) for entry in home.orders("hold", "episode", "outcome"))
        assert home.remembered() == {"fact-1", "fact-2"}
        row = home.session.home.snapshots.find("episode-1")
        assert row.pinned
        assert home.orders("outcome")[0].plain()["candidate"] == {
            "name": "episode-1",
            "step": row.k,
            "digest": row.digest,
        }
        told = survey.episode(home.session.home)
        assert told is not None
        assert (told["number"], told["cause"], told["learned"], told["accumulation"]) == (1, "asked", 2, 1.0)
        assert home.verified()


def test_each_batch_has_its_pace_and_a_replay_has_it_too(tmp_path: Path) -> None:
    with Home(tmp_path) as home:
        home.tell(*FACTS)
        home.run()
        takes = [entry.plain() for entry in home.orders("take")]
        paces = [cosine(number, 3, warm=FEW.warm, floor=FEW.floor) for number in range(3)]
        assert [take["pace"] for take in takes] == paces
        assert [step.lr for step in home.steps() if step.rows] == [0.01 * pace for pace in paces]
        whole = home.session.learner.digest()
    with Home(tmp_path / "by hand") as home:
        home.tell(*FACTS)
        for take in takes:
            home.session.home.journal.command("take", take, after=0)
        home.session.run()
        assert home.session.learner.digest() == whole


def test_a_pace_is_a_share_of_each_update() -> None:
    rows = stack([language.rows()[0]])
    moved = []
    for pace in (1.0, 0.25):
        made = Learner(language.model(), CONFIG, method="er")
        before = {name: leaf.clone() for name, leaf in made.save_state()["model"].items()}
        made.learn_batch(rows, pace=pace)
        after = made.save_state()["model"]
        moved.append(sum(float((after[name] - leaf).norm()) for name, leaf in before.items()))
        assert made.optimizer.learning_rate == CONFIG.learning_rate
    assert moved[1] == pytest.approx(0.25 * moved[0], rel=1e-3)


def test_a_stream_without_end_rises_to_its_rate_and_stays() -> None:
    config = OnlineLearnerConfig(learning_rate=0.1, hidden=(), classes=("a", "b"))
    made, lone = (Learner(config=config.but({"warmup": over}), method="naive") for over in (4, 0))
    for learner in (made, lone):
        learner.learn_one(OnlineExample(input=[1.0, 2.0], target="a"))
    state = [learner.save_state()["model"]["head.bias"] for learner in (made, lone)]
    assert state[0].tolist() == pytest.approx((0.25 * state[1]).tolist())


def test_an_episode_that_was_killed_is_finished_as_if_it_never_was(tmp_path: Path) -> None:
    class Killed(RuntimeError):
        pass

    def dies(after: int) -> Any:
        seen = []

        def clock() -> float:
            seen.append(1)
            if len(seen) > after:
                raise Killed
            return 0.0

        return clock

    with Home(tmp_path / "whole", method="ewc") as home:
        for facts in (FACTS[:1], FACTS[1:]):
            home.tell(*facts)
            home.run()
        whole, k, count = home.session.learner.digest(), home.session.k, len(home.orders("take"))
    for after in (4, 9, 13, 16):
        path = tmp_path / f"killed-{after}"
        home = Home(path, method="ewc")
        home.tell(*FACTS[:1])
        home.run()
        home.tell(*FACTS[1:])
        home.episodes._clock = dies(after)
        with pytest.raises(Killed):
            home.run()
        home.session.home.close()
        with Home(path, method="ewc") as home:
            again = home.run()
            assert again.number == 2
            assert (again.learned, again.waiting) == (2, 0)
            assert len(home.orders("take")) == count
            assert (home.session.learner.digest(), home.session.k) == (whole, k)
            assert home.verified()


def test_its_bound_in_time_ends_it_between_two_steps_and_the_rest_waits(tmp_path: Path) -> None:
    ticks = iter([0.0] * 14 + [100.0] * 100)
    with Home(tmp_path, clock=lambda: next(ticks), config=EpisodeConfig(seconds=50.0, again=0)) as home:
        home.tell(*FACTS)
        report = home.run()
        assert report.stopped == "its bound of 50 s is reached"
        assert 0 < report.learned < 3
        assert report.waiting == 3 - report.learned
        assert survey.rows(home.session.home).queued == report.waiting
        assert home.orders("outcome")[0].plain()["stopped"] == report.stopped
        ticks = iter([0.0] * 1000)
        report = home.run()
        assert (report.number, report.waiting, report.stopped) == (2, 0, "")
        assert home.session.learner.stats.examples == 3
        assert home.verified()


def test_its_bound_in_memory_ends_it_too(tmp_path: Path) -> None:
    with Home(tmp_path, config=EpisodeConfig(memory_bytes=0)) as home:
        home.tell(*FACTS)
        report = home.run()
        assert report.stopped == "its bound of 0 GB of memory is reached"
        assert (report.learned, report.waiting) == (0, 3)
        assert home.session.learner.stats.examples == 0


def test_rows_beyond_its_most_wait(tmp_path: Path) -> None:
    with Home(tmp_path, config=EpisodeConfig(rows=2, again=0)) as home:
        home.tell(*FACTS)
        assert (home.run().learned, home.run().learned) == (2, 1)
        report = home.run()
        assert (report.number, report.stopped) == (0, "there is nothing to learn")
        assert [stage.name for stage in report.stages] == EIGHT[:2]
        assert len(home.orders("episode")) == 2


def test_what_it_forgot_raises_protection_and_replay_and_they_sink_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoken, "SENTENCES", SENTENCES[:4])
    monkeypatch.setattr(spoken, "ANCHORS", 2)
    with Home(tmp_path, method="anchored", changes={"learning_rate": 0.05, "passes": 6}) as home:
        strengths = []
        for number, facts in enumerate((FACTS[:1], FACTS[1:2], FACTS[2:])):
            home.tell(*facts)
            if number == 2:
                home.episodes._feedback = type(home.episodes._feedback)(tolerated=1.0)
            report = home.run()
            config = home.session.learner.config
            strengths.append((config.protection, config.replay_ratio, report.forgetting))
        assert strengths[0][:2] == (1.0, 0.5)
        assert strengths[0][2] is not None
        assert strengths[0][2] > 0.05
        assert strengths[1][:2] == (2.0, 0.7)
        after = home.orders("outcome")[2].plain()["next"]
        assert 1.0 < after["protection"] < strengths[2][0] <= 8.0
        assert 0.5 < after["replay_ratio"] < strengths[2][1] <= 0.9
        changes = [entry.plain() for entry in home.orders("config")]
        assert changes[0] == {"replay_ratio": 0.7, "protection": 2.0}


def test_an_approved_answer_that_was_lost_is_learned_again_under_an_id_of_its_own(tmp_path: Path) -> None:
    with Home(tmp_path, config=EpisodeConfig(asked=8)) as home:
        home.tell(FACTS[0])
        assert home.run().after.accumulation == 0.0
        home.session.way.configure({"passes": 40})
        report = home.run()
        assert report.before.accumulation == 0.0
        assert (report.learned, report.after.accumulation) == (1, 1.0)
        assert home.remembered() == {"fact-0#2"}
        assert home.verified()
        gone = home.session.home.journal.descendants([1])
        assert [entry.id for entry in home.session.home.journal.fetch(gone)] == ["fact-0", "fact-0#2"]


MOVED = DriftReport(
    detector="ddm", statistic=1, threshold=0, p_value=None, window=(0, 1), reason="it moved", rises=True
)
TOLD: list[tuple[str, ConsolidationScheduler, Any]] = [
    ("correction", ConsolidationScheduler(corrections=1), lambda home: home.episodes.corrected(1, 0.0)),
    (
        "inferences",
        ConsolidationScheduler(inferences=3),
        lambda home: [home.episodes.answered("Who?", "I.") for _ in range(3)],
    ),
    ("verifier", ConsolidationScheduler(flags=1), lambda home: home.episodes.answered("Who?", "wrong")),
    ("idle", ConsolidationScheduler(idle=0.5), lambda home: home.episodes.due(0.0)),
    ("drift", ConsolidationScheduler(drifts=1), lambda home: home.session.way.found([MOVED])),
]


@pytest.mark.parametrize(("cause", "when", "happen"), TOLD, ids=[told[0] for told in TOLD])
def test_each_trigger_is_an_entry_with_its_reason(
    tmp_path: Path, cause: str, when: ConsolidationScheduler, happen: Any
) -> None:
    def doubts(question: str, answer: str) -> Flag | None:
        return Flag(reason="it is wrong") if answer == "wrong" else None

    with Home(tmp_path, when=when, verifier=doubts) as home:
        home.tell(FACTS[0])
        assert home.episodes.run(0.0) is None
        happen(home)
        report = home.run(None)
        assert report.cause == cause
        entry = home.orders("episode")[0].plain()
        assert (entry["cause"], entry["found"]) == (cause, report.found)
        assert [s.verdict for s in home.steps() if s.verdict.startswith("episode")] == [f"episode 1: {cause}"]
        assert home.episodes.run(2.0) is None


def test_what_was_counted_outlives_the_process(tmp_path: Path) -> None:
    with Home(tmp_path, when=ConsolidationScheduler(inferences=2)) as home:
        home.tell(FACTS[0])
        home.episodes.answered("Who?", "I.")
    with Home(tmp_path, when=ConsolidationScheduler(inferences=2)) as home:
        assert home.episodes.due(5.0) is None
        home.episodes.answered("Who?", "I.")
        assert home.episodes.due(6.0) == Reason(cause="inferences", found="2 questions were answered")


def test_the_verifier_knows_what_is_approved_and_what_is_not_repeated(tmp_path: Path) -> None:
    with Home(tmp_path) as home:
        home.tell(FACTS[1])
        home.session.run()
        asks = Consistency(home.session, confident=0.0, agreeing=1.0, samples=2, most=4)
        assert asks(f"{FACTS[1][1]}?", "RUSTO.") is None
        assert asks("is called The dog of king Pell", "Rusto") is None
        found = asks(FACTS[1][1], "Bello")
        assert found == Flag(reason="fact-1 is approved and says otherwise", id="fact-1")
        doubt = asks("Tom went to the", "zebra zebra")
        assert doubt is not None
        assert doubt.id is None
        assert "was given by 0% of draws" in doubt.reason
        assert Consistency(home.session, confident=1.0)("Tom went to the", "zebra") is None
        assert Consistency(home.session, samples=0)("Tom went to the", "zebra") is None
        assert asks("Tom " * 100, "far too long") is None


def test_only_language_has_episodes(tmp_path: Path) -> None:
    with Session(tmp_path) as session, pytest.raises(ConfigError, match="learns language"):
        Episodes(session)
