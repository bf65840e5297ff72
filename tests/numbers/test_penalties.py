"""EWC, SI, MAS and the hybrid against their papers' formulas, and what they do to weights that matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import Batch, Learner, OnlineLearnerConfig, Recipe, methods, trees
from tenuto.methods.ewc import Elastic, above
from tenuto.methods.shared.fisher import fisher, sensitivity
from tenuto.methods.shared.quadratic import Quadratic
from tenuto.protocols import Objective, View
from tenuto.tasks import Classification, Regression
from tenuto.trees import Tree
from tests.contract import checks, walks

CONFIG = OnlineLearnerConfig(learning_rate=0.05, head="fixed", classes=(0, 1), seed=3)
NUMBERS = st.floats(-3, 3, width=32)


def view(params: Tree, inputs: Tensor | None, *, labels: bool = False) -> View:
    """A context of rows on a linear model of these weights, without a bias."""
    weight = next(iter(params.values()))
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=False).double()
    module.weight = cast(nn.Parameter, weight)
    task = Classification([0, 1]) if labels else Regression()
    of = SimpleNamespace(
        task=task, module=module, outputs=lambda params, inputs: module(inputs), learning_rate=1e-3
    )
    rows = None if inputs is None else Batch(inputs, torch.zeros(len(inputs), len(weight)).double())
    return View(module, params, cast(Objective, of), task, rows, 0, 0)


def linear(*values: float) -> Tree:
    return {"weight": nn.Parameter(torch.tensor([values], dtype=torch.float64))}


def drawn(rows: int, seed: int) -> Tensor:
    return torch.randn(rows, 2, generator=torch.Generator().manual_seed(seed)).double()


def contexts(*, mode: str, gamma: float = 1.0, threshold: float = 0.0) -> tuple[Elastic, list[Tree], Tree]:
    """Three contexts of linear regression, where F = E x^2; each one's F, and the last weights."""
    springs = Elastic(10.0, mode=mode, gamma=gamma, threshold=threshold)
    importances = []
    for k, values in enumerate([(1.0, 2.0), (-1.0, 0.5), (3.0, 0.0)]):
        params, inputs = linear(*values), drawn(20, k) * torch.tensor([1.0, 2.0 + k])
        springs.consolidate(view(params, inputs))
        importances.append({"weight": inputs.square().mean(0, keepdim=True)})
    return springs, importances, params


def pull(part: Any, values: tuple[float, float]) -> Tensor:
    with torch.no_grad():
        found: Tree = part.penalty_gradient(linear(*values))
    return found["weight"]


def test_one_context_of_a_linear_gaussian_model() -> None:
    """The posterior's precision is X^T X: lambda/2 sum E x^2 (theta - theta*)^2."""
    springs, inputs = Elastic(10.0), drawn(30, 0)
    assert springs.penalty_gradient(linear(1.0, 1.0)) is None
    springs.consolidate(view(linear(1.0, 2.0), inputs))
    wanted = 10 * inputs.square().mean(0) * torch.tensor([-0.5, 3.0]).double()
    assert torch.allclose(pull(springs, (0.5, 5.0)), wanted[None])


def test_a_logistic_model() -> None:
    """F of class 1's weight = E x^2 p (1 - p)."""
    springs, inputs = Elastic(5.0), drawn(40, 1)
    params = {"weight": nn.Parameter(torch.tensor([[0.0, 0.0], [0.3, -0.8]], dtype=torch.float64))}
    springs.consolidate(view(params, inputs, labels=True))
    p = torch.sigmoid(inputs @ params["weight"][1].detach())
    wanted = 5 * (inputs.square() * (p * (1 - p))[:, None]).mean(0)
    with torch.no_grad():
        found = springs.penalty_gradient({"weight": params["weight"] + 1})
    assert found is not None
    assert torch.allclose(found["weight"], wanted.expand(2, 2))


def test_original_is_the_sum_over_contexts() -> None:
    """It is not anchored anew at weights that drifted: every context pulls to its own."""
    springs, importances, _ = contexts(mode="original")
    anchors = [(1.0, 2.0), (-1.0, 0.5), (3.0, 0.0)]
    for values in [(0.0, 0.0), (2.0, -1.0), (3.0, 0.0)]:
        now = torch.tensor([values]).double()
        wanted = sum(
            10 * f["weight"] * (now - torch.tensor([a]).double())
            for f, a in zip(importances, anchors, strict=True)
        )
        assert torch.allclose(pull(springs, values), cast(Tensor, wanted))
    assert float(pull(springs, (3.0, 0.0)).abs().min()) > 0.1
    assert springs.state()["precision"]["weight"].shape == (1, 2)


@given(st.lists(st.tuples(st.floats(0, 10, width=32), NUMBERS), min_size=1, max_size=8), NUMBERS)
def test_quadratics_join_exactly(terms: list[tuple[float, float]], at: float) -> None:
    joined = Quadratic()
    for precision, anchor in terms:
        joined.join({"w": torch.tensor([precision]).double()}, {"w": torch.tensor([anchor]).double()}, 1e-3)
    found = joined.gradient({"w": torch.tensor([at]).double()})
    assert found is not None
    assert float(found["w"]) == pytest.approx(sum(p * (at - a) for p, a in terms), abs=1e-9)


@pytest.mark.parametrize("gamma", [1.0, 0.9, 0.0])
def test_online_decays_and_anchors_at_the_newest(gamma: float) -> None:
    """F <- gamma F + F_new (Schwarz et al. 2018)."""
    springs, (first, second, third), _ = contexts(mode="online", gamma=gamma)
    importance = gamma * (gamma * first["weight"] + second["weight"]) + third["weight"]
    assert torch.allclose(springs.state()["precision"]["weight"], 10 * importance)
    assert torch.allclose(pull(springs, (4.0, 1.0)), 10 * importance)
    assert float(pull(springs, (3.0, 0.0)).abs().max()) == 0


def test_adaptive_frees_what_is_small_beside_the_mean() -> None:
    springs, importances, _ = contexts(mode="adaptive", gamma=0.5, threshold=0.9)
    importance = torch.zeros(1, 2).double()
    for f in importances:
        new = f["weight"]
        importance = 0.5 * importance + torch.where(new >= 0.9 * new.mean(), new, 0.0)
    assert (importance == 0).tolist() == [[True, False]]
    assert torch.allclose(springs.state()["precision"]["weight"], 10 * importance)


@given(st.lists(st.floats(2.0**-20, 2.0**20, width=32), min_size=2, max_size=9), st.integers(-30, 30))
def test_a_threshold_relative_to_the_mean_knows_no_scale(values: list[float], power: int) -> None:
    """A Fisher that is small as a whole keeps what matters in it; an absolute threshold would drop all."""
    tree = {"w": torch.tensor(values).double()}
    kept = above(tree, 0.5)["w"] > 0
    assert bool(kept.any())
    assert torch.equal(above(trees.scale(tree, 2.0**power), 0.5)["w"] > 0, kept)


def test_a_context_without_rows_changes_nothing() -> None:
    for part in (Elastic(1.0, gamma=0.5), methods.load("mas").penalties[0]):
        part.consolidate(view(linear(1.0, 2.0), drawn(5, 0)))
        before = trees.digest(part.state())
        part.consolidate(view(linear(4.0, 4.0), None))
        assert trees.digest(part.state()) == before


def test_mas_is_the_mean_of_absolute_gradients() -> None:
    """f = theta x: d f^2 / d theta = 2 (theta x) x; Omega adds up, and the penalty is lambda Omega gap^2."""
    part, omega = methods.load("mas", {"strength": 0.5}).penalties[0], torch.zeros(1, 2).double()
    for k, values in enumerate([(1.0, 2.0), (-1.0, 0.5)]):
        params, inputs = linear(*values), drawn(30, k)
        part.consolidate(view(params, inputs))
        omega += (2 * inputs * (inputs @ params["weight"].detach().T)).abs().mean(0)
    assert torch.allclose(pull(part, (0.0, 1.5)), 2 * 0.5 * omega * torch.tensor([1.0, 1.0]).double())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("strength", [1e3, 1e9])
def test_no_strength_makes_the_steps_diverge(strength: float, momentum: float) -> None:
    """learning_rate * strength * F > 2 (1 + momentum) would; what matters most then stays where it was."""
    config = replace(CONFIG, learning_rate=0.5, momentum=momentum)
    learner = Learner(network(), config, method="ewc", options={"strength": strength})
    for step in range(60):
        if step in (20, 40):
            learner.consolidate()
            anchor = trees.copy(learner.body.params)
        assert learner.learn_batch(rows(step, shift=step // 20)).verdict.keeps
    precision = learner.recipe.penalties[0].state()["precision"]
    assert max(float(leaf.max()) for leaf in precision.values()) > 2 * (1 + momentum) / 0.5
    for name, p in learner.body.params.items():
        assert float((p.detach() - anchor[name]).abs().max()) < 10


def test_the_bound_is_where_a_step_leads_back() -> None:
    held, params = Quadratic(), {"w": torch.tensor([1.0, 1.0])}
    held.renew({"w": torch.tensor([3.0, 300.0])}, params, rate=0.1)
    found = held.gradient({"w": torch.tensor([2.0, 2.0])})
    assert found is not None
    assert found["w"].tolist() == [3.0, 10.0]
    assert held.precision["w"].tolist() == [3.0, 300.0]


def rows(seed: int, count: int = 8, *, classes: int = 2, shift: float = 0.0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, 4, generator=draws) + shift
    return Batch(inputs, (inputs[:, 0] > shift).long() + 2 * (classes > 2 and seed % 2))


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "decay", "adamw"])
def test_synaptic_intelligence_is_that_of_a_loop_by_hand(optimizer: str) -> None:
    """Zenke et al. (2017), with the gradient of the loss alone and the moves of torch's own optimizer."""
    c, xi, rate = 0.7, 0.1, 0.05
    changes: dict[str, dict[str, Any]] = {
        "sgd": {},
        "momentum": {"momentum": 0.9},
        "decay": {"momentum": 0.5, "weight_decay": 0.01},
        "adamw": {"optimizer": "adamw"},
    }
    config = replace(CONFIG, learning_rate=rate, **changes[optimizer])
    learner = Learner(network(), config, method="si", options={"c": c, "xi": xi})
    net = network()
    params = list(net.parameters())
    options = {name: value for name, value in changes[optimizer].items() if name != "optimizer"}
    stepper: torch.optim.Optimizer = torch.optim.SGD(params, lr=rate, **options)
    if optimizer == "adamw":
        stepper = torch.optim.AdamW(params, lr=rate, weight_decay=config.weight_decay)
    omega, work = ([torch.zeros_like(p) for p in params] for _ in range(2))
    anchor = start = [p.detach().clone() for p in params]
    for context in range(3):
        for step in range(5):
            batch = rows(10 * context + step, shift=context)
            learner.learn_batch(batch)
            alone = torch.autograd.grad(F.cross_entropy(net(batch.inputs), batch.targets), params)
            for p, g, o, a in zip(params, alone, omega, anchor, strict=True):
                p.grad = g + 2 * c * o * (p.detach() - a)
            before = [p.detach().clone() for p in params]
            stepper.step()
            for w, g, p, b in zip(work, alone, params, before, strict=True):
                w -= g * (p.detach() - b)
        learner.consolidate()
        now = [p.detach().clone() for p in params]
        for o, w, n, s in zip(omega, work, now, start, strict=True):
            o += w.relu() / ((n - s).square() + xi)
            w.zero_()
        anchor = start = now
        for mine, p in zip(learner.body.params.values(), params, strict=True):
            assert torch.allclose(mine, p, atol=1e-5)
        precision = learner.recipe.penalties[0].state()["precision"].values()
        for mine, o in zip(precision, omega, strict=True):
            assert torch.allclose(mine, 2 * c * o, rtol=1e-3, atol=1e-6)
            assert float(mine.min()) >= 0


def test_synaptic_intelligence_of_rows_that_appear_on_the_way() -> None:
    """Known rows count their way from the anchor, new ones from where they began."""
    config = replace(CONFIG, head="grow", classes=None, hidden=(5,))
    learner = Learner(None, config, method="si", options={"c": 0.3, "xi": 0.1})
    part, head = learner.recipe.penalties[0], "head.weight"
    for step in range(3):
        learner.learn_batch(rows(2 * step))
    learner.consolidate()
    start, held = (part.state()[name][head].clone() for name in ("anchor", "precision"))
    for step in range(4):
        learner.learn_batch(rows(2 * step + 1, classes=2 + step // 2))
        if step == 2:
            born = learner.body.params[head].detach().clone() - part.state()["moved"][head]
    work = part.state()["work"][head].clone()
    learner.consolidate()
    end = learner.body.params[head].detach()
    assert (len(start), len(end)) == (2, 4)
    way = torch.cat([end[:2] - start, end[2:] - born[2:]])
    wanted = trees.fit(held, end) + 2 * 0.3 * work.relu() / (way.square() + 0.1)
    assert torch.allclose(part.state()["precision"][head], wanted, atol=1e-6)
    assert float(way[2:].abs().min()) > 0


@pytest.mark.parametrize("method", ["ewc", "mas", "hybrid"])
def test_a_learner_measures_its_context_at_its_end(method: str) -> None:
    """On the rows of the context, at the weights of its end; the penalty then enters the step."""
    options = {"ewc": {"mode": "original"}, "mas": {}, "hybrid": {}}[method]
    learner = Learner(network(), CONFIG, method=method, options={"strength": 2.0, **options})
    for step in range(4):
        learner.learn_batch(rows(step))
    everything = [rows(step) for step in range(4)]
    seen = Batch(torch.cat([b.inputs for b in everything]), torch.cat([b.targets for b in everything]))
    objective = learner._objective
    wanted = (
        trees.scale(sensitivity(objective, learner.body.params, seen), 2 * 2.0)
        if method == "mas"
        else trees.scale(fisher(objective, learner.body.params, seen, "exact"), 2.0)
    )
    learner.consolidate()
    for name, leaf in learner.recipe.penalties[0].state()["precision"].items():
        assert torch.allclose(leaf, wanted[name], rtol=1e-4, atol=1e-8)


def test_the_penalty_changes_nothing_of_its_own() -> None:
    learner = Learner(None, replace(CONFIG, head="grow", classes=None), method="ewc")
    learner.learn_batch(rows(0))
    learner.consolidate()
    part = learner.recipe.penalties[0]
    grown = {n: torch.cat([p.detach(), p.detach()[:1]]) for n, p in learner.body.params.items()}
    before = trees.digest(part.state())
    first, second = part.penalty_gradient(grown), part.penalty_gradient(grown)
    assert first is not None
    assert second is not None
    for name, leaf in first.items():
        assert leaf.shape == grown[name].shape
        assert float(leaf.abs().sum()) == 0
        leaf.fill_(1.0)
        assert float(second[name].sum()) == 0
    assert trees.digest(part.state()) == before


def walk(method: str | Recipe, options: dict[str, Any], seed: int) -> tuple[Tree, Tree, Tree]:
    """Two contexts of other features each: weights after the first and the second, and F of the first."""
    learner = Learner(network(), replace(CONFIG, seed=seed), method=method, options=options)
    for step in range(60):
        batch = rows(1000 * seed + step)
        learner.learn_batch(Batch(batch.inputs * torch.tensor([1.0, 1.0, 0.1, 0.1]), batch.targets))
    learner.consolidate()
    before = trees.copy(learner.body.params)
    seen = rows(1000 * seed + 500, 200)
    first = Batch(seen.inputs * torch.tensor([1.0, 1.0, 0.1, 0.1]), seen.targets)
    importance = fisher(learner._objective, learner.body.params, first, "exact")
    for step in range(60):
        batch = rows(1000 * seed + 600 + step)
        targets = (batch.inputs[:, 2] > 0).long()
        learner.learn_batch(Batch(batch.inputs * torch.tensor([0.1, 0.1, 1.0, 1.0]), targets))
    return before, trees.copy(learner.body.params), importance


def drift(method: str | Recipe, options: dict[str, Any], seed: int) -> tuple[float, float]:
    """How far the tenth of all weights with the largest F moved, and how far the half with the least."""
    before, after, importance = walk(method, options, seed)
    f = torch.cat([leaf.flatten() for leaf in importance.values()])
    moved = torch.cat([(after[name] - before[name]).abs().flatten() for name in before])
    order = f.argsort(descending=True)
    return float(moved[order[: len(f) // 10]].mean()), float(moved[order[len(f) // 2 :]].mean())


PROTECTED: list[tuple[str, Callable[[], dict[str, Any]]]] = [
    ("ewc", lambda: {"strength": 200.0}),
    ("ewc", lambda: {"strength": 200.0, "mode": "original", "fisher": "sampled"}),
    ("ewc", lambda: {"strength": 200.0, "mode": "adaptive", "threshold": 0.5}),
    ("si", lambda: {"c": 3.0, "xi": 0.01}),
    ("mas", lambda: {"strength": 3.0}),
]


@pytest.mark.parametrize(("method", "options"), PROTECTED)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_weights_that_matter_move_less(method: str, options: Callable[[], dict[str, Any]], seed: int) -> None:
    free, held = drift("naive", {}, seed), drift(method, options(), seed)
    assert held[0] < 0.5 * free[0], f"weights with a large F moved {held[0]:.3f}, without {free[0]:.3f}"
    assert held[0] / free[0] < held[1] / free[1], "weights that did not matter are held as hard"


def test_the_hybrid_has_what_is_asked_for() -> None:
    plain, full = methods.load("hybrid"), methods.load("hybrid", {"distil": 1.0, "gpm": True, "rows": 50})
    assert (len(plain.penalties), len(plain.rules), plain.teacher) == (1, 0, None)
    assert [draw.name for draw in plain.replay] == ["replay"]
    assert (len(full.penalties), len(full.rules), len(full.terms)) == (1, 1, 2)
    assert full.teacher is not None
    learner = Learner(network(), CONFIG, method=full)
    for step in range(6):
        if step == 3:
            learner.consolidate()
        assert learner.learn_batch(rows(step)).verdict.keeps
    assert learner.recipe.rules[0].state()["bases"]


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("ewc", {"mode": "original", "fisher": "sampled"}),
        ("ewc", {"mode": "adaptive", "fisher": "empirical", "gamma": 0.9}),
        ("hybrid", {"distil": 1.0, "gpm": True, "rows": 20}),
    ],
)
def test_every_option_keeps_the_contract(method: str, options: dict[str, Any], task: str) -> None:
    """The contract's own tests walk the defaults only."""

    def make(seed: int) -> Learner:
        config = replace(walks.CONFIG, seed=seed, task=task, learning_rate=0.01)
        return Learner(config=config, method=method, options=options)

    walk = walks.WALK if task == "classification" else walks.numbers(walks.WALK)
    checks.resumes_at_every_step(make, walk)
    checks.a_refused_update_changes_nothing(make, walk)
    checks.weights_are_honoured(make, walk)


def test_added_to_a_gradient_it_is_the_sum_and_leaves_the_gradient_alone() -> None:
    held = Quadratic()
    held.hold({"w": torch.tensor([[2.0], [3.0]])}, {"w": torch.tensor([[1.0], [1.0]])})
    for rows in (2, 4):
        params, gradient = {"w": torch.full((rows, 1), 4.0)}, {"w": torch.arange(1.0, rows + 1)[:, None]}
        alone, summed = held.gradient(params), held.gradient(params, gradient)
        assert alone is not None
        assert summed is not None
        assert torch.equal(summed["w"], alone["w"] + torch.arange(1.0, rows + 1)[:, None])
        assert torch.equal(gradient["w"], torch.arange(1.0, rows + 1)[:, None])
