"""A base held in another precision is the same base; what is learned beside it is held in float32."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tenuto import Batch, Learner, Session
from tenuto.adapters.lora import adapt
from tenuto.config import PRECISIONS
from tenuto.errors import ConfigError
from tenuto.methods.shared import scaling
from tenuto.methods.shared.estimators import plain
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tenuto.tasks import Language
from tests import language
from tests.data import folder
from tests.unit.adapters.test_language import CONFIG

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


def half(scale: float, method: str = "er") -> Learner:
    """A learner on a base in float16 under this scale."""
    base = language.base().to(torch.float16)
    model = LanguageModel(adapt(base))
    model.loss_scale.copy_(torch.tensor([scale, 0.0]))  # type: ignore[operator]
    return Learner(model, CONFIG, method=method)


def faint(weight: float) -> Batch:
    rows = stack(language.rows())
    return Batch(rows.inputs.long(), Language().encode(rows.targets), torch.full((3,), weight))


def gradient(learner: Learner, weight: float) -> torch.Tensor:
    learner.learn_batch(stack(language.rows()[:1]))
    found = plain(learner._objective, learner.body.params, faint(weight)).grads
    return torch.cat([one.flatten() for one in found.values()]) / weight


def test_a_scale_carries_small_gradients_through_a_half_precision_base() -> None:
    learned = [gradient(half(scale), 1e-5) for scale in (2.0**16, 1.0)]
    whole = gradient(half(1.0), 1.0)
    errors = [float((one - whole).norm() / whole.norm()) for one in learned]
    assert errors[0] < 0.02
    assert errors[1] > 0.2


def test_what_overflows_is_found_anew_at_half_the_scale_in_the_same_step() -> None:
    wild, tame = half(2.0**40), half(2.0**4)
    row = stack(language.rows()[:1])
    assert wild.learn_batch(row).verdict.keeps
    scale = wild.model.loss_scale
    assert 2.0**4 < float(scale[0]) < 2.0**40  # type: ignore[index]
    assert float(scale[1]) == 0.0  # type: ignore[index]
    assert tame.learn_batch(row).verdict.keeps
    assert tame.model.loss_scale.tolist() == [2.0**4, 1.0]  # type: ignore[operator]
    again = half(1.0)
    again.load_state(wild.save_state())
    assert again.digest() == wild.digest()
    before = wild.digest()
    too_much = Batch(row.inputs, row.targets, torch.full((1,), 3e38))
    refused = Batch(torch.cat([too_much.inputs] * 9), [*row.targets] * 9, torch.full((9,), 3e38))
    assert not wild.learn_batch(refused).verdict.keeps
    assert wild.model.loss_scale.tolist() == again.model.loss_scale.tolist()  # type: ignore[operator]
    assert before != wild.digest()  # the count of refused rows alone


def test_the_scale_grows_after_steps_without_an_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scaling, "PATIENCE", 3)
    learner = half(4.0, "naive")
    found = []
    for _ in range(4):
        learner.learn_one(language.rows()[0])
        found.append(learner.model.loss_scale.tolist())  # type: ignore[operator]
    assert found == [[4.0, 1.0], [4.0, 2.0], [8.0, 0.0], [8.0, 1.0]]
