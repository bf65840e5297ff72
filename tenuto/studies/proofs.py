"""Claims put to the test on real processes: killed and resumed, and forgotten, to the last bit.

The killed learner is the `tenuto learn` command in a process of its own. SIGKILL reaches it at a moment
that nothing in it knows of; it is then run again, and must end at the digest of a run that nobody
disturbed.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tenuto.config import OnlineLearnerConfig
from tenuto.errors import StoreError
from tenuto.evaluation import Proof
from tenuto.session import Session
from tenuto.store import survey
from tenuto.store.home import Home
from tenuto.streams import open_stream
from tenuto.studies.contexts import Contexts

Tell = Callable[[int, int, str], None]

SMALL = {"ingest_rows": 16, "commit_every": 7}
"""How the killed home is kept: many small commits, so that there is much to interrupt."""
ATTEMPTS = 5
PATIENCE = 60.0
"""Seconds that a child process may take to begin, or to end."""
POLL = 0.002


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Subject:
    """What is put to the test.

    Args:
        contexts: the stream.
        method, options, config: how it is learned.
        digest: where an uninterrupted run ended.
    """

    contexts: Contexts
    method: str
    options: Mapping[str, float]
    config: OnlineLearnerConfig
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Killed:
    """What was there when a learner was killed: its process, rows acknowledged, steps committed."""

    process: int
    rows: int
    steps: int


def resumed(folder: Path, subject: Subject, tell: Tell) -> tuple[Path, Proof]:
    """Kill a learner in the middle, resume it, compare; the home and the proof."""
    rows = len(subject.contexts.labels)
    path = subject.contexts.write(folder / "killed.jsonl")
    for attempt in range(ATTEMPTS):
        home = folder / f"killed-{attempt}"
        tell(0, rows, "starting a learner in a process of its own")
        killed = _kill(_command(path, home, subject), home, rows, tell)
        if killed is not None:
            break
    else:
        raise StoreError(f"the learner ended {ATTEMPTS} times before it could be killed; run the demo again")
    tell(killed.rows, rows, f"killed process {killed.process} at row {killed.rows:,}; resuming")
    again = subprocess.run(
        _command(path, home, subject), capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    told = json.loads(again.stdout)
    with Home.view(home) as view:
        learned = survey.rows(view).learned
    holds = told.get("digest") == subject.digest and learned == rows
    tell(rows, rows, "resumed, to the same digest" if holds else "resumed, to ANOTHER digest")
    return home, Proof(
        title="Killed in the middle and resumed, the model is the same to the last bit",
        holds=holds,
        evidence=f"uninterrupted  {subject.digest}\n"
        f"killed         process {killed.process} by SIGKILL, {killed.rows:,} of {rows:,} rows acknowledged, "
        f"{killed.steps:,} steps committed\n"
        f"resumed        {told.get('digest')}\n"
        f"               {learned:,} of {rows:,} rows learned, each once",
    )


def forgotten(folder: Path, home: Path, subject: Subject, tell: Tell) -> Proof:
    """Forget a row in the middle of a learned home, and compare with a run that never saw it."""
    ids = subject.contexts.ids
    id = ids[len(ids) // 3]
    tell(0, 2, f"forgetting {id}")
    with Session(home) as session:
        done = session.forget(id=id)
    tell(1, 2, "learning again without it")
    path = subject.contexts.write(folder / "never-saw.jsonl", without=id)
    config, method, options = subject.config, subject.method, subject.options
    with Session(folder / "never-saw", config=config, method=method, options=options) as session:
        session.learn(open_stream(path))
        never = session.learner.digest()
    holds = done.digest == never != subject.digest
    tell(
        2,
        2,
        "forgotten, to the digest of a run that never saw it" if holds else "forgotten, to ANOTHER digest",
    )
    return Proof(
        title="A row that was forgotten was never learned",
        holds=holds,
        evidence=f"before      {subject.digest}\nforgot      {done.digest}  ({id})\nnever saw   {never}",
    )


def _command(path: Path, home: Path, subject: Subject) -> list[str]:
    """The command that learns the stream as `subject` says."""
    given = subject.config.to_plain() | SMALL
    default = OnlineLearnerConfig().to_plain()
    pairs = [
        f"--set={name}={json.dumps(value)}" for name, value in given.items() if value != default.get(name)
    ]
    learn = [sys.executable, "-m", "tenuto", "learn", str(path), "--home", str(home), "--json"]
    options = [f"--option={name}={value}" for name, value in subject.options.items()]
    return [*learn, "--method", subject.method, *options, *pairs]


def _kill(command: list[str], home: Path, rows: int, tell: Tell) -> Killed | None:
    """Start a learner and kill it somewhere in the middle; None where it ended too early."""
    chance = random.SystemRandom()
    target = chance.randint(rows // 5, rows * 3 // 5)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as child:
        try:
            _await(child, home, target, rows, tell)
            time.sleep(chance.random() * 0.02)
        finally:
            child.kill()
        _, fault = child.communicate(timeout=PATIENCE)
    if child.returncode > 0:
        raise StoreError(f"the learner failed: {fault.decode(errors='replace').strip()}")
    with Home.view(home) as view:
        left = Killed(process=child.pid, rows=view.journal.last_seq, steps=view.ledger.head.k)
    return left if child.returncode == -signal.SIGKILL and left.rows < rows else None


def _await(child: subprocess.Popen[bytes], home: Path, target: int, rows: int, tell: Tell) -> None:
    """Wait until `target` rows are acknowledged, or the child has ended."""
    until = time.monotonic() + PATIENCE
    while child.poll() is None and (seen := _acknowledged(home)) < target:
        if time.monotonic() > until:
            raise StoreError(f"the learner did not begin within {PATIENCE:g} s; run the demo again")
        tell(seen, rows, f"process {child.pid} learns")
        time.sleep(POLL)


def _acknowledged(home: Path) -> int:
    """Rows acknowledged so far; 0 while there is no home yet."""
    with suppress(StoreError), Home.view(home) as view:
        return view.journal.last_seq
    return 0
