"""The plan of a sleep: pure, bounded, and fair to every recent row."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tenuto import OnlineLearnerConfig
from tenuto.consolidation import mixed, plan

SETTINGS = st.builds(
    OnlineLearnerConfig,
    sleep_updates=st.integers(0, 40),
    sleep_recent=st.floats(0.05, 1.0),
    refresh_every=st.integers(1, 4),
    batch_size=st.integers(1, 30),
)


@given(SETTINGS, st.integers(0, 50), st.integers(0, 9), st.booleans())
def test_every_recent_row_is_learned_as_often_as_any_other(
    config: OnlineLearnerConfig, recent: int, number: int, replays: bool
) -> None:
    made = plan(config, number=number, recent=recent, replays=replays)
    batches = [rows.tolist() for rows in mixed(made, seed=config.seed, number=number, recent=recent)]
    assert len(batches) == made.updates <= config.sleep_updates
    assert all(len(rows) == made.recent for rows in batches)
    times = np.bincount(np.array(batches, dtype=np.int64).ravel(), minlength=recent)
    assert len(times) == recent
    if recent:
        assert max(times) - min(times) <= 1
        assert made.updates * made.recent <= max(20 * recent + made.recent, made.recent)
    assert batches == [rows.tolist() for rows in mixed(made, seed=config.seed, number=number, recent=recent)]


@given(SETTINGS, st.integers(1, 50))
def test_a_batch_is_as_large_as_two_of_a_steps_fresh_ones(config: OnlineLearnerConfig, recent: int) -> None:
    mixes = plan(config, number=0, recent=recent, replays=True)
    replayed = mixes.recent * mixes.ratio / (1 - mixes.ratio) if mixes.ratio < 1 else 0
    assert 2 * config.batch_size <= mixes.recent + replayed + 1e-9 < 2 * config.batch_size + 1 / 0.05
    alone = plan(config, number=0, recent=recent, replays=False)
    assert (alone.recent, alone.ratio) == (2 * config.batch_size, 0.0)


def test_what_rehearses_makes_no_other_updates_and_without_recent_rows_there_are_none() -> None:
    config = OnlineLearnerConfig(sleep_updates=9)
    assert plan(config, number=0, recent=30, replays=False, rehearses=True).updates == 0
    assert plan(config, number=0, recent=0, replays=True).updates == 0
    assert plan(config, number=0, recent=0, replays=True).sleeps


def test_the_context_is_closed_every_nth_time() -> None:
    config = OnlineLearnerConfig(refresh_every=3)
    assert [plan(config, number=n, recent=0, replays=False).closes for n in range(6)] == [0, 0, 1, 0, 0, 1]
