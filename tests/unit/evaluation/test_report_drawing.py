import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tenuto.errors import ConfigError
from tenuto.evaluation import Curve, Report, Run
from tenuto.evaluation.chart import chart
from tenuto.evaluation.lines import boundaries, lines
from tenuto.evaluation.scale import axis

numbers = st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=8)


def drawn(*seeds: tuple, x: tuple | None = None, points: int = 600) -> list:
    runs = [
        Run(
            method="er",
            seed=k,
            curves={
                "a": Curve(x=x or tuple(range(len(y))), y=y, x_label="rows", y_label="a", boundaries=(k,))
            },
        )
        for k, y in enumerate(seeds)
    ]
    return lines(Report(title="t", runs=tuple(runs)), "a", points=points)


@given(numbers, st.booleans(), st.integers(2, 10))
def test_an_axis_holds_every_value_and_its_ticks_ascend_inside_it(values, widen, count):
    across = axis(values=values, start=10, end=110, count=count, widen=widen)
    slack = 1e-6 * (across.high - across.low)
    assert across.low <= min(values) + slack
    assert across.high >= max(values) - slack
    assert all(across.low - slack <= tick <= across.high + slack for tick in across.ticks)
    assert list(across.ticks) == sorted(across.ticks)
    assert len(across.ticks) <= 2 * count + 3
    assert all(9.99 <= across.at(value) <= 110.01 for value in values)


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1))
def test_neighbouring_ticks_are_never_spelled_alike(high, share):
    low = high * (1 - share)
    assume(high - low > 1e-6)
    across = axis(values=[low, high], start=0, end=1)
    spelled = [across.spell(tick) for tick in across.ticks]
    assert len(set(spelled)) == len(spelled) >= 2


@pytest.mark.parametrize(
    ("values", "ticks", "spelled"),
    [
        ([0.0, 1.0], (0.0, 0.2, 0.4, 0.6, 0.8, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([3, 12_000], (0, 5000, 10_000, 15_000), ["0", "5,000", "10,000", "15,000"]),
        ([-2, 2], (-2, -1, 0, 1, 2), ["−2", "−1", "0", "1", "2"]),
        ([0.91, 0.97], (0.9, 0.92, 0.94, 0.96, 0.98), ["0.90", "0.92", "0.94", "0.96", "0.98"]),
        ([5, 5], (4.4, 4.6, 4.8, 5.0, 5.2, 5.4, 5.6), ["4.4", "4.6", "4.8", "5.0", "5.2", "5.4", "5.6"]),
        ([0], (-1.0, -0.5, 0.0, 0.5, 1.0), ["−1.0", "−0.5", "0.0", "0.5", "1.0"]),
    ],
)
def test_ticks_are_round_and_spelled_with_the_decimals_they_need(values, ticks, spelled):
    across = axis(values=values, start=0, end=1)
    assert across.ticks == ticks
    assert [across.spell(tick) for tick in ticks] == spelled


def test_an_axis_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="finite"):
        axis(values=[float("nan")], start=0, end=1)


def test_seeds_at_the_same_positions_become_one_line_with_their_range():
    (line,) = drawn((0.0, 1.0, None), (1.0, 1.0, 4.0))
    assert line.y[:2] == (0.5, 1.0)
    assert (line.low[0], line.high[0], line.seeds, line.last) == (0.0, 1.0, 2, 1.0)
    assert np.isnan(line.y[2])


def test_seeds_at_other_positions_keep_a_line_each():
    assert [line.seeds for line in drawn((0.0,), (1.0, 2.0))] == [1, 1]


def test_boundaries_of_all_curves_are_gathered_once():
    curves = [Curve(x=(0,), y=(0,), x_label="x", y_label="y", boundaries=b) for b in ((5, 2), (2, 9))]
    runs = tuple(Run(method="er", seed=k, curves={"a": curve}) for k, curve in enumerate(curves))
    assert boundaries(Report(title="t", runs=runs), "a") == (2, 5, 9)


@given(st.integers(0, 1000))
def test_a_long_line_is_thinned_without_losing_its_ends_its_extremes_or_its_gap(seed):
    rng = np.random.default_rng(seed)
    y = rng.normal(size=5000)
    gap = int(rng.integers(1, 4999))
    y[gap] = np.nan
    (line,) = drawn(tuple(y.tolist()), points=200)
    assert len(line.x) <= 320
    assert (line.x[0], line.x[-1]) == (0, 4999)
    assert np.nanmax(line.y) == np.nanmax(y)
    assert np.nanmin(line.y) == np.nanmin(y)
    assert [x for x, y in zip(line.x, line.y, strict=True) if np.isnan(y)] == [gap]
    assert (np.diff(line.x) > 0).all()


def test_a_short_line_is_drawn_whole():
    (line,) = drawn(tuple(float(k) for k in range(600)))
    assert len(line.x) == 600


def test_a_line_that_others_hide_is_drawn_wider_and_can_be_seen() -> None:
    same, other = (
        Curve(x=(0, 1, 2), y=(1, 1, 1), x_label="", y_label=""),
        Curve(x=(0, 1, 2), y=(1, 1, 0), x_label="", y_label=""),
    )
    runs = [
        Run(method=m, seed=0, curves={"a": c}) for m, c in (("one", same), ("two", other), ("three", same))
    ]
    report = Report(title="t", runs=tuple(runs))
    assert [line.covered for line in lines(report, "a")] == [2, 1, 0]
    assert "line hue-0 under-2" in chart(report, "a")
