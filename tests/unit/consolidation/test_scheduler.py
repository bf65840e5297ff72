"""The scheduler: due when it should be, once, whatever the clock does, and resumed in the middle."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tenuto.consolidation import ConsolidationScheduler, crosses
from tenuto.errors import ConfigError
from tenuto.reports import DriftReport

HOUR, DAY, YEAR = 3600.0, 86400.0, 365 * 86400.0
ALL: dict[str, Any] = {"rows": 50, "seconds": 100.0, "hour": 3.0, "idle": 20.0, "drifts": 2}


def report(rises: bool | None = True) -> DriftReport:
    return DriftReport(
        detector="ddm",
        statistic=1.0,
        threshold=0.5,
        p_value=None,
        window=(0, 9),
        reason="it rose",
        rises=rises,
    )


def cause(scheduler: ConsolidationScheduler, now: float) -> str | None:
    found = scheduler.due(now)
    return None if found is None else found.cause


def test_rows_come_due_exactly_and_stay_due_until_the_rest() -> None:
    scheduler = ConsolidationScheduler(rows=30)
    for tick in range(29):
        scheduler.seen(1, tick)
        assert scheduler.due(tick) is None
    scheduler.seen(1, 29)
    assert [cause(scheduler, 29), cause(scheduler, 30)] == ["rows", "rows"]
    scheduler.rested(30)
    assert scheduler.due(1e6) is None


def test_the_clock_waits_for_something_to_rest_from() -> None:
    scheduler = ConsolidationScheduler(seconds=60.0)
    scheduler.seen(0, 0)
    assert scheduler.due(1000) is None
    scheduler.seen(1, 1001)
    assert cause(scheduler, 1001) == "clock"
    scheduler.rested(1002)
    scheduler.seen(1, 1003)
    assert [cause(scheduler, 1061.9), cause(scheduler, 1062)] == [None, "clock"]


def test_a_row_ends_the_quiet() -> None:
    scheduler = ConsolidationScheduler(idle=10.0)
    for now in (0, 9, 18, 27):
        assert scheduler.due(now) is None
        scheduler.seen(1, now)
    scheduler.seen(0, 36)
    assert [cause(scheduler, 36.9), cause(scheduler, 37)] == [None, "idle"]


def test_an_hour_strikes_once_a_day() -> None:
    scheduler, found = ConsolidationScheduler(hour=3.5), []
    for quarter in range(4 * 24 * 5):
        now = 100 * DAY + quarter * HOUR / 4
        scheduler.seen(1, now)
        if scheduler.due(now):
            found.append(now % DAY / HOUR)
            scheduler.rested(now)
    assert found == [3.5] * 5


def test_drift_comes_due_without_rows_and_learning_is_no_drift() -> None:
    scheduler = ConsolidationScheduler(drifts=2)
    for rises in (True, False, False):
        scheduler.drifted(report(rises))
    assert scheduler.due(0) is None
    scheduler.drifted(report(None))
    due = scheduler.due(0)
    assert due is not None
    assert (due.cause, due.found) == ("drift", "it rose")
    scheduler.rested(0)
    assert scheduler.due(0) is None


@pytest.mark.parametrize("settings", [{"seconds": 60.0}, {"idle": 60.0}])
def test_a_clock_set_back_neither_hurries_nor_starves(settings: dict[str, float]) -> None:
    scheduler = ConsolidationScheduler(**settings)  # type: ignore[arg-type]
    scheduler.seen(1, YEAR)
    assert scheduler.due(YEAR + 40) is None
    assert scheduler.due(40) is None, "the jump itself is no time"
    assert scheduler.due(59) is None
    assert scheduler.due(60) is not None, "40 s before the jump and 20 s after it"


@pytest.mark.parametrize("settings", [{"seconds": 60.0}, {"idle": 60.0}, {"hour": 3.0}])
def test_a_clock_far_ahead_brings_one_rest_and_its_return_no_silence(settings: dict[str, float]) -> None:
    scheduler = ConsolidationScheduler(**settings)  # type: ignore[arg-type]
    scheduler.seen(1, 10.0)
    rests = 0
    for now in [10 + 30 * YEAR + s for s in range(50)]:
        if scheduler.due(now):
            scheduler.rested(now)
            rests += 1
        scheduler.seen(1, now)
    assert rests == 1
    rests = 0
    for now in [20.0 + 10 * s for s in range(int(2 * DAY / 10))]:
        scheduler.seen(int(now % 100 == 0), now)
        if scheduler.due(now):
            scheduler.rested(now)
            rests += 1
    assert rests >= 1


def test_an_hour_that_strikes_again_after_a_correction_is_the_same_hour() -> None:
    scheduler, rests = ConsolidationScheduler(hour=3.0), 0
    for minute in (-2, 1, -4, -1, 2, 5, -3, 4):
        now = 9 * DAY + 3 * HOUR + 60 * minute
        scheduler.seen(1, now)
        if scheduler.due(now):
            scheduler.rested(now)
            rests += 1
    assert rests == 1


def test_the_next_hour_strikes_though_the_clock_was_years_ahead_at_the_last() -> None:
    scheduler, struck = ConsolidationScheduler(hour=3.0), []
    ahead = 10_000 * DAY
    for hour in (2.9, 3.1, 22.0, 2.9, 3.1):
        now = (5 * DAY if struck and hour < 22 else ahead) + hour * HOUR
        scheduler.seen(1, now)
        if scheduler.due(now):
            scheduler.rested(now)
            struck.append(now)
    assert struck == [ahead + 3.1 * HOUR, 5 * DAY + 3.1 * HOUR]


TIMES = st.floats(-1e12, 1e12) | st.integers(-(10**15), 10**15)
TOLD = st.lists(
    st.tuples(st.sampled_from(["seen", "due", "rested", "drifted"]), TIMES, st.integers(0, 60)), max_size=40
)


def tell(scheduler: ConsolidationScheduler, what: str, now: float, rows: int) -> object:
    if what == "seen":
        return scheduler.seen(rows, now)
    if what == "drifted":
        return scheduler.drifted(report())
    return scheduler.due(now) if what == "due" else scheduler.rested(now)


@given(TOLD)
def test_whatever_the_clock_does_a_rest_ends_what_is_due(told: list[tuple[str, float, int]]) -> None:
    scheduler = ConsolidationScheduler(**ALL)
    rows = 0
    for what, now, n in told:
        tell(scheduler, what, now, n)
        rows = 0 if what == "rested" else rows + n * (what == "seen")
        due = scheduler.due(now)
        assert due == scheduler.due(now)
        if rows >= ALL["rows"]:
            assert due is not None, "a count needs no clock"
        if due is not None and due.cause != "drift":
            assert rows > 0
        if what == "rested":
            assert due is None


@given(TOLD, st.integers(0, 40))
def test_it_resumes_as_plain_data(told: list[tuple[str, float, int]], cut: int) -> None:
    whole, first = ConsolidationScheduler(**ALL), ConsolidationScheduler(**ALL)
    expected = [tell(whole, *one) for one in told]
    found = [tell(first, *one) for one in told[:cut]]
    second = ConsolidationScheduler(**ALL)
    second.load_state(json.loads(json.dumps(first.state())))
    found += [tell(second, *one) for one in told[cut:]]
    assert found == expected
    assert second.state() == whole.state()


@pytest.mark.parametrize(
    "settings",
    [
        {"rows": 0},
        {"rows": 1.5},
        {"seconds": 0.0},
        {"hour": 24.0},
        {"hour": -1.0},
        {"idle": float("nan")},
        {"drifts": 0},
    ],
)
def test_what_is_out_of_bounds_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings))):
        ConsolidationScheduler(**settings)


@pytest.mark.parametrize("now", [float("nan"), float("inf"), -float("inf")])
def test_a_time_that_is_no_number_is_refused_and_changes_nothing(now: float) -> None:
    scheduler = ConsolidationScheduler(**ALL)
    scheduler.seen(7, 5.0)
    before = scheduler.state()
    for what in ("seen", "due", "rested"):
        with pytest.raises(ConfigError, match="now"):
            tell(scheduler, what, now, 3)
    with pytest.raises(ConfigError, match="rows"):
        scheduler.seen(-1, 6.0)
    assert scheduler.state() == before


@given(st.integers(1, 50), st.lists(st.integers(1, 70), max_size=30))
def test_multiples_are_passed_wherever_batches_end(every: int, sizes: list[int]) -> None:
    seen = due = 0
    for size in sizes:
        due += crosses(every, seen, size)
        seen += size
        assert not crosses(None, seen, size)
    assert due <= seen // every
    assert max(sizes, default=0) > every or due == seen // every
