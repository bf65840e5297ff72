"""Per-row gradients in closed form against one backward per row, on every kind of layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tenuto import Batch, trees
from tenuto.errors import ConfigError
from tenuto.methods.shared import layers, per_row
from tenuto.protocols import Objective
from tenuto.tasks import Classification
from tenuto.trees import Tree

N = 7
FLOATS = pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)], ids=["float64", "float32"]
)


class Tied(nn.Module):
    """One table to read tokens with and to answer with."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.mixed = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.mixed(self.table(x)).tanh().mean(1), self.table.weight)


class Twice(nn.Module):
    """A layer called twice, between layers called once."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.last = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.last(self.again(self.again(self.first(x).tanh()).tanh()).tanh()))


class Scaled(nn.Module):
    """A parameter of no known layer, and one that the outputs do not read."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale, self.idle = nn.Linear(5, 3), nn.Parameter(torch.ones(3)), nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layer(x) * self.scale)


class Discarded(nn.Module):
    """A layer called for nothing, and its weight read past it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(5, 4, bias=False), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.layer(x)
        return cast(Tensor, self.last(F.linear(x, self.layer.weight).tanh()))


class SequenceFirst(nn.Module):
    """Reads (n, t, f) as (t, n, f): the first dimension of its layer is not the rows."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.last(self.layer(x.transpose(0, 1)).tanh().mean(0)))


class Folded(nn.Module):
    """Folds positions into rows before its layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Linear(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.last(self.layer(x.flatten(0, 1)).tanh().unflatten(0, x.shape[:2]).mean(1)))


class Routed(nn.Module):
    """Half of the rows go through one layer, the others through another."""

    def __init__(self) -> None:
        super().__init__()
        self.even, self.odd = nn.Linear(5, 3), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs = x.new_zeros(len(x), 3)
        up = x[:, 0] > 0
        outputs[up], outputs[~up] = self.even(x[up]), self.odd(x[~up])
        return outputs


class Positions(nn.Module):
    """The mean over positions."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(1)


def images(*middle: nn.Module, channels: int = 4) -> nn.Module:
    """A network on images of two channels."""
    return nn.Sequential(
        *middle, nn.Tanh(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(channels * 4, 3)
    )


def signals(*middle: nn.Module, channels: int = 4) -> nn.Module:
    """A network on signals of two channels."""
    return nn.Sequential(
        *middle, nn.Tanh(), nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(channels * 2, 3)
    )


def normed(norm: nn.Module) -> nn.Module:
    """A norm with statistics and weights that are not those of the start."""
    for tensor in (*norm.parameters(), *norm.buffers()):
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    return norm


def tokens(*shape: int) -> Tensor:
    return torch.randint(0, 6, (N, *shape))


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor]]] = {
    "linear": (lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)), lambda: torch.randn(N, 5)),
    "without bias": (
        lambda: nn.Sequential(nn.Linear(5, 6, bias=False), nn.Tanh(), nn.Linear(6, 3)),
        lambda: torch.randn(N, 5),
    ),
    "in place": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.ReLU(inplace=True), nn.Linear(6, 3)),
        lambda: torch.randn(N, 5),
    ),
    "sequence": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), Positions(), nn.Linear(6, 3)),
        lambda: torch.randn(N, 4, 5),
    ),
    "sequence as long as the batch": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), Positions(), nn.Linear(6, 3)),
        lambda: torch.randn(N, N, 5),
    ),
    "grid": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.Tanh(), Positions(), Positions(), nn.Linear(6, 3)),
        lambda: torch.randn(N, 3, 2, 5),
    ),
    "conv2d": (
        lambda: images(nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))),
        lambda: torch.randn(N, 2, 6, 7),
    ),
    "conv2d in groups": (
        lambda: images(nn.Conv2d(2, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 4, 1, groups=4, bias=False)),
        lambda: torch.randn(N, 2, 6, 6),
    ),
    "conv2d same": (lambda: images(nn.Conv2d(2, 4, (5, 3), padding="same")), lambda: torch.randn(N, 2, 5, 5)),
    "conv2d circular": (
        lambda: images(nn.Conv2d(2, 4, 3, padding=(1, 2), padding_mode="circular")),
        lambda: torch.randn(N, 2, 5, 5),
    ),
    "conv2d reflected, of even width": (
        lambda: images(nn.Conv2d(2, 4, (2, 4), padding="same", padding_mode="reflect")),
        lambda: torch.randn(N, 2, 5, 5),
    ),
    "conv1d": (
        lambda: signals(nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2)),
        lambda: torch.randn(N, 2, 9),
    ),
    "embedding": (lambda: nn.Sequential(nn.Embedding(6, 4), Positions(), nn.Linear(4, 3)), lambda: tokens(5)),
    "padded embedding": (
        lambda: nn.Sequential(nn.Embedding(6, 4, padding_idx=1), Positions(), nn.Linear(4, 3)),
        lambda: tokens(5),
    ),
    "token": (lambda: nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 3)), lambda: tokens()),
    "layernorm": (
        lambda: nn.Sequential(nn.Linear(5, 6), normed(nn.LayerNorm(6)), Positions(), nn.Linear(6, 3)),
        lambda: torch.randn(N, 4, 5),
    ),
    "layernorm of a grid": (
        lambda: nn.Sequential(normed(nn.LayerNorm([4, 5])), nn.Flatten(), nn.Linear(20, 3)),
        lambda: torch.randn(N, 4, 5),
    ),
    "groupnorm": (
        lambda: images(nn.Conv2d(2, 4, 3), normed(nn.GroupNorm(2, 4))),
        lambda: torch.randn(N, 2, 5, 5),
    ),
    "batchnorm1d": (
        lambda: nn.Sequential(nn.Linear(5, 6), normed(nn.BatchNorm1d(6)), nn.Tanh(), nn.Linear(6, 3)),
        lambda: torch.randn(N, 5),
    ),
    "batchnorm2d": (
        lambda: images(nn.Conv2d(2, 4, 3), normed(nn.BatchNorm2d(4))),
        lambda: torch.randn(N, 2, 5, 5),
    ),
    "dropout": (
        lambda: nn.Sequential(nn.Linear(5, 6), nn.Dropout(0.5), nn.Linear(6, 3)),
        lambda: torch.randn(N, 5),
    ),
    "tied": (Tied, lambda: tokens(5)),
    "twice": (Twice, lambda: torch.randn(N, 5)),
    "scaled": (Scaled, lambda: torch.randn(N, 5)),
    "discarded": (Discarded, lambda: torch.randn(N, 5)),
    "sequence first": (SequenceFirst, lambda: torch.randn(N, 4, 5)),
    "sequence first, as long as the batch": (SequenceFirst, lambda: torch.randn(N, N, 5)),
    "folded": (Folded, lambda: torch.randn(N, 4, 5)),
    "folded, one position": (Folded, lambda: torch.randn(N, 1, 5)),
    "routed": (Routed, lambda: torch.randn(N, 5)),
    "recurrent": (
        lambda: nn.Sequential(Recurrent(), Positions(), nn.Linear(4, 3)),
        lambda: torch.randn(N, 4, 5),
    ),
    "attention": (
        lambda: nn.Sequential(
            nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), Positions(), nn.Linear(4, 3)
        ),
        lambda: torch.randn(N, 5, 4),
    ),
    "weight norm": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(5, 4)), nn.Linear(4, 3)),
        lambda: torch.randn(N, 5),
    ),
}
LOOPED = {
    "tied": {"table.weight"},
    "twice": {"again.weight", "again.bias"},
    "scaled": {"scale"},
    "discarded": {"layer.weight"},
    "sequence first": {"layer.weight", "layer.bias"},
    "sequence first, as long as the batch": {"layer.weight", "layer.bias"},
    "folded": {"layer.weight", "layer.bias"},
    "linear": set(),
    "conv2d": set(),
    "batchnorm2d": set(),
    "layernorm": set(),
    "sequence as long as the batch": set(),
}


class Recurrent(nn.Module):
    """A layer without a closed form here."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(5, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.layer(x)[0])


def case(name: str, dtype: torch.dtype = torch.float64) -> tuple[Objective, Tree, Batch]:
    """A model in training mode, its parameters, and rows with labels and weights."""
    make, rows = CASES[name]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module, inputs = make().to(dtype), rows()
        weights = torch.rand(N, dtype=dtype) + 0.5
    inputs = inputs.to(dtype) if inputs.is_floating_point() else inputs
    targets = torch.tensor([label for label, _ in zip(cycle(range(3)), inputs, strict=False)])
    return objective(module), dict(module.named_parameters()), Batch(inputs, targets, weights)


def objective(module: nn.Module) -> Objective:
    """What a part sees of a module under classification."""
    made = SimpleNamespace(
        task=Classification([0, 1, 2]), module=module, outputs=lambda params, inputs: module(inputs)
    )
    return cast(Objective, made)


def loop(of: Objective, params: Tree, batch: Batch) -> list[Tree]:
    """Each row by itself: forward, backward, `.grad`."""
    module, found = of.module, []
    module.eval()
    for i in range(len(batch)):
        module.zero_grad()
        loss = F.cross_entropy(module(batch.inputs[i : i + 1]), batch.targets[i : i + 1])
        (loss if batch.weights is None else loss * batch.weights[i]).backward()
        found.append(
            {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in params.items()}
        )
    module.zero_grad()
    module.train()
    return found


def close(found: Tree, wanted: Tree, bound: float) -> None:
    """Every leaf within `bound` of the one that is wanted, relative to its norm."""
    for name, leaf in wanted.items():
        gap = float((found[name] - leaf).norm() / leaf.norm().clamp_min(1e-30))
        assert gap < bound, f"{name}: {gap:.1e}"


@FLOATS
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("name", CASES)
def test_sums_are_those_of_the_loop(name: str, power: int, dtype: torch.dtype, bound: float) -> None:
    of, params, batch = case(name, dtype)
    rows = loop(of, params, batch)
    found = per_row.sums(of, params, batch.inputs, per_row.supervised(of, batch), power=power)
    wanted = {n: torch.stack([row[n].abs() ** power for row in rows]).sum(0) for n in params}
    close(found, wanted, bound)


@FLOATS
@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_the_loop(name: str, dtype: torch.dtype, bound: float) -> None:
    of, params, batch = case(name, dtype)
    wanted = torch.stack(
        [torch.cat([leaf.flatten() for leaf in row.values()]) for row in loop(of, params, batch)]
    )
    close({"rows": per_row.gradients(of, params, batch)}, {"rows": wanted}, bound)


@FLOATS
@pytest.mark.parametrize("name", ["linear", "without bias", "conv2d", "tied", "layernorm"])
def test_cosines_are_those_of_the_loop(name: str, dtype: torch.dtype, bound: float) -> None:
    of, params, batch = case(name, dtype)
    plain = Batch(batch.inputs, batch.targets)
    rows = [torch.cat([leaf.flatten() for leaf in row.values()]) for row in loop(of, params, plain)]
    wanted = F.cosine_similarity(torch.stack(rows[:3])[:, None], torch.stack(rows[3:])[None], dim=2)
    mine = Batch(batch.inputs[:3], batch.targets[:3])
    found = per_row.cosines(of, params, mine, Batch(batch.inputs[3:], batch.targets[3:]))
    assert torch.allclose(found, wanted, atol=bound)


@pytest.mark.parametrize("name", LOOPED)
def test_only_what_has_no_closed_form_takes_the_loop(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    of, params, batch = case(name)
    looped: set[str] = set()
    singly = per_row._singly

    def watch(*args: Any) -> Iterator[Any]:
        looped.update(args[4])
        return singly(*args)

    monkeypatch.setattr(per_row, "_singly", watch)
    per_row.sums(of, params, batch.inputs, per_row.supervised(of, batch), power=2)
    assert looped == LOOPED[name]


def test_rows_may_fill_several_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    of, params, batch = case("conv2d")
    losses = per_row.supervised(of, batch)
    whole = per_row.sums(of, params, batch.inputs, losses, power=2)
    monkeypatch.setattr(per_row, "_BLOCK", 3)
    monkeypatch.setattr(layers, "_BUDGET", 1)
    close(per_row.sums(of, params, batch.inputs, losses, power=2), whole, 1e-12)


@pytest.mark.parametrize("name", ["batchnorm2d", "dropout", "tied", "sequence"])
def test_nothing_is_left_behind(name: str) -> None:
    of, params, batch = case(name)
    of.module.train()
    next(iter(of.module.children())).eval()
    modes = [part.training for part in of.module.modules()]
    state, generator = trees.digest(dict(of.module.state_dict())), torch.get_rng_state()
    per_row.sums(of, params, batch.inputs, per_row.supervised(of, batch), power=2)
    per_row.gradients(of, params, batch)
    assert [part.training for part in of.module.modules()] == modes
    assert trees.digest(dict(of.module.state_dict())) == state
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(not part._forward_hooks for part in of.module.modules())
    assert all(p.grad is None for p in params.values())


def test_an_error_leaves_nothing_behind() -> None:
    of, params, batch = case("linear")
    with pytest.raises(RuntimeError):
        per_row.sums(of, params, batch.inputs[:, :2], per_row.supervised(of, batch), power=2)
    assert of.module.training
    assert all(not part._forward_hooks for part in of.module.modules())


def test_frozen_parameters_are_left_out() -> None:
    of, params, batch = case("linear")
    wanted = per_row.gradients(of, params, batch)
    params.pop("0.weight").requires_grad_(False)
    assert torch.allclose(per_row.gradients(of, params, batch), wanted[:, 30:])


def test_normalising_over_the_batch_in_evaluation_is_refused() -> None:
    module = nn.Sequential(nn.Linear(5, 3), nn.BatchNorm1d(3, track_running_stats=False)).double()
    of, batch = objective(module), Batch(torch.randn(4, 5).double(), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ConfigError, match="normalises over the batch even in evaluation mode"):
        per_row.gradients(of, dict(module.named_parameters()), batch)
    assert module.training
