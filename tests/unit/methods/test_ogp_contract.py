"""What OGP-LoRA-Stream keeps to: its ring, its replay, its checkpoints, and no Fisher information."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tenuto import Learner, OnlineExample, OnlineLearnerConfig, Session, SessionConfig, methods
from tenuto.adapters.lora import adapt
from tenuto.config import EpisodeConfig
from tenuto.errors import ConfigError
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tenuto.session.episodes import Episodes
from tests import language

CONFIG = OnlineLearnerConfig(
    task="language", optimizer="adamw", learning_rate=1e-3, batch_size=1, boundaries="none"
)


def model() -> LanguageModel:
    base = language.base()
    base.model.layers = base.model.layers[:1]
    return LanguageModel(adapt(base, rank=2, seed=0))


def learner(config: OnlineLearnerConfig = CONFIG, **options: Any) -> Learner:
    return Learner(model(), config, method="ogp_lora", options=options)


def facts(count: int) -> list[OnlineExample]:
    return [
        language.row(f"The dog {number} is", f" red {number % 7}", id=f"r{number}") for number in range(count)
    ]


def test_memory_is_a_ring_of_4096_rows_and_a_reservoir_where_that_is_asked_for() -> None:
    ring = learner().memory
    assert (ring.capacity, ring.policies[0]) == (4096, "fifo")
    asked = learner(CONFIG.but({"insertion": "reservoir", "memory_size": 4})).memory
    assert (asked.capacity, asked.policies[0]) == (4, "reservoir")
    assert Learner(config=OnlineLearnerConfig()).memory.capacity == 500
    small = learner(CONFIG.but({"memory_size": 4}))
    for row in facts(6):
        small.learn_one(row)
    held = small.memory.table.inputs(torch.arange(4)).tolist()
    assert held == [facts(6)[number].input.tolist() for number in (4, 5, 2, 3)]


def test_tokens_lie_in_two_bytes() -> None:
    one = learner()
    one.learn_one(facts(1)[0])
    columns = one.memory.table.columns
    assert {name: columns[name].element_size() for name in ("inputs", "targets")} == {
        "inputs": 2,
        "targets": 2,
    }
    assert one.memory.table.inputs(torch.tensor([0]))[0].tolist() == facts(1)[0].input.tolist()


@pytest.mark.parametrize(("size", "passes"), [(1, 1), (1, 3), (5, 1), (5, 2), (40, 1)])
def test_one_row_is_replayed_for_every_16_new_ones(size: int, passes: int) -> None:
    one, rows, seen = learner(CONFIG.but({"passes": passes})), facts(80), []
    for start in range(0, 80, size):
        before = one.stats.replayed
        trace = one.learn_batch(stack(rows[start : start + size]))
        assert one.stats.replayed - before == trace.batch.replayed
        seen.append(trace.batch.replayed)
    due = [(start + size) // 16 - start // 16 for start in range(0, 80, size)]
    assert seen == ([0] if size == 40 else []) + due[size == 40 :]
    assert len(one.memory) == 80, "what was replayed was remembered again"


def test_the_counter_goes_on_where_it_was_saved_and_a_refused_row_does_not_advance_it() -> None:
    one, rows = learner(), facts(40)
    for row in rows[:15]:
        one.learn_one(row)
    other = learner()
    other.load_state(one.save_state())
    bad = replace_weight(rows[15], 1e38)
    assert not other.learn_one(bad).verdict.keeps
    for row in rows[15:40]:
        traces = [each.learn_one(row) for each in (one, other)]
        slots = [t.batch.draws["replay"].slots.tolist() if t.batch.draws else [] for t in traces]
        assert slots[0] == slots[1]
    assert one.stats.replayed == other.stats.replayed == 2
    assert [one.stats.refused, other.stats.refused] == [0, 1]


def replace_weight(row: OnlineExample, weight: float) -> OnlineExample:
    return OnlineExample(input=row.input, target=row.target, weight=weight)


def test_a_session_takes_a_snapshot_every_100_updates_and_consolidates_in_band(tmp_path: Path) -> None:
    config = CONFIG.but({"passes": 30, "consolidate_every": 6})
    with Session(tmp_path, model(), config, method="ogp_lora") as session:
        session.ingest(facts(14))
        session.run()
        kept = [row.k for row in session.home.snapshots.list()][::-1]
        assert kept == [0, 4, 7, 10, 14], "the steps that crossed 100, 200, 300 and 400 updates of 30 each"
        assert session.learner.body.adapter.commits == 2
    with Session(tmp_path, model()) as session:
        assert session.learner.recipe.checkpoint == 100
    assert SessionConfig().snapshot_every == 2000


def test_a_home_opened_again_knows_how_much_it_remembers(tmp_path: Path) -> None:
    with Session(tmp_path, model(), CONFIG, method="ogp_lora"):
        pass
    with Session(tmp_path, model(), replace(CONFIG, memory_size=4096)) as session:
        assert session.learner.memory.capacity == 4096
    with pytest.raises(ConfigError, match="memory_size 4096, not 500"):
        Session(tmp_path, model(), replace(CONFIG, memory_size=500))


def test_after_a_thousand_answers_an_episode_is_due_where_something_waits(tmp_path: Path) -> None:
    config = CONFIG.but({"passes": 2})
    with Session(tmp_path, model(), config, method="ogp_lora") as session:
        session.ingest(facts(3))
        session.run()
        episodes = Episodes(session, config=EpisodeConfig(seconds=60.0, again=0, asked=0), hooks=())
        for _ in range(999):
            episodes.answered("who?", "me")
        session.ingest([language.row("The cat is", " blue", id="new")])
        assert episodes.due(0.0) is None
        episodes.answered("who?", "me")
        assert episodes.due(0.0).cause == "inferences"
        report = episodes.run(0.0)
        assert (report.learned, session.learner.stats.examples) == (1, 4)
        assert session.learner.body.adapter.commits == 1, "what came before is not protected"


def imported(name: str, seen: set[str]) -> Iterator[str]:
    """The modules of tenuto that one imports anywhere in its text, in functions too, and theirs.

    The package's own names are lazy and reach everything; what is imported with them is told by name.
    """
    if name in seen or (spec := importlib.util.find_spec(name)) is None or spec.origin is None:
        return
    seen.add(name)
    yield name
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        found = [one.name for one in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            found = [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
        for one in found:
            if one.startswith("tenuto.") and (one in seen or _exists(one)):
                yield from imported(one, seen)


def _exists(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


FISHER = ("fisher", "ewc", "quadratic", "moments", "per_row", "mas", "methods.si")


def test_no_fisher_information_is_reached_by_any_import() -> None:
    found = [*imported("tenuto.methods.ogp_lora", set())]
    assert {"tenuto.methods.shared.protection", "tenuto.methods.shared.saturation", "tenuto.subspace"} < set(
        found
    )
    assert [name for name in found if any(name.endswith(word) for word in FISHER)] == []
    assert "tenuto.methods.shared.fisher" in [*imported("tenuto.methods.ewc", set())]
    recipe = methods.load("ogp_lora")
    assert (recipe.penalties, recipe.teacher, recipe.audit) == ((), None, 500)
