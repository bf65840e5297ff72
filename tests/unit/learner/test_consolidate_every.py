"""Consolidations by count: where they would be by hand, and at the same rows after a kill or a forgetting."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tenuto import Batch, Learner, OnlineExample, OnlineLearnerConfig, Session, SessionConfig, open_stream
from tenuto.errors import ConfigError, StoreError
from tenuto.session import recovery
from tenuto.session.blueprint import Blueprint
from tenuto.store.home import Home
from tests.cli.conftest import ENVIRONMENT, TENUTO, document, example, killed, tenuto, write
from tests.contract.checks import resumes_at_every_step
from tests.contract.walks import WALK, maker

METHODS = ["ewc", "lwf", "gdumb"]
CONFIG: dict[str, Any] = {"hidden": [8], "memory_size": 30, "batch_size": 5, "learning_rate": 0.05}
OFTEN = SessionConfig(commit_every=4, snapshot_every=10)


def rows(count: int) -> list[OnlineExample]:
    inputs = np.random.default_rng(3).normal(size=(count, 4)).astype(np.float32)
    return [OnlineExample(input=x, target=int(x[0] > 0), id=f"r{i}") for i, x in enumerate(inputs)]


@pytest.mark.parametrize("method", METHODS)
def test_it_is_what_consolidating_by_hand_is(method: str) -> None:
    every, batches = 17, [rows(60)[start : start + 5] for start in range(0, 60, 5)]
    by_itself = Learner(config=OnlineLearnerConfig.of({**CONFIG, "consolidate_every": every}), method=method)
    by_hand = Learner(config=OnlineLearnerConfig.of(CONFIG), method=method)
    for number, batch in enumerate(batches, start=1):
        joined = Batch(np.stack([row.input for row in batch]), [row.target for row in batch])  # type: ignore[arg-type]
        by_itself.learn_batch(joined)
        by_hand.learn_batch(joined)
        if number in (4, 7, 11):
            by_hand.consolidate()
        assert by_itself.digest() == by_hand.digest(), f"batch {number}"
    assert by_itself.stats.consolidations == 60 // every


@pytest.mark.parametrize("method", METHODS)
def test_it_resumes_at_every_step(method: str) -> None:
    resumes_at_every_step(maker(method, consolidate_every=7), WALK)


def test_forgetting_leaves_a_run_that_never_saw_the_row(tmp_path: Path) -> None:
    made = rows(103)
    digests = []
    for name, given in {"saw": made, "never": [row for row in made if row.id != "r41"]}.items():
        config = {**CONFIG, "consolidate_every": 20}
        with Session(tmp_path / name, config=config, method="ewc", settings=OFTEN) as session:
            session.ingest(given)
            session.flush()
            if name == "saw":
                before = session.learner.digest()
                session.forget(id="r41")
                assert session.learner.digest() != before
            assert session.learner.stats.consolidations == 5
            digests.append(session.learner.digest())
    assert digests[0] == digests[1]


def test_killed_it_consolidates_at_the_same_rows(tmp_path: Path) -> None:
    stream = write(tmp_path / "rows.jsonl", [example(n) for n in range(1200)])
    config = {"hidden": [8], "memory_size": 50, "batch_size": 4, "consolidate_every": 90}
    with Session(tmp_path / "whole", config=config, method="lwf") as session:
        session.learn(open_stream(stream))
        whole = session.learner.digest()
        assert session.learner.stats.consolidations == 1200 // 90
    home = tmp_path / "home"
    learn = (
        *("learn", "-", "--home", home, "--method", "lwf", "--json", "--consolidate-every", "90"),
        *("--set", "hidden=[8]", "--memory-size", "50", "--batch-size", "4"),
        *("--set", "ingest_rows=20", "--set", "commit_every=7", "--set", "snapshot_every=60"),
    )
    lines, pipe = stream.read_text(), subprocess.PIPE
    command = [*TENUTO, *map(str, learn)]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT) as child:
        assert child.stdin is not None
        child.stdin.write("".join(lines.splitlines(keepends=True)[:900]))
        child.stdin.flush()
        killed(child, lambda: learned(home) >= 500)
    assert learned(home) <= 900
    assert document(tenuto(*learn, stdin=lines))["digest"] == whole
    with Home.view(home) as view:
        assert recovery.verify(view, Blueprint.of(view.config).maker(None)).holds


def learned(home: Path) -> int:
    with suppress(StoreError), Home.view(home) as view:
        return 4 * view.ledger.head.k
    return 0


def test_the_count_is_the_homes_for_life(tmp_path: Path) -> None:
    with Session(tmp_path, config={**CONFIG, "consolidate_every": 20}) as session:
        session.ingest(rows(30))
        session.run()
    with pytest.raises(ConfigError, match="consolidate_every"):
        Session(tmp_path, config={"consolidate_every": 30})
