"""Update rules: what they promise of the actual move, under every optimizer, and their closed forms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, combinations
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls
from torch import Tensor, nn

from tenuto import Batch, Learner, OnlineLearnerConfig, Recipe, trees
from tenuto.methods.agem import clamped, decided
from tenuto.methods.gem import multipliers
from tenuto.methods.shared.layer_inputs import layer_inputs, patches
from tenuto.protocols import View
from tenuto.types import Update
from tests.contract.walks import OPTIMIZERS

FEATURES, CLASSES = 12, 4
CONFIG = OnlineLearnerConfig(
    learning_rate=0.1, memory_size=24, head="fixed", classes=tuple(range(CLASSES)), seed=5
)


def network(hidden: int = 10, dtype: torch.dtype = torch.float64) -> nn.Module:
    """A small network, the same at every call; in float64 a promise can be told from rounding."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)).to(dtype)


def context(number: int, n: int = 8, seed: int = 0) -> Batch:
    """Rows of a context of its own: the same labels, another way to tell them."""
    draws = torch.Generator().manual_seed(1000 * number + seed)
    ways = torch.Generator().manual_seed(number)
    centres = torch.randn(CLASSES, FEATURES, generator=ways)
    targets = torch.randint(0, CLASSES, (n,), generator=draws)
    return Batch(centres[targets] + 0.5 * torch.randn(n, FEATURES, generator=draws), targets.tolist())


def learner(
    method: str | Recipe,
    optimizer: str,
    model: Callable[[], nn.Module] = network,
    options: dict[str, Any] | None = None,
    **changes: Any,
) -> Learner:
    settings, factory = OPTIMIZERS[optimizer]
    config = replace(CONFIG, **{**settings, **changes})
    return Learner(model(), config, method=method, options=options, optimizer=factory)


def move(one: Learner, batch: Batch) -> trees.Tree:
    """Learn a batch; by how much each parameter moved."""
    before = trees.copy(one.body.params)
    one.learn_batch(batch)
    return {name: p.detach() - before[name] for name, p in one.body.params.items()}


def slope(change: trees.Tree, reference: trees.Tree) -> float:
    """The cosine between a move and a gradient: above 0 it raises that loss, to first order."""
    lengths = trees.dot(change, change) * trees.dot(reference, reference)
    return float(trees.dot(change, reference) / lengths.sqrt().clamp(min=1e-300))


def violations(one: Learner, references: Callable[[], list[trees.Tree]], contexts: int = 3) -> float:
    """The share of steps whose actual move raises a reference loss to first order."""
    wrong, steps = 0, 0
    for number in range(contexts):
        for step in range(15):
            asked = references() if one.examples else []
            change = move(one, context(number, seed=step))
            wrong += any(slope(change, reference) > 1e-9 for reference in asked)
            steps += bool(asked)
        one.consolidate()
    return wrong / steps


def draw(one: Learner) -> list[trees.Tree]:
    """The gradient on the very rows that A-GEM draws in the next step."""
    batch = one.oracle.recall(10, "reference", past=True)
    return [] if batch is None else [one.oracle.gradient_on(batch)]


def groups(one: Learner, present: set[int]) -> list[trees.Tree]:
    """The gradient on each group that GEM holds."""
    return [
        one.oracle.gradient_on(batch) for group, batch in one.oracle.groups().items() if group not in present
    ]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_agem_never_raises_the_loss_on_its_draw(optimizer: str) -> None:
    """The move itself is held, after momentum, preconditioning and weight decay."""
    one = learner("agem", optimizer, options={"rows": 10})
    assert violations(one, lambda: draw(one)) == 0.0
    without = learner(Recipe(name="without", remembers=True, grouping="context"), optimizer)
    assert violations(without, lambda: draw(without)) > 0.1


def test_agem_is_its_closed_form() -> None:
    one, bare = (learner(method, "sgd") for method in ("agem", "naive"))
    projected = 0
    for step in range(30):
        batch = context(step // 10, seed=step)
        bare.model.load_state_dict(one.model.state_dict())
        recalled = one.oracle.recall(64, "reference") if one.examples else None
        r = None if recalled is None else one.oracle.gradient_on(recalled)
        u, got = move(bare, batch), move(one, batch)
        if r is not None and (along := trees.dot(u, r)) > 0:
            u = trees.add(u, r, alpha=-float(along / trees.dot(r, r)))
            projected += 1
        for name, expected in u.items():
            torch.testing.assert_close(got[name], expected)
    assert projected > 3


@given(st.integers(0, 1000), st.sampled_from([1.0, -0.1, 0.0]))
@settings(max_examples=60, deadline=None)
def test_agem_is_the_same_where_no_number_may_be_read(seed: int, scale: float) -> None:
    """Also where nothing is violated, and where the reference is zero."""
    draws = torch.Generator().manual_seed(seed)
    u, r = ([torch.randn(3, 2, generator=draws), torch.randn(4, generator=draws)] for _ in range(2))
    r = [leaf * (seed % 7 > 0) for leaf in r]
    update = Update(dict(zip("ab", u, strict=True)), scale)
    first, second = decided(update, r), clamped(update, [leaf.clone() for leaf in r])
    for name, leaf in first.tree.items():
        torch.testing.assert_close(second.tree[name], leaf)
    along = trees.dot(first.tree, dict(zip("ab", r, strict=True))) * scale
    assert along < 1e-5


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gem_never_raises_the_loss_of_an_earlier_context(optimizer: str) -> None:
    one = learner("gem", optimizer)
    past = lambda: groups(one, {one.oracle.group})  # noqa: E731
    assert violations(one, past, contexts=4) == 0.0
    assert one.memory is not None
    assert one.memory.groups() == {0: 6, 1: 6, 2: 6, 3: 6}
    without = learner(Recipe(name="without", remembers=True, grouping="context"), optimizer)
    assert violations(without, lambda: groups(without, {without.oracle.group}), contexts=4) > 0.1


def test_gem_without_contexts_holds_the_classes_that_are_not_fresh() -> None:
    one = learner("gem", "momentum", options={"groups": "target"}, memory_size=40)
    held = 0
    for step in range(40):
        batch = context(step // 20, n=3, seed=step)
        asked = groups(one, set(batch.targets)) if one.examples else []
        change = move(one, batch)
        assert all(slope(change, reference) < 1e-9 for reference in asked)
        held += len(asked)
    assert held > 40


def test_gem_lets_contexts_share_constraints_where_they_are_too_many() -> None:
    """Of five contexts and two constraints, those of even and of odd number share one each."""
    one = learner("gem", "sgd", options={"constraints": 2}, memory_size=60)
    for number in range(5):
        for step in range(4):
            one.learn_batch(context(number, seed=step))
        one.consolidate()
    for step in range(10):
        held = one.oracle.groups()
        inputs = [torch.cat([held[g].inputs for g in g_s]) for g_s in ((0, 2, 4), (1, 3))]
        targets = [torch.cat([held[g].targets for g in g_s]) for g_s in ((0, 2, 4), (1, 3))]
        asked = [one.oracle.gradient_on(Batch(i, t)) for i, t in zip(inputs, targets, strict=True)]
        change = move(one, context(5, seed=step))
        assert all(slope(change, reference) < 1e-9 for reference in asked)


def test_a_margin_lowers_the_loss_of_earlier_contexts() -> None:
    """v >= margin in learning rates: where a constraint was active, the move goes down its slope."""
    falls = []
    for margin in (0.0, 0.5):
        one = learner("gem", "sgd", options={"margin": margin})
        slopes = []
        for number in range(3):
            for step in range(10):
                asked = groups(one, {one.oracle.group}) if one.examples else []
                change = move(one, context(number, seed=step))
                slopes += [slope(change, reference) for reference in asked]
            one.consolidate()
        assert max(slopes) < 1e-9
        falls.append(sum(slopes) / len(slopes))
    assert falls[1] < falls[0] - 0.05


def problem(seed: int, k: int, p: int, rank: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(k, rank)) @ rng.normal(size=(rank, p)), rng.normal(size=p)


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 8), st.sampled_from([0.0, 0.3]))
@settings(max_examples=150, deadline=None)
def test_the_dual_is_the_best_of_all_active_sets(seed: int, k: int, p: int, margin: float) -> None:
    """Dependent gradients too: the move z = u - G^T v is unique where v is not."""
    g, u = problem(seed, k, p, rank=1 + seed % p)
    a, b = g @ g.T, g @ u
    v = multipliers(a, b, margin)
    assert (v >= margin).all()
    best, least = None, np.inf
    for active in chain.from_iterable(combinations(range(k), size) for size in range(k + 1)):
        w, chosen = np.zeros(k), list(active)
        if chosen:
            rest = b - margin * a.sum(1)
            w[chosen] = np.linalg.lstsq(a[np.ix_(chosen, chosen)], rest[chosen], rcond=1e-10)[0]
        if (w < -1e-9).any():
            continue
        value = (w + margin) @ a @ (w + margin) / 2 - b @ (w + margin)
        if value < least:
            best, least = w + margin, value
    assert best is not None
    np.testing.assert_allclose(u - g.T @ v, u - g.T @ best, atol=1e-5)
    if not margin:
        assert (g @ (u - g.T @ v) <= 1e-6 * np.linalg.norm(g, axis=1)).all()


@given(st.integers(0, 10_000), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_the_dual_is_a_least_squares_problem(seed: int, k: int) -> None:
    """min |L^T v - L^-1 b| for A = L L^T, by scipy's NNLS."""
    g, u = problem(seed, k, k + 5, k + 5)
    a, b = g @ g.T, g @ u
    lower = np.linalg.cholesky(a)
    np.testing.assert_allclose(multipliers(a, b), nnls(lower.T, np.linalg.solve(lower, b))[0], atol=1e-6)


def test_no_gradient_at_all_has_no_multiplier_and_a_broken_one_no_number() -> None:
    assert multipliers(np.zeros((2, 2)), np.zeros(2)).tolist() == [0.0, 0.0]
    assert np.isnan(multipliers(np.array([[np.inf, 1.0], [1.0, 1.0]]), np.ones(2))).all()


@pytest.mark.parametrize("method", ["agem", "gem"])
def test_a_reference_that_is_not_finite_refuses_the_step(method: str) -> None:
    """No promise can be kept then; nothing has changed."""
    one = learner(method, "sgd")
    one.learn_batch(context(0))
    one.consolidate()
    one.learn_batch(context(1))
    assert one.memory is not None
    one.memory.table.columns["inputs"].fill_(torch.nan)
    before = one.digest()
    assert not one.learn_batch(context(1, seed=1)).verdict.keeps
    assert one.stats.refused == 8
    one.counters.refused = 0
    assert one.digest() == before


def wide(dtype: torch.dtype = torch.float32) -> nn.Module:
    return network(hidden=40, dtype=dtype)


def conv() -> nn.Module:
    """A network of convolutions for rows of 12 = 6 channels x 2."""
    with torch.random.fork_rng():
        torch.manual_seed(4)
        return nn.Sequential(
            nn.Unflatten(1, (6, 2)),
            nn.Conv1d(6, 30, 2, padding=1),
            nn.Tanh(),
            nn.Conv1d(30, 20, 3, bias=False),
            nn.Flatten(),
            nn.Linear(20, CLASSES),
        )


@pytest.mark.parametrize("model", [wide, conv])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_gpm_keeps_what_layers_answer_to_protected_inputs(
    optimizer: str, model: Callable[[], nn.Module]
) -> None:
    """Bias and weight together, under momentum, preconditioning and weight decay.

    Of the directions of the first layer few are held, of the first convolution's most: there the complement
    of the basis is what projects.
    """
    one = learner("gpm", optimizer, model, {"threshold": 1.0, "first_threshold": None, "rows": 4})
    seen, answers = [], []
    for number in range(2):
        fresh = context(number, n=2)
        first = one.learn_batch(fresh).loss
        for _ in range(30):
            last = one.learn_batch(fresh).loss
        assert last < first
        seen.append(fresh.inputs)
        one.consolidate()
        answers.append(one.outputs(fresh.inputs))
        for inputs, answer in zip(seen, answers, strict=True):
            torch.testing.assert_close(one.outputs(inputs), answer, atol=1e-5, rtol=0)
    d, k = next(iter(one.save_state()["parts"]["rule0"]["bases"].values())).shape
    assert (2 * k > d) is (model is conv)


def test_gpm_takes_no_more_directions_than_inputs_have() -> None:
    one = learner("gpm", "sgd", wide, {"threshold": 1.0, "first_threshold": 0.5, "rows": 3})
    for number, (least, most) in enumerate([(3, 3), (6, 6), (9, 9)]):
        one.learn_batch(context(number, n=3))
        one.consolidate()
        bases = one.save_state()["parts"]["rule0"]["bases"]
        assert bases["0.weight"].shape[1] < most
        assert least <= bases["2.weight"].shape[1] <= most


@pytest.mark.parametrize("head", [True, False])
def test_the_head_is_protected_or_not(head: bool) -> None:
    """New classes' outputs are projected like all others."""
    options = {"threshold": 1.0, "first_threshold": None, "head": head, "rows": 4}
    one = learner("gpm", "sgd", wide, options, head="grow", classes=None)
    one.learn_batch(context(0, n=4))
    one.consolidate()
    before = one.outputs(context(0, n=4).inputs)
    for _ in range(5):
        one.learn_batch(Batch(context(1, n=4).inputs, [0, 7, 8, 9]))
    after = one.outputs(context(0, n=4).inputs)[:, : before.shape[1]]
    assert torch.allclose(before, after, atol=1e-5) is head


@pytest.mark.parametrize("others", ["freeze", "free"])
def test_norms_stand_still_or_learn(others: str) -> None:
    def normed() -> nn.Module:
        return nn.Sequential(*list(wide())[:1], nn.LayerNorm(40), *list(wide())[1:])

    one = learner("gpm", "momentum", normed, {"others": others})
    one.learn_batch(context(0))
    assert move(one, context(0))["1.weight"].abs().max() > 0
    one.consolidate()
    assert (float(move(one, context(1))["1.weight"].abs().max()) == 0.0) is (others == "freeze")


def test_a_context_without_rows_protects_nothing() -> None:
    one = learner("gpm", "sgd")
    one.learn_batch(context(0))
    one.consolidate()
    before = one.save_state()["parts"]["rule0"]
    one.consolidate()
    assert trees.digest(before) == trees.digest(one.save_state()["parts"]["rule0"])


CONVOLUTIONS = [
    nn.Conv2d(4, 6, 3),
    nn.Conv2d(4, 6, (2, 3), stride=(2, 1), padding=(1, 2), dilation=(1, 2)),
    nn.Conv2d(4, 6, 3, padding="same", dilation=2),
    nn.Conv2d(4, 6, 2, padding="valid", groups=2),
    nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    nn.Conv2d(4, 6, (4, 2), padding="same", padding_mode="circular"),
    nn.Conv1d(4, 6, 3, stride=2, padding=1, groups=2),
    nn.Conv1d(4, 6, 4, padding="same"),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
def test_a_convolution_is_a_product_with_its_patches(layer: nn.Conv1d | nn.Conv2d) -> None:
    inputs = torch.randn(2, 4, *[7, 8][: len(layer.kernel_size)], generator=torch.Generator().manual_seed(0))
    answer = layer(inputs)
    rows = patches(layer, inputs).unflatten(1, (layer.groups, -1))
    weight = layer.weight.flatten(1).unflatten(0, (layer.groups, -1))
    product = torch.einsum("ngpd,god->ngop", rows, weight).reshape(answer.shape)
    assert layer.bias is not None
    bias = layer.bias.view(-1, *[1] * len(layer.kernel_size))
    torch.testing.assert_close(product + bias, answer, atol=1e-5, rtol=1e-4)


class Twice(nn.Module):
    """One layer run twice, dropout between."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.drop = nn.Linear(3, 3), nn.Dropout(0.5)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(self.drop(self.layer(inputs)))


@pytest.mark.parametrize("n", [2, 150])
def test_layer_inputs_have_the_energies_of_all_that_was_read(n: int) -> None:
    """[x 1]^T [x 1] by the rows' weights, over both runs of a layer, in evaluation mode."""
    module = Twice().train()
    inputs = torch.randn(n, 3, generator=torch.Generator().manual_seed(1))
    weights = torch.rand(n, generator=torch.Generator().manual_seed(2)) + 0.5
    one = learner("naive", "sgd")
    one.learn_batch(context(0))
    view = View(module, dict(module.named_parameters()), one._objective, one.task)
    (layer,) = layer_inputs(view, Batch(inputs, torch.zeros(n), weights))
    assert (layer.weight, layer.bias) == ("layer.weight", "layer.bias")
    both = torch.cat([inputs, module.layer(inputs).detach()])
    read = torch.cat([both, torch.ones(2 * n, 1)], 1).double() * weights.repeat(2).sqrt()[:, None]
    torch.testing.assert_close(layer.inputs.T @ layer.inputs, read.T @ read, rtol=1e-5, atol=1e-5)
    assert len(layer.inputs) <= 4
    assert module.training
    assert module.drop.training
    assert not any(child._forward_pre_hooks for child in module.modules())
