"""Fisher information and sensitivity against loops written by hand, and the errors that are often made."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import Batch
from tenuto.errors import ConfigError
from tenuto.methods.shared.fisher import KINDS, fisher, sensitivity
from tenuto.protocols import Objective
from tenuto.tasks import Regression
from tenuto.trees import Tree
from tests.numbers.test_per_row import CASES, FLOATS, N, case, close

LAYERS = [name for name in CASES if name != "routed"]


def regression(name: str, dtype: torch.dtype = torch.float64) -> tuple[Objective, Tree, Batch]:
    """The same model and rows, with as many numbers to regress as there are outputs."""
    of, params, batch = case(name, dtype)
    made = SimpleNamespace(task=Regression(), module=of.module, outputs=of.outputs)
    columns = of.module(batch.inputs).shape[1]
    numbers = torch.linspace(-1, 1, columns * N, dtype=dtype).reshape(N, columns)
    return cast(Objective, made), params, Batch(batch.inputs, numbers, batch.weights)


def squares(of: Objective, params: Tree, batch: Batch, kind: str) -> Tree:
    """The mean over rows of weight * sum over y of p(y) * gradient^2, a backward for each row and y."""
    module, found = of.module.eval(), {name: torch.zeros_like(p).detach() for name, p in params.items()}
    labelled = bool(of.task.classes)
    for i in range(len(batch)):
        weight = 1.0 if batch.weights is None else float(batch.weights[i])
        columns = module(batch.inputs[i : i + 1]).shape[1]
        for y in range(columns) if kind == "exact" else [int(batch.targets[i]) if labelled else -1]:
            outputs = module(batch.inputs[i : i + 1])
            chance = 1.0
            if labelled:
                loss = F.cross_entropy(outputs, torch.tensor([y]))
                chance = float(outputs.detach().softmax(1)[0, y]) if kind == "exact" else 1.0
            elif kind == "exact":
                loss = outputs[0, y]
            else:
                loss = 0.5 * (outputs - batch.targets[i]).square().sum()
            grads = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
            for leaf, g in zip(found.values(), grads, strict=True):
                leaf += weight * chance * g.square() / len(batch)
    module.train()
    return found


@FLOATS
@pytest.mark.parametrize("kind", ["exact", "empirical"])
@pytest.mark.parametrize("name", LAYERS)
def test_fisher_is_that_of_the_loop(name: str, kind: str, dtype: torch.dtype, bound: float) -> None:
    of, params, batch = case(name, dtype)
    close(fisher(of, params, batch, kind), squares(of, params, batch, kind), bound)


@pytest.mark.parametrize("kind", ["exact", "empirical"])
@pytest.mark.parametrize("name", ["linear", "conv2d", "tied", "twice"])
def test_fisher_under_regression_is_that_of_the_loop(name: str, kind: str) -> None:
    of, params, batch = regression(name)
    close(fisher(of, params, batch, kind), squares(of, params, batch, kind), 1e-10)


@FLOATS
@pytest.mark.parametrize("name", LAYERS)
def test_sensitivity_is_that_of_the_loop(name: str, dtype: torch.dtype, bound: float) -> None:
    of, params, batch = case(name, dtype)
    found = sensitivity(of, params, batch)
    module, wanted = of.module.eval(), {n: torch.zeros_like(p).detach() for n, p in params.items()}
    assert batch.weights is not None
    for row, weight in zip(batch.inputs, batch.weights, strict=True):
        size = module(row[None]).square().sum()
        grads = torch.autograd.grad(size, list(params.values()), materialize_grads=True)
        for leaf, g in zip(wanted.values(), grads, strict=True):
            leaf += weight * g.abs() / N
    close(found, wanted, bound)


def logistic(rows: int = 64) -> tuple[Objective, Tree, Batch, tuple[Tensor, Tensor]]:
    """One feature, two classes: z = (0, theta x), so that F(theta) = E x^2 p (1 - p)."""
    module = nn.Linear(1, 2, bias=False).double()
    x = torch.linspace(-2, 2, rows, dtype=torch.float64)[:, None]
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[0.0], [0.7]]))
    of, *_ = case("linear")
    made = SimpleNamespace(task=of.task, module=module, outputs=lambda params, inputs: module(inputs))
    p = torch.sigmoid(0.7 * x[:, 0])
    labels = (p > 0.5).long()
    return cast(Objective, made), dict(module.named_parameters()), Batch(x, labels), (x[:, 0], p)


def test_the_closed_form_of_logistic_regression() -> None:
    of, params, batch, (x, p) = logistic()
    wanted = float((x.square() * p * (1 - p)).mean())
    assert fisher(of, params, batch, "exact")["weight"].flatten().tolist() == pytest.approx([wanted, wanted])


def test_the_closed_form_of_linear_regression() -> None:
    """F = E x x^T's diagonal, whatever the weights and the targets."""
    of, _, batch = regression("linear")
    module = nn.Linear(5, 3).double()
    made = SimpleNamespace(task=of.task, module=module, outputs=lambda params, inputs: module(inputs))
    params, plain = dict(module.named_parameters()), Batch(batch.inputs, batch.targets)
    found = fisher(cast(Objective, made), params, plain, "exact")
    assert torch.allclose(found["weight"], batch.inputs.square().mean(0).expand(3, 5))
    assert torch.allclose(found["bias"], torch.ones(3, dtype=torch.float64))


@pytest.mark.parametrize("rows", [8, 32, 128])
def test_it_is_no_square_of_a_mean(rows: int) -> None:
    """The square of the batch's mean gradient, over the samples, is too small by B^2 for like rows."""
    of, params, batch, _ = logistic()
    like = Batch(batch.inputs[-1:].expand(rows, 1), batch.targets[-1:].expand(rows))
    loss = F.cross_entropy(of.module(like.inputs), like.targets)
    (mean,) = torch.autograd.grad(loss, list(params.values()))
    found = fisher(of, params, like, "empirical")["weight"]
    assert torch.allclose(found, mean.square())
    trap = (mean / rows).square()
    assert float((found / trap).mean()) == pytest.approx(rows**2)
    opposed = Batch(torch.tensor([[1.0], [-1.0]]).double().repeat(rows, 1), torch.zeros(2 * rows).long())
    with torch.no_grad():
        params["weight"].zero_()
    (mean,) = torch.autograd.grad(
        F.cross_entropy(of.module(opposed.inputs), opposed.targets), list(params.values())
    )
    assert float(mean.abs().max()) < 1e-12
    assert fisher(of, params, opposed, "empirical")["weight"].flatten().tolist() == pytest.approx([0.25] * 2)


def test_it_does_not_depend_on_how_many_rows_there_are() -> None:
    of, params, batch = case("linear")
    assert batch.weights is not None
    twice = Batch(batch.inputs.repeat(2, 1), batch.targets.repeat(2), batch.weights.repeat(2))
    for kind in ("exact", "empirical"):
        close(fisher(of, params, twice, kind), fisher(of, params, batch, kind), 1e-12)


@pytest.mark.parametrize("kind", ["exact", "empirical"])
def test_a_row_of_weight_two_counts_as_two_rows(kind: str) -> None:
    of, params, batch = case("linear")
    weights = torch.ones(N, dtype=torch.float64)
    weights[0] = 2.0
    weighted = Batch(batch.inputs, batch.targets, weights)
    again = Batch(torch.cat([batch.inputs, batch.inputs[:1]]), torch.cat([batch.targets, batch.targets[:1]]))
    wanted = {name: leaf * (N + 1) / N for name, leaf in fisher(of, params, again, kind).items()}
    close(fisher(of, params, weighted, kind), wanted, 1e-12)


def test_the_empirical_one_is_not_weighted_by_the_chance_of_the_label() -> None:
    of, params, batch, (x, p) = logistic()
    residual = torch.where(batch.targets == 1, 1 - p, p)
    wanted = float((x * residual).square().mean())
    found = fisher(of, params, batch, "empirical")["weight"].flatten().tolist()
    assert found == pytest.approx([wanted, wanted])
    chance = 1 - residual
    assert wanted > 1.2 * float((chance * (x * residual).square()).mean())


def test_the_exact_one_reads_no_label() -> None:
    of, params, batch = case("conv2d")
    unlabelled = Batch(batch.inputs, torch.zeros(N, dtype=torch.int64), batch.weights)
    close(fisher(of, params, unlabelled, "exact"), fisher(of, params, batch, "exact"), 1e-15)
    close(fisher(of, params, unlabelled, "sampled"), fisher(of, params, batch, "sampled"), 1e-15)


@pytest.mark.parametrize("make", [case, regression], ids=["classification", "regression"])
def test_the_sampled_one_is_unbiased_and_keyed(make: Callable[[str], tuple[Objective, Tree, Batch]]) -> None:
    of, params, batch = make("linear")
    draws = [fisher(of, params, batch, "sampled", seed=3, number=k) for k in range(400)]
    exact = fisher(of, params, batch, "exact")
    for name, leaf in exact.items():
        stack = torch.stack([draw[name] for draw in draws])
        error = stack.std(0) / len(draws) ** 0.5
        assert bool(((stack.mean(0) - leaf).abs() < 5 * error + 1e-12).all()), name
    again = fisher(of, params, batch, "sampled", seed=3, number=7)
    assert all(torch.equal(again[name], draws[7][name]) for name in again)
    assert not torch.equal(draws[6]["0.weight"], draws[7]["0.weight"])
    other = fisher(of, params, batch, "sampled", seed=4, number=7)
    assert not torch.equal(other["0.weight"], again["0.weight"])


def test_the_kinds_are_what_they_are_called() -> None:
    of, params, batch = case("linear")
    found = [fisher(of, params, batch, kind)["0.weight"] for kind in KINDS]
    assert not torch.allclose(found[0], found[2], rtol=1e-2)
    with pytest.raises(ConfigError, match=r"'true'; it must be one of exact, sampled, empirical"):
        fisher(of, params, batch, "true")
