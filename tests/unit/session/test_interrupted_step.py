"""A step that was broken off half-way is never committed, and is made again when the home is opened."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tenuto import OnlineExample, OnlineLearnerConfig, Session
from tenuto.errors import StoreError


class Interrupted(nn.Module):
    """Counts its forward passes in a buffer; once told to, it is interrupted behind the counting."""

    passes: Tensor

    def __init__(self, at: int | None = None) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.register_buffer("passes", torch.zeros(()))
        self.at = at

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
            if self.passes == self.at:
                raise KeyboardInterrupt
        outputs: Tensor = self.head(inputs)
        return outputs


def module(at: int | None = None) -> Interrupted:
    torch.manual_seed(0)
    return Interrupted(at)


ROWS = [OnlineExample(input=[float(i % 2), 1.0], target=i % 2, id=str(i)) for i in range(80)]
CONFIG = OnlineLearnerConfig(batch_size=4)


def whole(path: Path) -> str:
    with Session(path, module(), CONFIG) as session:
        session.ingest(ROWS)
        session.run()
        return session.learner.digest()


def test_an_interrupted_step_is_made_again(tmp_path: Path) -> None:
    with Session(tmp_path / "home", module(at=9), CONFIG) as session:
        session.ingest(ROWS)
        with pytest.raises(KeyboardInterrupt):
            session.run()
        with pytest.raises(StoreError, match="open the home again"):
            session.run()
    with Session(tmp_path / "home", module(), CONFIG) as session:
        session.run()
        assert session.learner.digest() == whole(tmp_path / "other")


def test_a_stop_between_steps_is_committed(tmp_path: Path) -> None:

    with Session(tmp_path / "home", module(), CONFIG) as session:
        session.ingest(ROWS)
        walk = session.walk()
        for _ in range(7):
            next(walk)
        walk.close()
    with Session(tmp_path / "home", module(), CONFIG) as session:
        assert session.k == 7
        session.run()
        assert session.learner.digest() == whole(tmp_path / "other")
