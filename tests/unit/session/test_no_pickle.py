"""No pickle is ever read: an audit hook listens while a home is made, resumed and forgotten from."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

STORY = """
import sys

heard = []
import torch, numpy, tenuto.session
from tenuto import OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.session import recovery

sys.addaudithook(lambda event, args: heard.append((event, args)) if event.startswith("pickle.") else None)
home, config = sys.argv[1], OnlineLearnerConfig(hidden=(4,), memory_size=8, batch_size=4)
settings = SessionConfig(commit_every=2, snapshot_every=3)
for part in range(2):
    with Session(home, config=config, settings=settings) as session:
        rows = [OnlineExample(input=[float(i % 3), 1.0], target=i % 2, id=f"{part}-{i}") for i in range(20)]
        session.ingest(rows)
        session.flush()
        assert recovery.verify(session.home, session._make).holds
with Session(home) as session:
    session.forget(id="0-3")
assert not heard, heard
import pickle
pickle.loads(pickle.dumps(recovery.Verified))
assert heard, "the hook must hear a pickle, or it proves nothing"
"""


def test_no_pickle_is_read(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORY, str(tmp_path / "home")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
