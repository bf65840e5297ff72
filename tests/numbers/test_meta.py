"""MER, La-MAML and the MAML-style learner against their formulas, and against toys solved by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.methods.shared.lookahead import excursion
from tests.numbers.test_replay_variants import model, stream

CONFIG = OnlineLearnerConfig(learning_rate=0.1, memory_size=30, seed=3)


def params(module: nn.Module) -> dict[str, Tensor]:
    """Detached copies by name."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def close(module: nn.Module, expected: dict[str, Tensor]) -> None:
    """Its parameters are what they should be."""
    for name, p in module.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-4, atol=1e-6)


def loss(module: nn.Module, at: dict[str, Tensor], batch: Batch, rows: list[int] | slice) -> Tensor:
    """The weighted mean cross-entropy of some rows at given parameters."""
    outputs = functional_call(module, at, (batch.inputs[rows],))
    losses = F.cross_entropy(outputs, batch.targets[rows], reduction="none")
    return (losses if batch.weights is None else losses * batch.weights[rows]).mean()


# MER -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    ("gamma", "rate", "walks", "group"),
    [(1.0, None, 1, 1), (0.3, 0.02, 3, 1), (0.5, None, 2, 3), (1.0, None, 1, 99)],
)
def test_mer_goes_part_of_the_way_of_sgd_over_single_rows_or_groups(
    gamma: float, rate: float | None, walks: int, group: int, weighted: bool
) -> None:
    options = {"gamma": gamma, "rate": rate, "walks": walks, "group": group, "rows": 4}
    learner = Learner(model(), CONFIG, method="mer", options=options)
    for batch in stream(12, weighted=weighted):
        start, module = params(learner.model), copy.deepcopy(learner.model)
        order = learner.recipe.estimator.order(3, 4 if learner.steps == 0 else 8)
        trace = learner.learn_batch(batch)
        sgd = torch.optim.SGD(module.parameters(), lr=rate or 0.1)
        assert len(order) == walks * len(trace.batch)
        for at in range(0, len(order), group):
            sgd.zero_grad()
            few = order[at : at + group]
            loss(module, dict(module.named_parameters()), trace.batch, few).backward()
            sgd.step()
        end = params(module)
        close(learner.model, {n: start[n] + gamma * (end[n] - start[n]) for n in start})
        expected = loss(module, start, trace.batch, slice(None))
        torch.testing.assert_close(trace.estimate.loss, expected)


def test_mer_takes_another_order_at_every_step_and_under_every_seed() -> None:
    learner = Learner(model(), CONFIG, method="mer", options={"walks": 2})
    orders = []
    for batch in stream(6):
        orders += [learner.recipe.estimator.order(seed, 9) for seed in (3, 4)]
        learner.learn_batch(batch)
    assert len({tuple(order) for order in orders}) == len(orders)
    for order in orders:
        assert sorted(order[:9]) == sorted(order[9:]) == list(range(9))
        assert order[:9] != order[9:]


class Fragile(nn.Module):
    """Fails at a given call."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.layer, self.left = nn.BatchNorm1d(3), nn.Linear(3, 6), 10**6

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs, unless this call fails."""
        self.left -= 1
        if self.left < 0:
            raise ArithmeticError("this call fails")
        outputs: Tensor = self.layer(self.norm(inputs))
        return outputs


@pytest.mark.parametrize("method", ["mer", "lamaml", "metacl", "mir"])
def test_an_error_on_the_way_leaves_the_model_where_it_was(method: str) -> None:
    fragile = Fragile()
    learner = Learner(fragile, CONFIG, method=method)
    first, second = stream(2)
    learner.learn_batch(first)
    before = learner.digest()
    for call in (0, 1, 2):
        fragile.left = call
        with pytest.raises(ArithmeticError):
            learner.learn_batch(second)
        assert learner.digest() == before
        assert all(part.training for part in fragile.modules())
    fragile.left = 10**6
    learner.learn_batch(second)
    assert learner.digest() != before


def _lose_the_way(net: nn.Sequential) -> None:
    with excursion(net, dict(net.named_parameters())), torch.no_grad():
        assert [part.training for part in net] == [False, False, True]
        for tensor in (*net.parameters(), net[0].running_mean):
            tensor.mul_(1.1).add_(0.3)
        raise ArithmeticError("lost")


def test_an_excursion_returns_bit_for_bit_with_buffers_and_modes() -> None:
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Dropout(), nn.Linear(3, 2))
    net[1].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with pytest.raises(ArithmeticError, match="lost"):
        _lose_the_way(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [part.training for part in net] == [True, False, True]


@pytest.mark.parametrize("method", ["mer", "lamaml", "metacl"])
def test_running_statistics_move_once_a_step(method: str) -> None:
    norm = nn.BatchNorm1d(3)
    learner = Learner(nn.Sequential(norm, nn.Linear(3, 6)), CONFIG, method=method)
    for batch in stream(5):
        mean, count = norm.running_mean.clone(), int(norm.num_batches_tracked)
        trace = learner.learn_batch(batch)
        torch.testing.assert_close(norm.running_mean, 0.9 * mean + 0.1 * trace.batch.inputs.mean(0))
        assert norm.num_batches_tracked == count + 1


@pytest.mark.parametrize("method", ["mer", "lamaml"])
def test_a_rate_of_zero_moves_nothing(method: str) -> None:
    config = OnlineLearnerConfig(learning_rate=0.0, seed=3)
    learner = Learner(model(), config, method=method, options={"rate" if method == "mer" else "alpha": 0.5})
    before = params(learner.model)
    learner.learn_batch(stream(1)[0])
    close(learner.model, before)


# La-MAML -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("second_order", [False, True])
def test_lamaml_learns_rates_by_the_gradient_of_the_last_loss(second_order: bool, weighted: bool) -> None:
    """To first order d theta_k / d theta = 1 and d theta_k / d alpha = - sum g; else by autograd."""
    options = {"alpha": 0.2, "eta": 3.0, "steps": 3, "second_order": second_order, "clip": None}
    learner = Learner(model(), CONFIG, method="lamaml", options=options)
    alpha = {name: torch.full_like(p, 0.2) for name, p in params(learner.model).items()}
    for batch in stream(12, weighted=weighted):
        theta = params(learner.model)
        trace = learner.learn_batch(batch)
        step = _second_order if second_order else _first_order
        meta, pull = step(learner.model, theta, alpha, trace.batch, [[0, 1], [2], [3]])
        alpha = {name: rates - 3.0 * pull[name] for name, rates in alpha.items()}
        theta = {name: theta[name] - alpha[name].relu() * meta[name] for name in theta}
        close(learner.model, theta)
        for name, rates in learner.save_state()["parts"]["estimator"]["rates"].items():
            torch.testing.assert_close(rates, alpha[name], rtol=1e-4, atol=1e-5)
    moved = torch.cat([(rates - 0.2).flatten() for rates in alpha.values()])
    assert moved.min() < -0.01
    assert moved.max() > 0.01


Both = tuple[dict[str, Tensor], dict[str, Tensor]]
"""Gradients with respect to the parameters and to their rates."""


def _first_order(
    module: nn.Module,
    theta: dict[str, Tensor],
    alpha: dict[str, Tensor],
    batch: Batch,
    pieces: list[list[int]],
) -> Both:
    ahead, walked = theta, {name: torch.zeros_like(p) for name, p in theta.items()}
    for rows in [*pieces, slice(None)]:
        at = {name: p.detach().requires_grad_() for name, p in ahead.items()}
        grads = torch.autograd.grad(loss(module, at, batch, rows), list(at.values()))
        meta = dict(zip(at, grads, strict=True))
        if isinstance(rows, list):
            ahead = {name: ahead[name] - alpha[name] * g for name, g in meta.items()}
            walked = {name: walked[name] + g for name, g in meta.items()}
    return meta, {name: -g * walked[name] for name, g in meta.items()}


def _second_order(
    module: nn.Module,
    theta: dict[str, Tensor],
    alpha: dict[str, Tensor],
    batch: Batch,
    pieces: list[list[int]],
) -> Both:
    leaves = [{name: p.clone().requires_grad_() for name, p in tree.items()} for tree in (theta, alpha)]
    ahead, rates = leaves
    for rows in pieces:
        grads = torch.autograd.grad(loss(module, ahead, batch, rows), list(ahead.values()), create_graph=True)
        ahead = {n: p - rates[n] * g for (n, p), g in zip(ahead.items(), grads, strict=True)}
    loss(module, ahead, batch, slice(None)).backward()
    meta, pull = ({name: p.grad for name, p in tree.items()} for tree in leaves)
    return meta, pull


def test_lamaml_waits_where_a_rate_is_below_zero() -> None:
    learner = Learner(model(), CONFIG, method="lamaml", options={"alpha": 0.1, "eta": 0.0})
    first, second = stream(2)
    learner.learn_batch(first)
    state = learner.save_state()
    state["parts"]["estimator"]["rates"]["0.weight"].fill_(-0.1)
    learner.load_state(state)
    before = params(learner.model)
    learner.learn_batch(second)
    after = params(learner.model)
    assert torch.equal(after["0.weight"], before["0.weight"])
    assert not torch.equal(after["0.bias"], before["0.bias"])


def test_lamaml_clips_what_it_hands_on_and_what_moves_its_rates() -> None:
    options = {"alpha": 0.5, "eta": 2.0, "clip": 0.01}
    learner = Learner(model(), CONFIG, method="lamaml", options=options)
    before = params(learner.model)
    learner.learn_batch(stream(1)[0])
    rates = learner.save_state()["parts"]["estimator"]["rates"]
    moved = torch.cat([(rate - 0.5).flatten() for rate in rates.values()]).norm()
    torch.testing.assert_close(moved, torch.tensor(0.02), rtol=1e-3, atol=0)
    after = params(learner.model)
    walked = torch.cat([((after[n] - before[n]) / rates[n].relu()).flatten() for n in before]).norm()
    torch.testing.assert_close(walked, torch.tensor(0.01), rtol=1e-3, atol=0)


def test_lamaml_gives_new_outputs_the_first_rate() -> None:
    learner = Learner(config=CONFIG, method="lamaml", options={"alpha": 0.25, "eta": 50.0})
    learner.learn_batch(Batch(torch.randn(4, 3), [0, 1, 0, 1]))
    rates = learner.save_state()["parts"]["estimator"]["rates"]
    assert rates["head.weight"].shape == (2, 256)
    assert not torch.all(rates["head.weight"] == 0.25)
    grown = learner.recipe.estimator.rates(
        {name: torch.zeros(3, 256) if name == "head.weight" else r for name, r in rates.items()}, 0.1
    )["head.weight"]
    assert torch.equal(grown[:2], rates["head.weight"])
    assert torch.all(grown[2] == 0.25)


# The MAML-style learner ----------------------------------------------------------------------------


def quadratic(second_order: bool, steps: int, **settings: object) -> Learner:
    """y = w x under half the squared error, its rate 0.1 outside and 0.05 inside."""
    line = nn.Linear(1, 1, bias=False)
    nn.init.constant_(line.weight, 0.7)
    options = {"steps": steps, "rate": 0.05, "second_order": second_order, **settings}
    config = OnlineLearnerConfig(task="regression", learning_rate=0.1, seed=1)
    return Learner(line, config, method="metacl", options=options)


def weight(learner: Learner) -> float:
    """The one parameter."""
    return next(learner.model.parameters()).item()


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("second_order", [False, True])
def test_metacl_on_a_quadratic_is_its_closed_form(second_order: bool, steps: int) -> None:
    """w_k = t + (1 - r a^2)^k (w - t) with t = b / a; d w_k / d w = (1 - r a^2)^k, or 1 to first order.

    The query's gradient at w_k is the mean of (w_k c - d) c over the query row and every replayed row.
    """
    learner = quadratic(second_order, steps)
    rng = torch.Generator().manual_seed(2)
    replayed = 0
    for _ in range(10):
        w, rows = weight(learner), torch.randn(2, 2, generator=rng)
        trace = learner.learn_batch(Batch(rows[:, :1], rows[:, 1:]))
        (a, b), shrink = rows[0].tolist(), (1 - 0.05 * rows[0, 0].item() ** 2) ** steps
        ahead = b / a + shrink * (w - b / a)
        c, d = trace.batch.inputs[1:, 0], trace.batch.targets[1:, 0]
        outer = ((ahead * c - d) * c).mean().item()
        expected = w - 0.1 * outer * (shrink if second_order else 1.0)
        assert weight(learner) == pytest.approx(expected, rel=1e-4)
        replayed += trace.batch.replayed
    assert replayed == 18


def test_metacl_orders_differ_where_the_support_is_steep() -> None:
    ends = []
    for second_order in (False, True):
        learner = quadratic(second_order, steps=3)
        learner.learn_batch(Batch(torch.tensor([[2.0], [1.0]]), torch.tensor([[1.0], [3.0]])))
        ends.append(weight(learner))
    assert abs(ends[0] - ends[1]) > 0.01


def test_metacl_with_one_row_adapts_on_it_and_asks_memory() -> None:
    learner = quadratic(second_order=False, steps=1)
    w = weight(learner)
    learner.learn_batch(Batch(torch.tensor([[2.0]]), torch.tensor([[1.0]])))
    ahead = w - 0.05 * (2 * w - 1) * 2
    w -= 0.1 * (2 * ahead - 1) * 2
    assert weight(learner) == pytest.approx(w)
    learner.learn_batch(Batch(torch.tensor([[1.0]]), torch.tensor([[3.0]])))
    ahead = w - 0.05 * (w - 3)
    assert weight(learner) == pytest.approx(w - 0.1 * (2 * ahead - 1) * 2)


@pytest.mark.parametrize("second_order", [False, True])
def test_metacl_on_a_network_is_autograd_through_its_steps(second_order: bool) -> None:
    options = {"steps": 2, "rate": 0.3, "second_order": second_order}
    learner = Learner(model(), CONFIG, method="metacl", options=options)
    for batch in stream(8, weighted=True):
        theta = {name: p.requires_grad_() for name, p in params(learner.model).items()}
        trace = learner.learn_batch(batch)
        ahead = theta
        for _ in range(2):
            inner = loss(learner.model, ahead, trace.batch, slice(0, 2))
            grads = torch.autograd.grad(inner, list(ahead.values()), create_graph=True)
            kept: Callable[[Tensor], Tensor] = (lambda g: g) if second_order else Tensor.detach
            ahead = {n: p - 0.3 * kept(g) for (n, p), g in zip(ahead.items(), grads, strict=True)}
        outer = torch.autograd.grad(
            loss(learner.model, ahead, trace.batch, slice(2, None)), list(theta.values())
        )
        close(
            learner.model, {n: (p - 0.1 * g).detach() for (n, p), g in zip(theta.items(), outer, strict=True)}
        )
