"""Episodic recall: the nearest rows with their provenance, and retrieval as far as theory says it reaches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tenuto.errors import ConfigError
from tenuto.memory.episodes import Episodes, capacity, error_bound, retrieve, separation


def sphere(n: int, d: int, radius: float, seed: int = 0) -> Tensor:
    """n random patterns on a sphere."""
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return radius * torch.nn.functional.normalize(rows, dim=1)


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, 15), st.integers(0, 9))
def test_the_nearest_come_first_and_say_where_they_are_from(n: int, d: int, count: int, seed: int) -> None:
    keys = torch.randint(-3, 4, (n, d), generator=torch.Generator().manual_seed(seed)).double()
    query = torch.randn(2, d, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    episodes = Episodes(keys, slots=[10 + i for i in range(n)], ids=[f"row {i}" for i in range(n)])
    for q, found in zip(query, episodes.recall(query, count), strict=True):
        naive = [float(q @ k / (q.norm() * k.norm())) if k.any() else 0.0 for k in keys]
        assert [e.similarity for e in found] == pytest.approx(sorted(naive, reverse=True)[:count], abs=1e-12)
        assert [naive[e.slot - 10] for e in found] == pytest.approx([e.similarity for e in found], abs=1e-12)
        assert [e.id for e in found] == [f"row {e.slot - 10}" for e in found]


def test_of_equally_near_rows_the_earlier_comes_first() -> None:
    (found,) = Episodes(torch.ones(5, 2)).recall(torch.ones(2), 3)
    assert [episode.slot for episode in found] == [0, 1, 2]
    assert {episode.id for episode in found} == {None}


def test_what_is_not_there_is_not_recalled() -> None:
    empty = Episodes(torch.zeros(0, 3))
    assert empty.recall(torch.ones(2, 3), 4) == [[], []]
    assert Episodes(torch.ones(2, 3)).recall(torch.ones(3), 0) == [[]]
    with pytest.raises(ConfigError, match="nothing"):
        empty.complete(torch.ones(3), beta=1.0)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: Episodes(torch.ones(3)), "matrix"),
        (lambda: Episodes(torch.full((1, 2), torch.nan)), "finite"),
        (lambda: Episodes(torch.ones(2, 2), ids=["a"]), "ids"),
        (lambda: Episodes(torch.ones(2, 2)).recall(torch.ones(3), 1), "2 numbers"),
        (lambda: retrieve(torch.ones(2, 2), torch.ones(1, 2), beta=0.0), "beta"),
        (lambda: retrieve(torch.ones(2, 2), torch.ones(1, 2), beta=1.0, steps=0), "steps"),
        (lambda: capacity(4, beta=0.01, radius=1.0, failure=0.01), "theorem"),
    ],
)
def test_what_cannot_be_asked_is_refused(call: object, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        call()  # type: ignore[operator]


@given(st.integers(1, 20), st.integers(1, 8), st.floats(0.1, 20), st.integers(0, 50))
def test_no_retrieval_errs_by_more_than_the_bound(n: int, d: int, beta: float, seed: int) -> None:
    keys = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    error = (retrieve(keys, keys, beta=beta) - keys).norm(dim=1)
    assert bool((error <= error_bound(keys, beta=beta) + 1e-9).all())


def test_separation_is_that_of_its_definition() -> None:
    keys = sphere(6, 3, 2.0)
    exact = [4 - max(float(keys[i] @ keys[j]) for j in range(6) if j != i) for i in range(6)]
    assert separation(keys).tolist() == pytest.approx(exact)


@pytest.mark.parametrize(("d", "k", "c"), [(20, 3.0, 3.1546), (75, 1.0, 1.3718)])
def test_the_theorem_gives_the_papers_constants_and_holds(d: int, k: float, c: float) -> None:
    """As many random patterns as theorem 3 names are fixed points near themselves, in each of 300 draws."""
    radius = k * (d - 1) ** 0.5
    bound = capacity(d, beta=1.0, radius=radius, failure=0.001)
    assert (bound / 0.001**0.5) ** (4 / (d - 1)) == pytest.approx(c, abs=1e-4)
    failed = 0
    for seed in range(300):
        keys = sphere(int(bound), d, radius, seed)
        failed += bool(((retrieve(keys, keys, beta=1.0, steps=3) - keys).norm(dim=1) > 0.05 * radius).any())
    assert failed <= 1


def _stored(n: int, d: int) -> float:
    """The share of n random patterns that come back to themselves and not to a mixture."""
    radius = 2 * (d - 1) ** 0.5
    keys = sphere(n, d, radius)
    return float(
        ((retrieve(keys, keys, beta=1.0, steps=3) - keys).norm(dim=1) < 0.1 * radius).double().mean()
    )


def test_capacity_grows_exponentially_with_the_dimension() -> None:
    held = []
    for d in (4, 8, 12):
        sizes = [2**i for i in range(12)]
        held.append(max(n for n in sizes if _stored(n, d) >= 0.9))
    assert held[1] >= 4 * held[0]
    assert held[2] >= 4 * held[1]
    assert held[2] > 100 * 0.138 * 12


def _overlap(load: float, units: int = 500) -> float:
    """How much of its patterns a classical Hopfield network still holds, from the patterns themselves."""
    generator = torch.Generator().manual_seed(0)
    patterns = torch.randint(0, 2, (round(load * units), units), generator=generator).double() * 2 - 1
    weights = (patterns.T @ patterns / units).fill_diagonal_(0.0)
    state = patterns.clone()
    for _ in range(20):
        state = torch.where(state @ weights >= 0, 1.0, -1.0).double()
    return float((state * patterns).mean())


def test_the_classical_network_ends_where_it_should_and_the_modern_one_goes_on() -> None:
    assert _overlap(0.10) > 0.98
    assert _overlap(0.20) < 0.8
    units = 100
    patterns = (
        torch.randint(0, 2, (20 * units, units), generator=torch.Generator().manual_seed(0)).double() * 2 - 1
    )
    torn = patterns.clone()
    torn[:, : units // 4] = 0.0
    found, episodes = Episodes(patterns).complete(torn, beta=1.0)
    assert torch.equal(found.sign(), patterns)
    assert [episode.slot for episode in episodes] == list(range(len(patterns)))
