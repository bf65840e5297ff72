"""Beginning from given weights: what is taken, what is refused, and that a home holds them from the start."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tenuto import Batch, Learner, OnlineExample, Session, trees
from tenuto.errors import ConfigError, ExampleError, StateError
from tenuto.session.blueprint import agree
from tests.cli.conftest import document, example, within, write
from tests.contract import checks
from tests.contract.walks import CLASSES, CONFIG, WALK, numbers, questions, rows

STILL = replace(CONFIG, learning_rate=0.0)


def taught(task: str = "classification") -> dict[str, Tensor]:
    """The default model's state, after a walk."""
    learner = Learner(config=replace(CONFIG, task=task, learning_rate=0.02), method="naive")
    for batch in (numbers(WALK) if task == "regression" else WALK)[:4]:
        if batch is not None:
            learner.learn_batch(batch)
    return trees.copy(dict(learner.model.state_dict()))


def headless(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """All but the head's."""
    return {name: tensor for name, tensor in weights.items() if not name.startswith("head.")}


def warm(weights: dict[str, Tensor], method: str, seed: int) -> Learner:
    """A learner that begins from weights."""
    learner = Learner(config=replace(CONFIG, seed=seed), method=method)
    learner.warm_start(weights)
    return learner


@pytest.mark.parametrize("method", ["er", "gdumb", "slda"])
@pytest.mark.parametrize("check", checks.CHECKS.values(), ids=checks.CHECKS)
def test_a_warm_learner_keeps_the_contract(check: checks.Check, method: str) -> None:
    check(partial(warm, headless(taught()), method), WALK)


def test_the_default_model_takes_body_and_head_with_the_first_row() -> None:
    weights = taught()
    learner = Learner(config=STILL, method="naive")
    learner.warm_start(weights)
    learner.learn_batch(rows("ab"))
    for name, parameter in learner.model.named_parameters():
        assert torch.equal(parameter, weights[name]), name
    assert learner.predict(questions()).classes == ("ant", "bee")


def test_without_the_heads_tensors_the_head_is_new() -> None:
    learner, fresh = (Learner(config=STILL, method="naive") for _ in range(2))
    learner.warm_start(headless(taught()))
    for one in (learner, fresh):
        one.learn_batch(rows("abc"))
    assert torch.equal(learner.model.head.weight, fresh.model.head.weight)
    assert not torch.equal(learner.model.body[0].weight, fresh.model.body[0].weight)


def test_a_head_that_grows_takes_the_width_of_the_weights() -> None:
    wide, narrow = nn.Linear(4, 5), nn.Linear(4, 2)
    learner = Learner(narrow, STILL, method="naive")
    learner.warm_start(wide.state_dict())
    learner.learn_batch(rows("abc"))
    assert torch.equal(narrow.weight, wide.weight)
    assert learner.predict(questions()).outputs.shape[1] == 5


def test_a_fixed_head_must_fit() -> None:
    fixed = replace(CONFIG, head="fixed", classes=CLASSES)
    for learner in (Learner(config=fixed), Learner(nn.Linear(4, 5), fixed)):
        before = learner.digest()
        weights = taught() if learner._body is None else nn.Linear(4, 2).state_dict()
        with pytest.raises(ConfigError, match="leave the head's tensors out"):
            learner.warm_start(weights)
        assert learner.digest() == before


def test_regression_takes_the_head_as_it_is() -> None:
    weights = taught("regression")
    learner = Learner(config=replace(STILL, task="regression"), method="naive")
    learner.warm_start(weights)
    batch = numbers(WALK)[0]
    assert batch is not None
    with pytest.raises(ExampleError, match="do not fit the weights"):
        learner.learn_batch(Batch(batch.inputs, batch.targets[:, :1]))
    learner.learn_batch(batch)
    assert torch.equal(learner.model.head.weight, weights["head.weight"])


def test_rows_of_another_length_are_refused_and_the_next_are_learned() -> None:
    learner = warm(taught(), "er", 0)
    before = learner.digest()
    with pytest.raises(ExampleError, match="do not fit the weights"):
        learner.learn_batch(Batch(torch.zeros(2, 3), ["ant", "bee"]))
    assert learner.digest() == before
    assert learner.learn_batch(rows("ab")).verdict.keeps


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body.9.weight": torch.zeros(1)}, "the model has no body.9.weight"),
        ({"body.0.bias": None}, "the weights lack body.0.bias"),
        ({"head.bias": None}, "the weights lack head.bias"),
        ({"body.0.bias": torch.zeros(9)}, r"body.0.bias is of shape \(9,\), the model's \(8,\)"),
        ({"head.bias": torch.zeros(7)}, "leave the head's tensors out"),
        ({"head.weight": torch.zeros(2, 9)}, "leave the head's tensors out"),
        ({"body.0.bias": torch.full((8,), torch.nan)}, "body.0.bias holds NaN"),
    ],
)
def test_odd_weights_are_refused_whole(change: dict[str, Tensor | None], message: str) -> None:
    odd = {name: tensor for name, tensor in {**taught(), **change}.items() if tensor is not None}
    given = Learner(config=CONFIG)
    given.learn_batch(rows("ab"))
    for learner in (Learner(config=CONFIG), given):
        before = learner.digest()
        with pytest.raises(ConfigError, match=message):
            learner.warm_start(odd)
        assert learner.digest() == before


def test_after_the_first_row_every_shape_must_fit() -> None:
    weights, learner = taught(), Learner(config=CONFIG)
    learner.learn_batch(rows("ab"))
    learner.warm_start(weights)
    assert torch.equal(learner.model.head.weight, weights["head.weight"])
    learner.learn_batch(rows("abc"))
    before = learner.digest()
    with pytest.raises(ConfigError, match=r"head\.weight is of shape"):
        learner.warm_start(weights)
    assert learner.digest() == before


def test_the_initial_weights_of_a_restart_are_the_given_ones() -> None:
    layer = nn.Linear(4, 5)
    config = replace(CONFIG, head="fixed", classes=CLASSES, learning_rate=0.0)
    learner = Learner(nn.Linear(4, 5), config, method="gdumb")
    learner.warm_start(layer.state_dict())
    learner.learn_batch(rows("abc"))
    learner.consolidate()
    assert torch.equal(learner.model.weight, layer.weight)


def test_a_file_is_read_and_another_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "body.safetensors"
    save_file(headless(taught()), file)
    one, other = Learner(config=CONFIG), warm(headless(taught()), "er", 0)
    one.warm_start(file)
    assert one.digest() == other.digest() != Learner(config=CONFIG).digest()
    (tmp_path / "not").write_text("tensors")
    with pytest.raises(ConfigError, match="is not a safetensors file"):
        one.warm_start(tmp_path / "not")
    with pytest.raises(StateError):
        one.load_state({})


def test_a_home_begins_from_them_and_holds_them(tmp_path: Path) -> None:
    weights = headless(taught())
    stream = [
        OnlineExample(input=row.tolist(), target=label, id=str(i))
        for i, (row, label) in enumerate(zip(rows("abcabc").inputs, rows("abcabc").targets, strict=True))
    ]
    with Session(tmp_path / "home", config=CONFIG, weights=weights) as session:
        session.ingest(stream)
    with Session(tmp_path / "home") as session:
        session.flush()
        digest = session.learner.digest()
        session.forget(id="5")
    straight = warm(weights, "er", 0)
    for start in (0, 3):
        straight.learn_batch(
            Batch(rows("abcabc").inputs[start : start + 3], rows("abcabc").targets[start : start + 3])
        )
    assert straight.digest() == digest
    with Session(tmp_path / "home", weights=weights) as session:
        assert session.learner.stats.examples == 5
    weights["body.0.bias"] += 1
    with pytest.raises(ConfigError, match="was made with weights"):
        Session(tmp_path / "home", weights=weights)


def test_the_command_line_begins_a_home_from_a_file(tmp_path: Path) -> None:
    file, stream = tmp_path / "body.safetensors", write(tmp_path / "rows.jsonl", [*map(example, range(30))])
    save_file(headless(taught()), file)
    how = ["--set", "hidden=[8]", "--learning-rate", 0.0]
    done = within("learn", stream, "--home", tmp_path / "home", "--weights", file, *how, "--json")
    assert done.returncode == 0, done.stderr
    file.unlink()
    again = within("learn", stream, "--home", tmp_path / "home", "--json")
    assert document(again)["digest"] == document(done)["digest"]
    assert within("verify", "--home", tmp_path / "home").returncode == 0
    with Session(tmp_path / "home") as session:
        assert torch.equal(session.learner.model.body[0].weight, taught()["body.0.weight"])
    plain = tmp_path / "plain"
    assert within("learn", stream, "--home", plain, *how).returncode == 0
    save_file(headless(taught()), file)
    refused = within("learn", stream, "--home", plain, "--weights", file)
    assert refused.returncode == 1
    assert "was made with weights None" in refused.stderr
    odd = within("learn", stream, "--home", tmp_path / "odd", "--weights", file)
    assert odd.returncode == 1
    assert "shape" in odd.stderr or "lack" in odd.stderr
    assert not (tmp_path / "odd").exists()


def test_a_home_left_before_it_began_asks_for_its_weights(tmp_path: Path) -> None:
    weights = headless(taught())
    home, _ = agree(tmp_path / "home", None, CONFIG, None, None, None, weights)
    home.close()
    with pytest.raises(ConfigError, match="give its weights again"):
        Session(tmp_path / "home")
    with Session(tmp_path / "home", weights=weights) as session:
        assert session.learner.digest() == warm(weights, "er", 0).digest()
