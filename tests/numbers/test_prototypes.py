"""Heads written in closed form are what the formulas say, whatever the optimizer, batch by batch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tenuto import Batch, Learner, OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.methods.scr import contrast
from tenuto.moments import Moments
from tests.contract.walks import OPTIMIZERS


def clusters(n: int, d: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows (n, d) around a centre per class, stretched alike; codes (n,)."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(classes, size=n)
    stretch = rng.normal(size=(d, d))
    rows = rng.normal(size=(classes, d))[codes] * 2 + rng.normal(size=(n, d)) @ stretch
    return torch.from_numpy(rows).float(), torch.from_numpy(codes)


def linear(inputs: int, outputs: int) -> Callable[[], nn.Module]:
    """A model whose features are its inputs."""
    return lambda: nn.Sequential(nn.Identity(), nn.Linear(inputs, outputs))


def discriminant(rows: Tensor, codes: Tensor, shrinkage: float) -> tuple[Tensor, Tensor]:
    """LDA from all rows at once, in float64."""
    x, classes = rows.double(), int(codes.max()) + 1
    means = torch.stack([x[codes == k].mean(0) for k in range(classes)])
    apart = x - means[codes]
    covariance = apart.T @ apart / len(x)
    scale = max(1.0, float(covariance.diagonal().mean()))
    inverse = torch.linalg.inv((1 - shrinkage) * covariance + shrinkage * scale * torch.eye(x.shape[1]))
    weight = means @ inverse
    return weight, -0.5 * (weight * means).sum(1)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.integers(0, 5))
def test_moments_do_not_depend_on_the_split(sizes: list[int], seed: int) -> None:
    rows, codes = clusters(sum(sizes), 3, 4, seed)
    weights = torch.rand(sum(sizes), generator=torch.Generator().manual_seed(seed)) + 0.1
    known, start = Moments.none(3), 0
    for size in sizes:
        piece = slice(start, start := start + size)
        known = known.joined(rows[piece], codes[piece], weights[piece], classes=4)
    w, x = weights.double(), rows.double()
    scatter = torch.zeros(3, 3, dtype=torch.float64)
    for k in range(4):
        mine = codes == k
        assert known.counts[k].item() == pytest.approx(w[mine].sum().item())
        if mine.any():
            mean = (w[mine, None] * x[mine]).sum(0) / w[mine].sum()
            torch.testing.assert_close(known.means[k], mean)
            scatter += (x[mine] - mean).T @ (w[mine, None] * (x[mine] - mean))
    torch.testing.assert_close(known.scatter, scatter)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_slda_is_lda_of_all_rows_under_every_optimizer(optimizer: str) -> None:
    changes, factory = OPTIMIZERS[optimizer]
    rows, codes = clusters(205, 4, 3)
    config = OnlineLearnerConfig(**changes)
    options = {"shrinkage": 1e-3, "every": 1}
    learner = Learner(linear(4, 3)(), config, method="slda", options=options, optimizer=factory)
    for start in range(0, 205, 10):
        learner.learn_batch(Batch(rows[start : start + 10], codes[start : start + 10]))
    weight, bias = discriminant(rows, codes, 1e-3)
    torch.testing.assert_close(learner.model[1].weight.double(), weight, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(learner.model[1].bias.double(), bias, rtol=1e-5, atol=1e-5)


def test_slda_leaves_the_body_as_it_is() -> None:
    rows, codes = clusters(60, 4, 3)
    config = OnlineLearnerConfig(momentum=0.9, weight_decay=0.1, learning_rate=0.1)
    learner = Learner(config=config, method="slda")
    learner.learn_batch(Batch(rows[:20], codes[:20]))
    before = learner.model.body[0].weight.detach().clone()
    learner.learn_batch(Batch(rows[20:], codes[20:]))
    assert torch.equal(learner.model.body[0].weight, before)


def test_slda_answers_no_class_it_has_not_seen() -> None:
    rows, codes = clusters(60, 4, 3)
    learner = Learner(linear(4, 5)(), method="slda", options={"every": 1})
    learner.learn_batch(Batch(rows, codes))
    far = torch.cat([rows, torch.zeros(1, 4), 1e3 * rows])
    assert {*learner.predict(far).labels} <= {0, 1, 2}


def test_between_two_factorisations_the_means_go_on() -> None:
    rows, codes = clusters(60, 4, 3)
    learner = Learner(linear(4, 3)(), method="slda", options={"every": 2})
    for start in range(0, 60, 15):
        learner.learn_batch(Batch(rows[start : start + 15], codes[start : start + 15]))
    old, _ = discriminant(rows[:45], codes[:45], 1e-4)
    new, _ = discriminant(rows, codes, 1e-4)
    means = [
        torch.stack([x.double()[c == k].mean(0) for k in range(3)]) for x, c in ((rows[:45], codes[:45]),)
    ]
    now = torch.stack([rows.double()[codes == k].mean(0) for k in range(3)])
    inverse = torch.linalg.lstsq(means[0], old).solution
    del inverse
    found = learner.model[1].weight.double()
    assert not torch.allclose(found, new, rtol=1e-4)
    assert not torch.allclose(found, old, rtol=1e-4)
    assert torch.allclose(found @ found.T, (found @ found.T).T)
    assert now.shape == found.shape


def test_slda_under_regression_is_ridge_regression() -> None:
    rows, _ = clusters(80, 4, 1)
    targets = rows @ torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0], [0.0, 0.0]]) + torch.tensor(
        [5.0, -1.0]
    )
    config = OnlineLearnerConfig(task="regression")
    learner = Learner(linear(4, 2)(), config, method="slda", options={"every": 1, "shrinkage": 1e-6})
    for start in range(0, 80, 10):
        learner.learn_batch(Batch(rows[start : start + 10], targets[start : start + 10]))
    torch.testing.assert_close(learner.outputs(rows), targets, rtol=1e-3, atol=1e-3)


def test_rows_too_large_for_the_shrinkage_are_still_learned() -> None:
    rows, codes = clusters(60, 4, 3)
    learner = Learner(linear(4, 3)(), method="slda")
    learner.learn_batch(Batch(rows, codes))
    scaled = Learner(linear(4, 3)(), method="slda")
    assert scaled.learn_batch(Batch(rows * 1e8, codes)).verdict.keeps
    pairs = zip(scaled.predict(rows * 1e8).labels, learner.predict(rows).labels, strict=True)
    assert sum(a == b for a, b in pairs) >= 57, "but for near ties the answers do not depend on the scale"


class Tokens(nn.Module):
    """A head that reads a row as two tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 3)

    def forward(self, rows: Tensor) -> Tensor:
        outputs: Tensor = self.head(rows.view(-1, 2, 2)).mean(1)
        return outputs


@pytest.mark.parametrize("method", ["slda", "scr"])
def test_a_head_that_reads_more_than_one_vector_per_row_is_refused(method: str) -> None:
    learner = Learner(Tokens(), method=method)
    before = learner.digest()
    with pytest.raises(ConfigError, match="must read one vector per row"):
        learner.learn_batch(Batch(torch.rand(5, 4), [0, 1, 2, 0, 1]))
    assert learner.digest() == before


def test_a_model_without_an_output_layer_of_its_own_is_refused() -> None:
    layer = nn.Linear(2, 2, bias=False)
    with pytest.raises(ConfigError, match="has none"):
        Learner(layer, method="slda").learn_batch(Batch(torch.eye(2), [0, 1]))
    frozen = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
    with pytest.raises(ConfigError, match="requires_grad"):
        Learner(frozen, method="slda").learn_batch(Batch(torch.eye(2), [0, 1]))


@given(st.integers(2, 9), st.integers(0, 5))
def test_the_contrast_is_its_formula(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    z = nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, 3))))
    codes, weights = torch.from_numpy(rng.integers(3, size=n)), torch.from_numpy(rng.uniform(0.5, 2, size=n))
    losses = []
    for i in range(n):
        others = [a for a in range(n) if a != i]
        partners = [p for p in others if codes[p] == codes[i]]
        every = torch.logsumexp(torch.stack([z[i] @ z[a] / 0.2 for a in others]), 0)
        losses.append(
            sum((every - z[i] @ z[p] / 0.2 for p in partners), torch.tensor(0.0)) / max(1, len(partners))
        )
    torch.testing.assert_close(contrast(z, codes, 0.2, weights), (torch.stack(losses) * weights).mean())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_scr_answers_with_the_nearest_mean_of_directions(optimizer: str) -> None:
    changes, factory = OPTIMIZERS[optimizer]
    rows, codes = clusters(90, 4, 3)
    learner = Learner(linear(4, 5)(), OnlineLearnerConfig(**changes), method="scr", optimizer=factory)
    for start in range(0, 90, 10):
        learner.learn_batch(Batch(rows[start : start + 10], codes[start : start + 10]))
    means = learner.save_state()["parts"]["estimator"]["means"]["means"][:3]
    z = nn.functional.normalize(rows.double())
    nearest = torch.cdist(z, nn.functional.normalize(means)).argmin(1)
    assert learner.predict(rows).labels == nearest.tolist()
    assert learner.predict(torch.zeros(1, 4)).labels[0] in (0, 1, 2)


def test_the_means_of_scr_are_those_of_all_rows_within_the_window() -> None:
    rows, codes = clusters(40, 4, 2)
    config = OnlineLearnerConfig(replay_ratio=0.0)
    learner = Learner(linear(4, 2)(), config, method="scr", options={"window": 1000.0})
    weights = torch.rand(40, generator=torch.Generator().manual_seed(0)) + 0.1
    for start in range(0, 40, 7):
        piece = slice(start, start + 7)
        learner.learn_batch(Batch(rows[piece], codes[piece], weights[piece]))
    z, w = nn.functional.normalize(rows.double()), weights.double()[:, None]
    wanted = torch.stack([(w * z)[codes == k].sum(0) / w[codes == k].sum() for k in range(2)])
    torch.testing.assert_close(learner.save_state()["parts"]["estimator"]["means"]["means"], wanted)
