"""Every method in its folder keeps the contract; a new file there is checked with no edit here."""

from __future__ import annotations

import pytest

from tenuto import methods
from tenuto.errors import ConfigError
from tests.contract import checks
from tests.contract.walks import OPTIMIZERS, WALK, Walk, lowrank, maker, normed, numbers, rows

METHODS = methods.known(plain=True)
ON_ADAPTERS = sorted({*methods.known()} - {*METHODS})
LABELLED = [
    pytest.param({"head": "grow"}, id="grow"),
    pytest.param({"head": "fixed"}, id="fixed"),
    pytest.param({"head": "fixed", "model": normed}, id="norm-fixed"),
    pytest.param({"head": "grow", "model": lambda: normed(2), "passes": 2}, id="norm-grow"),
]
WALKS: dict[str, Walk] = {
    "one class": tuple(rows("aa", seed=i) for i in range(6)),
    "one row at a time": tuple(rows(label, seed=i) for i, label in enumerate("abacabade")),
    "fewer rows than a draw": (rows("abcdeabcde"), None, rows("edcbaedcba", seed=1)),
    "nothing before the first consolidation": (rows("ab"), None, None, rows("c"), None, rows("ab", seed=1)),
}


@pytest.mark.parametrize("setting", LABELLED)
@pytest.mark.parametrize("check", checks.CHECKS.values(), ids=checks.CHECKS)
@pytest.mark.parametrize("method", METHODS)
def test_classification(method: str, check: checks.Check, setting: dict[str, object]) -> None:
    check(maker(method, **setting), WALK)


@pytest.mark.parametrize("check", checks.CHECKS.values(), ids=checks.CHECKS)
@pytest.mark.parametrize("method", ON_ADAPTERS)
def test_adapters(method: str, check: checks.Check) -> None:
    check(maker(method, head="fixed", model=lowrank, optimizer="adamw"), WALK)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("method", ON_ADAPTERS)
def test_adapters_under_every_optimizer(method: str, optimizer: str) -> None:
    checks.goes_back_in_time(maker(method, head="fixed", model=lowrank, optimizer=optimizer), WALK)


@pytest.mark.parametrize("method", ON_ADAPTERS)
def test_a_method_that_learns_adapters_refuses_a_model_without(method: str) -> None:
    with pytest.raises(ConfigError, match="give it a model that has some"):
        maker(method)(0)
    with pytest.raises(ConfigError, match="no low-rank adapter"):
        maker(method, head="fixed", model=normed)(0)


@pytest.mark.parametrize("check", checks.CHECKS.values(), ids=checks.CHECKS)
@pytest.mark.parametrize("method", METHODS)
def test_regression(method: str, check: checks.Check) -> None:
    check(maker(method, task="regression", learning_rate=0.01), numbers(WALK))


@pytest.mark.parametrize("optimizer", sorted(set(OPTIMIZERS) - {"sgd"}))
@pytest.mark.parametrize("method", METHODS)
def test_parameters_that_grow_under_every_other_optimizer(method: str, optimizer: str) -> None:
    make = maker(method, optimizer=optimizer)
    checks.resumes_at_every_step(make, WALK)
    checks.goes_back_in_time(make, WALK)
    checks.a_refused_update_changes_nothing(make, WALK)


@pytest.mark.parametrize("walk", WALKS.values(), ids=WALKS)
@pytest.mark.parametrize("method", METHODS)
def test_small_beginnings(method: str, walk: Walk) -> None:
    checks.resumes_at_every_step(maker(method), walk)
    checks.weights_are_honoured(maker(method), walk)


@pytest.mark.parametrize("method", METHODS)
def test_memory_and_step_are_bounded(method: str) -> None:
    checks.memory_is_bounded(maker(method), 2000)


@pytest.mark.long
@pytest.mark.parametrize("method", METHODS)
def test_memory_and_step_are_bounded_for_long(method: str) -> None:
    checks.memory_is_bounded(maker(method), 100_000)
