"""Learning memory from scratch: what a consolidation leaves depends on memory and the seed alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tenuto import Batch, Learner, Recipe, trees
from tenuto.memory import ReplayBuffer
from tenuto.randomness import permutation
from tests.contract.walks import CLASSES, CONFIG, OPTIMIZERS, rows

STREAM = [rows("ab" * 5, seed=1), rows("ba" * 5, seed=2), rows("cd" * 5, seed=3)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gdumb_is_a_new_learner_taught_the_rows_of_memory(optimizer: str) -> None:
    changes, factory = OPTIMIZERS[optimizer]
    config = replace(CONFIG, head="fixed", classes=CLASSES, **changes)
    learner = Learner(config=config, method="gdumb", options={"epochs": 3}, optimizer=factory)
    for batch in STREAM:
        learner.learn_batch(batch)
    report = learner.consolidate()
    assert learner.memory is not None
    held = learner.memory.table.get(torch.arange(len(learner.memory)))

    taught = Learner(config=config, method="naive", optimizer=factory)
    for epoch in range(3):
        order = torch.from_numpy(permutation(config.seed, f"rehearse:0:{epoch}", 12))
        for slots in order.tensor_split(2):
            labels = [CLASSES[code] for code in held["targets"][slots].tolist()]
            taught.learn_batch(Batch(held["inputs"][slots], labels))
    assert trees.digest(learner.body.state()) == trees.digest(taught.body.state())
    assert trees.digest(learner.optimizer.state()) == trees.digest(taught.optimizer.state())
    assert report.updates == taught.steps == 6
    assert learner.stats.replayed == 36


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_between_consolidations_gdumb_moves_nothing(optimizer: str) -> None:
    changes, factory = OPTIMIZERS[optimizer]
    config = replace(CONFIG, **changes)
    learner = Learner(config=config, method="gdumb", optimizer=factory)
    learner.learn_batch(rows("abcd", seed=0))
    learner.consolidate()
    before = trees.digest(dict(learner.body.params))
    for seed in range(5):
        trace = learner.learn_batch(rows("abcd", seed=seed))
        assert trace.loss > 0
    assert trees.digest(dict(learner.body.params)) == before


def test_a_restart_keeps_the_columns_and_forgets_their_weights() -> None:
    config = replace(CONFIG, learning_rate=0.5, momentum=0.9)
    learner = Learner(config=config, method=Recipe(name="again", remembers=True, restart=True))
    learner.learn_batch(STREAM[0])
    learner.learn_batch(STREAM[2])
    learner.consolidate()
    still = Learner(config=replace(config, learning_rate=0.0), method="naive")
    still.learn_batch(STREAM[0])
    still.learn_batch(STREAM[2])
    assert learner.predict(STREAM[0].inputs).classes == ("ant", "bee", "cow", "doe")
    for name, parameter in still.body.params.items():
        assert torch.equal(parameter, learner.body.params[name]), name
    assert learner.save_state()["optimizer"]["velocity"] == {}
    learner.learn_batch(rows("aebcd"))
    assert learner.predict(STREAM[0].inputs).classes == (*CLASSES[:4], "eel")


def test_the_greedy_sampler_keeps_who_came_first_in_equal_shares() -> None:
    memory = ReplayBuffer(capacity=10, insertion="greedy", seed=3)
    for start, group in ((0, 0), (100, 1), (200, 0), (300, 2)):
        numbers = torch.arange(start, start + 100.0)
        codes = torch.full((100,), group)
        memory.add(codes, {"inputs": numbers[:, None], "targets": codes})
    assert memory.groups() == {0: 3, 1: 3, 2: 4}
    held = memory.table.get(torch.arange(10))
    first = {0: 0, 1: 100, 2: 300}
    for number, group in zip(held["inputs"].flatten().tolist(), held["targets"].tolist(), strict=True):
        assert first[group] <= number < first[group] + 10, "a row that came late was taken"
