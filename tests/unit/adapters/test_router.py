"""The router names an adapter, or none at the rate that was asked for, whatever the order of the rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tenuto import trees
from tenuto.adapters.router import Router
from tenuto.errors import ConfigError


def drawn(n: int, at: float, seed: int, d: int = 6) -> Tensor:
    """Rows around a point, correlated as no identity is."""
    draws = torch.Generator().manual_seed(seed)
    mix = torch.eye(d) + 0.4 * torch.ones(d, d)
    return torch.randn(n, d, generator=draws) @ mix + at * torch.linspace(-1, 1, d)


def taught(order: str = "ab", parts: int = 1, **options: float) -> Router:
    """A router that knows adapter a (groups 0 and 1) and adapter b (group 0)."""
    router = Router(**options)
    groups = torch.arange(300) % 2
    rows = {"a": (drawn(300, 4.0, 1) + 5.0 * groups[:, None], groups), "b": (drawn(300, -8.0, 2), groups * 0)}
    for name in order:
        for some, which in zip(*(torch.tensor_split(one, parts) for one in rows[name]), strict=True):
            router.note(name, some, which)
    return router


def test_it_names_the_adapter_and_tells_a_stranger() -> None:
    router = taught()
    assert router.names == ["a", "b"]
    for at, shift, name in ((4.0, 0.0, "a"), (4.0, 5.0, "a"), (-8.0, 0.0, "b")):
        found = router.nearest(drawn(100, at, 7) + shift)
        assert found.count(name) >= 97
    assert router.route(torch.full((3, 6), 60.0)) == [None] * 3


@pytest.mark.parametrize("wrong", [0.05, 0.2])
@pytest.mark.parametrize("d", [6, 60])
def test_known_rows_are_turned_away_at_the_rate_that_was_asked_for(wrong: float, d: int) -> None:
    """Also where rows are few beside their dimensions, and those learned lie nearer than new ones."""
    told = 0.0
    for seed in range(4):
        router = Router(wrong=wrong, seed=seed)
        for number, name in enumerate("abc"):
            router.note(
                name, drawn(60, 5.0 * number, 10 * seed + number, d), torch.zeros(60, dtype=torch.int64)
            )
        fresh = torch.cat([drawn(400, 5.0 * number, 900 + 10 * seed + number, d) for number in range(3)])
        told += float(router.strange(fresh).double().mean()) / 4
    assert told == pytest.approx(wrong, abs=0.05)
    naive = router.scores(router._sample.rows)[1].sort().values
    assert float(naive[int((1 - wrong) * len(naive))]) < router.threshold


def test_the_distances_without_themselves_are_those_of_a_router_that_never_saw_the_row() -> None:
    rows = drawn(40, 1.0, 3)
    groups = torch.arange(40) % 2
    router = Router(shrinkage=1e-3)
    router.note("a", rows, groups)
    found = router._without_themselves()
    for n in range(0, 40, 7):
        other, rest = Router(shrinkage=1e-3), torch.arange(40) != n
        other.note("a", rows[rest], groups[rest])
        torch.testing.assert_close(other.scores(rows[n : n + 1])[1][0], found[n], rtol=0.04, atol=0.0)


def test_order_and_batches_do_not_matter() -> None:
    one, other = taught("ab"), taught("ba", parts=37)
    rows = torch.cat([drawn(50, at, 5) for at in (4.0, -8.0, 0.0)])
    assert one.nearest(rows) == other.nearest(rows)
    torch.testing.assert_close(one.scores(rows)[1], other.scores(rows)[1])
    assert trees.digest(taught(parts=3)._sample.state()) == trees.digest(taught()._sample.state())


def test_retired_adapters_are_passed_over() -> None:
    router = taught()
    assert set(router.nearest(drawn(20, 4.0, 7), without=["a"])) == {"b"}
    with pytest.raises(ConfigError, match="none to answer"):
        router.nearest(drawn(2, 4.0, 7), without=["a", "b"])


def test_few_rows_tell_no_stranger_and_a_rate_of_none_neither() -> None:
    few, never = Router(wrong=0.05), taught(wrong=0.0)
    few.note("a", drawn(10, 0.0, 0), torch.zeros(10, dtype=torch.int64))
    for router in (few, never):
        assert None not in router.route(torch.full((2, 6), 1e6))


def test_it_resumes_and_its_sample_is_bounded() -> None:
    one, other = Router(sample=50, seed=3), Router(sample=50, seed=3)
    groups = torch.zeros(100, dtype=torch.int64)
    one.note("a", drawn(100, 0.0, 0), groups)
    other.load_state(trees.detach(one.state()))
    for router in (one, other):
        router.note("b", drawn(100, 3.0, 1), groups)
    assert trees.digest(one.state()) == trees.digest(other.state())
    assert one.state()["sample"]["rows"].shape == (50, 6)
    assert one.route(drawn(9, 3.0, 2)) == other.route(drawn(9, 3.0, 2))


def test_what_cannot_be_compared_is_refused_and_changes_nothing() -> None:
    router = taught()
    before = trees.digest(router.state())
    for rows in (torch.zeros(2, 5), torch.full((2, 6), torch.nan)):
        with pytest.raises(ConfigError, match="embedding"):
            router.note("c", rows, torch.zeros(2, dtype=torch.int64))
    assert trees.digest(router.state()) == before
    with pytest.raises(ConfigError, match="knows no row yet"):
        Router().scores(torch.zeros(1, 2))
