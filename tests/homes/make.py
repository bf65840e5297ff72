"""Make the fixture of the present format: a home as this release leaves it, in `format-<n>.zip`.

    python -m tests.homes.make

Run once per format version, by the release that introduces it; a fixture that is there is never
overwritten, for the point of it is that an older release wrote it.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np

from tenuto import OnlineExample, OnlineLearnerConfig, Session, SessionConfig
from tenuto.store.format import FORMAT

HERE = Path(__file__).parent


def rows(start: int, stop: int) -> list[OnlineExample]:
    """Rows of two numbers, labelled by the sign of the first."""
    inputs = np.random.default_rng(3).normal(size=(stop, 2)).astype(np.float32).round(3)
    labels = ["above" if x > 0 else "below" for x in inputs[:, 0]]
    return [
        OnlineExample(input=inputs[i], target=labels[i], id=f"r{i}", source="fixture", domain=f"d{i // 20}")
        for i in range(start, stop)
    ]


def make(home: Path) -> dict[str, object]:
    """A home with snapshots, a named one, a row set aside and a row forgotten; what must be found in it."""
    config = OnlineLearnerConfig(hidden=(4,), memory_size=8, learning_rate=0.1)
    with Session(
        home, config=config, method="derpp", settings=SessionConfig(snapshot_every=2, strict=False)
    ) as session:
        session.ingest(rows(0, 20))
        session.run()
        session.snapshot("good")
        session.ingest([*rows(20, 45), OnlineExample(input=[1.0, 2.0, 3.0], target="above", id="wide")])
        session.run()
        session.forget(id="r25")
        session.consolidate()
        answers = session.predict([[-1.0, 0.0], [1.0, 0.0]])
        return {
            "step": session.k,
            "digest": session.learner.digest(),
            "labels": answers.labels,
            "examples": session.learner.stats.examples,
            "snapshots": [row.k for row in session.home.snapshots.list()],
        }


def main() -> None:
    """Write the home and what must be found in it."""
    packed = HERE / f"format-{FORMAT}.zip"
    if packed.exists():
        raise SystemExit(f"{packed.name} is there already; raise the format first")
    folder = Path(tempfile.mkdtemp())
    try:
        found = make(folder / "home")
        shutil.make_archive(str(packed.with_suffix("")), "zip", folder, "home")
    finally:
        shutil.rmtree(folder)
    packed.with_name(f"format-{FORMAT}.json").write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
