"""What bases leave, told cheaply, is what it is when told in full."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from tenuto.methods.shared import retention
from tenuto.methods.shared.sketching import TOGETHER, Sketching
from tenuto.methods.shared.unheld import hidden, unheld, unprotected

WIDTH = 12


class Told:
    """Inputs and gradients of some sites, as adapters tell them."""

    def __init__(self, inputs: Mapping[str, Tensor], told: Mapping[str, Tensor] | None = None) -> None:
        self.inputs = inputs
        self._told = told or {}

    def rows(self, site: str, rows: slice, kept: Tensor | None = None) -> Tensor:
        found = self.inputs[site][rows]
        return found.flatten(0, -2) if kept is None else found[kept[rows]]

    def picked(self, site: str, places: Tensor) -> Tensor:
        return self.inputs[site].flatten(0, -2)[places]

    def gradient(self, site: str, rows: slice) -> Tensor:
        return self._told[site][rows].flatten(0, -2)


class Speaker(nn.Module):
    """Answers behind given tokens."""

    def __init__(self, places: Tensor) -> None:
        super().__init__()
        self._places = places

    def places(self, rows: Tensor) -> Tensor:
        return self._places[: len(rows)]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def basis(size: int, seed: int) -> Tensor:
    return torch.linalg.qr(normal(WIDTH, size, seed=seed))[0]


@pytest.mark.parametrize("outside", [1.0, 0.3, 1e-2, 1e-3, 1e-5, 0.0])
def test_kappa_is_the_share_that_bases_leave(outside: float) -> None:
    """Where it is small it is exact; where it is not, sites of equal shares tell what all do."""
    bases = {name: basis(5, seed) for seed, name in enumerate("abc")}
    told = {}
    for scale, (name, held) in zip((1.0, 10.0, 3.0), bases.items(), strict=True):
        away = torch.linalg.qr(held, mode="complete")[0][:, 5]
        told[name] = scale * (held[:, 0] * (1 - outside**2) ** 0.5 + outside * away)[None, None]
    kappa = retention.share(retention.sizes(bases, Told(told, told), slice(0, 1)))
    assert kappa == pytest.approx(outside, rel=1e-3, abs=1e-7)
    empty = {name: held[:, :0] for name, held in bases.items()}
    assert retention.sizes(empty, Told(told, told), slice(0, 1)) == {}


def test_a_site_without_gradient_does_not_tell_kappa() -> None:
    """What is left of rounding noise at one site is nothing beside what is protected at another."""
    bases = {"silent": basis(5, 0), "loud": basis(5, 1)}
    told = {"silent": 1e-7 * normal(1, 1, WIDTH), "loud": bases["loud"][:, 0][None, None]}
    assert retention.share(retention.sizes(bases, Told(told, told), slice(0, 1))) < 1e-6


@pytest.mark.parametrize("spoken", [True, False])
@pytest.mark.parametrize("below", [0.3, 0.6, 0.9])
def test_an_answer_that_sees_nothing_unprotected_is_found(spoken: bool, below: float) -> None:
    """Against the largest share of all tokens before it, at all sites."""
    inputs = {name: normal(6, 7, WIDTH, seed=seed) for seed, name in enumerate("ab")}
    bases = {"a": basis(7, 3), "b": basis(9, 4)}
    places = torch.tensor([[0, 1, 3], [2, 4, 6]]).repeat(3, 1)
    most = torch.maximum(*(unheld(inputs[name], bases[name]) for name in "ab"))
    seen = most.cummax(1).values.gather(1, places) if spoken else most.amax(1, keepdim=True)
    asked = torch.rand(seen.shape, generator=torch.Generator().manual_seed(5)) < 0.7
    module = Speaker(places) if spoken else nn.Identity()
    found = hidden(bases, Told(inputs), module, torch.zeros(6, 7), asked, below=below)
    assert torch.equal(found, asked & (seen < below))
    assert int((seen < 0.9).sum()) > 0


def test_a_row_tells_how_much_of_it_is_unprotected_by_some_of_its_tokens() -> None:
    bases = {name: basis(6, seed) for seed, name in enumerate("ab")}
    one = {name: normal(1, 1, WIDTH, seed=seed) for seed, name in enumerate("ab", 2)}
    inputs = {name: found.expand(3, 20, -1).clone() for name, found in one.items()}
    kept = torch.arange(20) < torch.tensor([[20], [3], [9]])
    for found in inputs.values():
        found[~kept] = 7.0
    told = unprotected(bases, Told(inputs), kept, first=1)
    wanted = torch.stack([unheld(one[name][0, 0], bases[name]) for name in "ab"]).mean()
    torch.testing.assert_close(told, torch.stack([torch.tensor(1.0), wanted, wanted]))


def test_what_was_read_is_sketched_outside_the_bases_and_counted_inside() -> None:
    """Together they have the energy of all inputs, and their covariance outside."""
    held = {"a": basis(4, 0)}
    seen = Sketching(kind="frequent_directions", novelty=0.5, most=WIDTH, tokens=5)
    inputs = []
    for step in range(60):
        rows = {"a": normal(2, 4, WIDTH, seed=step)}
        seen.note(held, Told(rows), torch.full((2, 1), step), None, 0, step)
        inputs.append(seen.state()["last"]["a"])
    assert all(len(some) == 5 for some in inputs)
    assert sum(len(waiting) for waiting in seen.state()["waiting"].values()) <= TOGETHER
    whole = torch.cat(inputs)
    found = seen.take(held)["a"]
    assert float(found.square().sum()) == pytest.approx(len(whole), rel=1e-4)
    for rows in (whole, found):
        rows -= rows @ held["a"] @ held["a"].T
    torch.testing.assert_close(found.T @ found, whole.T @ whole, atol=1e-3, rtol=1e-3)
    assert seen.take(held) == {}


def test_a_basis_without_room_is_not_sketched_and_one_that_gave_way_is() -> None:
    full, fewer = {"a": basis(6, 0)}, {"a": basis(6, 0)[:, :4]}
    seen = Sketching(kind="gram_schmidt", novelty=0.5, most=6, tokens=8)
    for step in range(20):
        seen.note(full, Told({"a": normal(1, 8, WIDTH, seed=step)}), torch.full((1, 1), step), None, 0, step)
    assert seen.state()["waiting"] == seen.state()["sketches"] == {}
    seen.turn(full, fewer)
    seen.note(fewer, Told({"a": normal(1, 8, WIDTH)}), torch.zeros(1, 1), None, 0, 20)
    assert seen.take(fewer)["a"].shape == (2 + 4, WIDTH)


def test_nothing_is_kept_of_rows_that_do_not_count() -> None:
    seen = Sketching(kind="gram_schmidt", novelty=0.5, most=6, tokens=8)
    there = torch.zeros(1, 8, dtype=torch.bool)
    seen.note({"a": basis(2, 0)}, Told({"a": normal(1, 8, WIDTH)}), torch.zeros(1, 1), there, 0, 0)
    assert seen.take({"a": basis(2, 0)}) == {}
