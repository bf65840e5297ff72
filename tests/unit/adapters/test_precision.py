"""A base held in another precision is the same base; what is learned beside it is held in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tenuto import Session
from tenuto.config import PRECISIONS
from tenuto.errors import ConfigError
from tests import language
from tests.data import folder

FAST = {"learning_rate": 5e-3, "passes": 40}
NARROW = sorted({*PRECISIONS} - {"float32"})


def opened(home: Path, **settings: object) -> Session:
    return Session(home, str(folder("stories260K")), {**FAST, **settings}, method="er")


@pytest.mark.parametrize("precision", NARROW)
def test_a_narrow_base_learns_and_its_home_remembers_the_precision(precision: str, tmp_path: Path) -> None:
    rows = language.rows()
    with opened(tmp_path / "home", precision=precision) as session:
        session.ingest(rows)
        session.flush()
        learner = session.learner
        assert learner.model.base.dtype == getattr(torch, precision)
        saved = learner.save_state()
        held = [*saved["model"].values(), *saved["optimizer"]["mean"].values()]
        assert {one.dtype for one in held} == {torch.float32}
        outputs = learner.outputs(language.inputs(rows[-1]))
        assert learner.task.right(outputs, learner.task.encode([rows[-1].target])) == [True]
        digest = learner.digest()
    with opened(tmp_path / "home") as session:
        assert session.learner.config.precision == precision
        assert session.learner.digest() == digest
    with pytest.raises(ConfigError, match=f"made with precision '{precision}'"):
        opened(tmp_path / "home", precision="float32")


def test_the_base_has_one_digest_in_every_precision(tmp_path: Path) -> None:
    from tenuto.models.bases import load

    assert len({load(folder("stories260K"), dtype=precision).digest for precision in PRECISIONS}) == 1


def test_a_precision_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="precision is 'int8'; it must be one of float32"):
        opened(tmp_path / "home", precision="int8")
    assert not (tmp_path / "home").exists()
