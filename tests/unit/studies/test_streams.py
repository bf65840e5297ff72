"""Streams that move: what they show and when, that nothing is learned before it is answered, what is told."""

from __future__ import annotations

import gzip
import itertools
import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto import Batch
from tenuto.cli.bench import command
from tenuto.errors import ConfigError, StreamError
from tenuto.studies.papers.streams import Digits, turn, turns
from tenuto.studies.streams import campaign, river, telling
from tenuto.studies.streams.campaign import Data, Job, jobs
from tenuto.studies.streams.digits import BATCH, LEAP, leaping, turning
from tenuto.studies.streams.electricity import electricity
from tenuto.studies.streams.measuring import ACTING, WITHOUT, Walk, follower, solver, walk
from tenuto.studies.streams.mnist360 import DIGITS, Ring, angles, pairs, schedule
from tenuto.studies.streams.moving import Moving
from tenuto.studies.streams.solvers import PAPER, SETTINGS, TUNED, TUNING, solvers, tried

MNIST = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851]
"""How many training rows MNIST has of each digit from 0 to 8."""
EACH = 24


@pytest.fixture(scope="module")
def digits() -> Digits:
    """Images of noise, no two alike: 24 of each digit to learn, 8 to test on; the last pixel is black."""
    draws = torch.Generator().manual_seed(0)

    def rows(each: int) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = torch.randint(1, 256, (10 * each, 785), generator=draws, dtype=torch.uint8)
        inputs[:, -1] = 0
        return inputs, torch.arange(10).repeat(each)

    return Digits(rows(EACH), rows(8))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, digits: Digits) -> Path:
    """A folder of data: 300 half-hours whose label is the sign of the second column, and noisy digits."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "mnist").mkdir()
    for part, (inputs, targets) in (("train", digits.train), ("t10k", digits.test)):
        for name, array in (
            ("images-idx3", inputs[:, :-1].reshape(-1, 28, 28).numpy()),
            ("labels-idx1", targets.byte().numpy()),
        ):
            head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
            (folder / "mnist" / f"{part}-{name}-ubyte").write_bytes(head + array.tobytes())
    values = np.random.default_rng(0).normal(size=(300, 2)).round(3)
    (folder / "electricity").mkdir()
    with gzip.open(folder / "electricity" / "electricity.csv.gz", "wt") as file:
        file.write("a,b,class\n" + "".join(f"{a},{b},{int(b > 0)}\n" for a, b in values.tolist()))
    return folder


# MNIST-360: the schedule ----------------------------------------------------------------------


def test_every_digit_is_in_six_pairs_each_beside_its_neighbour() -> None:
    assert pairs() == [(i % 9, (i + 1) % 9) for i in range(27)]
    assert [sum(digit in pair for pair in pairs()) for digit in range(DIGITS)] == [6] * 9


@settings(max_examples=60)
@given(counts=st.lists(st.integers(6, 90), min_size=9, max_size=9), size=st.integers(1, 40))
def test_rows_come_once_in_order_of_their_pair_and_mixed_as_what_is_left(
    counts: list[int], size: int
) -> None:
    shown: dict[int, list[int]] = {digit: [] for digit in range(DIGITS)}
    parts = dict.fromkeys(range(DIGITS), 0)
    pair, left = -1, dict[int, int]()
    for piece in schedule(counts, size):
        one, other = pairs()[piece.pair]
        if piece.pair != pair:
            assert piece.pair == pair + 1
            assert not left or min(left.values()) == 0, "the next pair came before a part had run out"
            assert sum(left.values()) <= size, "no more than a batch is not shown"
            pair, left = piece.pair, {}
            for digit in (one, other):
                k, n = parts[digit], counts[digit]
                parts[digit] += 1
                left[digit] = (k + 1) * n // 6 - k * n // 6
        assert [digit for digit, _ in piece.rows] == [one, other]
        assert len(piece) == min(size, sum(left.values())) or min(left.values()) < size
        due = size * left[one] / sum(left.values())
        assert abs(len(piece.rows[0][1]) - min(due, left[one])) <= 0.5
        for digit, rows in piece.rows:
            shown[digit] += rows
            left[digit] -= len(rows)
    assert pair == 26
    for digit, rows in shown.items():
        assert rows == sorted(set(rows))
        assert set(rows) <= set(range(counts[digit]))


@pytest.mark.parametrize(("size", "rows"), [(1, 54024), (4, 54047), (8, 54051), (16, 54051)])
def test_of_mnist_nearly_every_row_is_shown(size: int, rows: int) -> None:
    assert sum(MNIST) == 54051
    assert sum(map(len, schedule(MNIST, size))) == rows


# MNIST-360: the rows --------------------------------------------------------------------------


def test_a_digit_turns_once_around_from_sixty_degrees_after_the_one_before() -> None:
    for digit in range(DIGITS):
        found = angles(digit, 36)
        assert float(found[0]) == 60 * (digit - 1)
        assert torch.equal(found.diff(), torch.full((35,), 10.0, dtype=torch.float64))


def test_many_turns_are_the_turns_one_by_one() -> None:
    degrees = torch.tensor([-60.0, 0.0, 12.5, 90.0, 359.0])
    assert torch.equal(turns(degrees), torch.stack([turn(angle) for angle in degrees.tolist()]))


def test_row_k_of_a_digit_is_an_unseen_image_turned_by_the_kth_angle(digits: Digits) -> None:
    inputs, targets = digits.train
    stream = Ring(digits, 3).stream(4)
    assert stream.rows == DIGITS * EACH
    assert len(stream.changes) == 26
    orders = []
    for digit in range(DIGITS):
        rows = torch.cat([x[t == digit] for x, t in stream.batches])
        asked = inputs[targets == digit]
        order = []
        for row, angle in zip(rows, angles(digit, EACH).tolist(), strict=True):
            same = (asked[:, turn(angle)] == row).all(1).nonzero().flatten()
            order += same.tolist()
        assert sorted(order) == list(range(EACH))
        orders.append(order)
    assert len({tuple(order) for order in orders}) == DIGITS, "each digit has an order of its own"
    upright = stream.batches[0]
    assert torch.equal(upright[1], torch.tensor([0, 0, 1, 1]))
    assert any(torch.equal(upright[0][2], image[:-1]) for image in inputs[targets == 1])


def test_the_pairs_change_where_the_stream_says(digits: Digits) -> None:
    stream = Ring(digits, 0).stream(4)
    labels = torch.cat([targets for _, targets in stream.batches])
    spans = zip((0, *stream.changes), (*stream.changes, len(labels)), strict=True)
    assert [set(labels[start:end].tolist()) for start, end in spans] == [set(pair) for pair in pairs()]


def test_test_rows_are_all_of_nine_digits_turned_evenly_from_upright(digits: Digits) -> None:
    asked = Ring(digits, 0).stream().test
    assert asked is not None
    inputs, labels = asked
    assert torch.equal(labels, torch.arange(9).repeat_interleave(8))
    for digit in range(DIGITS):
        images = digits.test[0][digits.test[1] == digit]
        wanted = torch.stack([image[turn(45.0 * k)] for k, image in enumerate(images)])
        assert torch.equal(inputs[labels == digit], wanted)


def test_mixed_rows_are_those_of_the_stream_in_another_order(digits: Digits) -> None:
    ring = Ring(digits, 0)
    whole, mixed = ring.stream(16), ring.mixed(10)

    def bag(stream: Moving) -> list[tuple[int, ...]]:
        return sorted((int(t), *x.tolist()) for xs, ts in stream.batches for x, t in zip(xs, ts, strict=True))

    assert bag(whole) == bag(mixed)
    assert [len(targets) for _, targets in mixed.batches] == [10] * 21 + [6]
    assert len(set(mixed.batches[0][1].tolist())) > 2


# MNIST-360: the table -------------------------------------------------------------------------


def test_every_figure_of_the_paper_has_its_line_and_setting() -> None:
    lines = list(solvers())
    assert len(lines) == sum(map(len, PAPER.values())) == len(SETTINGS)
    assert [line.paper for line in lines if line.method == "DER++"] == [54.16, 69.62, 76.03]


@pytest.mark.parametrize(
    ("name", "fresh", "joined"),
    [
        ("SGD", 4, 4),
        ("ER 200", 1, 17),
        ("ER 1000", 4, 20),
        ("A-GEM-R 200", 16, 16),
        ("GSS 500", 16, 32),
        ("DER 200", 16, 80),
        ("DER 1000", 8, 24),
        ("DER++ 500", 16, 48),
        ("DER++ 1000", 16, 272),
    ],
)
def test_a_step_joins_as_many_rows_as_the_authors_draw(
    digits: Digits, name: str, fresh: int, joined: int
) -> None:
    line = next(line for line in solvers() if line.name == name)
    learner = solver(line.setting, line.buffer, 0, 10)
    sizes = []
    for inputs, targets in Ring(digits, 0).mixed(line.batch).batches:
        trace = learner.learn_batch(Batch(inputs, targets))
        if len(targets) == fresh:
            sizes.append(len(trace.batch.inputs))
    assert sizes[-1] == max(sizes) == joined


def test_what_is_tried_is_judged_on_rows_held_out_under_seeds_of_its_own() -> None:
    trials = campaign.trials()
    assert {job.seed for job in trials} == set(TUNING)
    assert not set(TUNING) & set(range(20))
    assert all(job.held_out for job in trials)
    assert not any(job.held_out for job in jobs(["mnist-360"], 2))
    for line in solvers():
        if line.method in TUNED:
            asked = [one.setting for one in tried() if one.name == line.name]
            assert line.setting in asked, "what is used was among what was tried"


# Digits and electricity -----------------------------------------------------------------------


def test_digits_leap_where_the_stream_says_and_are_drawn_once(digits: Digits) -> None:
    stream = leaping(digits, 0)
    assert stream.rows == len(digits.train[1])
    assert stream.changes == ()
    many = Digits((digits.train[0].repeat(10, 1), digits.train[1].repeat(10)), digits.test)
    stream = leaping(many, 0)
    assert stream.changes == (LEAP, 2 * LEAP)
    first, later = stream.batches[0], stream.batches[LEAP // BATCH]
    assert (first[0] == 0).float().mean() != (later[0] == 0).float().mean()
    assert torch.equal(leaping(many, 0).batches[3][0], stream.batches[3][0])
    assert not torch.equal(leaping(many, 1).batches[3][0], stream.batches[3][0])


def test_digits_turn_a_little_every_fifty_rows(digits: Digits) -> None:
    stream = turning(digits, 0)
    inputs, targets = digits.train
    for row in (0, 40, 50, 230):
        images, labels = stream.batches[row // BATCH]
        asked = inputs[targets == labels[0]][:, turn(360 * (row // 50 * 50) / 10_000)]
        assert (asked == images[0]).all(1).any()


def test_electricity_comes_row_by_row_in_its_order(folder: Path) -> None:
    stream = electricity(folder / "electricity")
    assert stream.rows == len(stream.batches) == 300
    assert all(int(target) == int(inputs[0, 1] > 0) for inputs, target in stream.batches)
    head = stream.head(7)
    assert head.rows == 7
    assert torch.equal(head.batches[6][0], stream.batches[6][0])


def test_what_is_no_electricity_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match=r"holds no electricity\.csv\.gz"):
        electricity(tmp_path)
    path = tmp_path / "electricity.csv.gz"
    for text in (b"a,class\n1.0,yes\n", b"a,class\n1.0,0\n1.0\n"):
        path.write_bytes(gzip.compress(text))
        with pytest.raises(StreamError, match="not a table of numbers"):
            electricity(tmp_path)
    path.write_bytes(b"a,class\n")
    with pytest.raises(StreamError, match="not a table of numbers"):
        electricity(tmp_path)


# Measuring ------------------------------------------------------------------------------------


def test_a_row_is_answered_before_it_is_learned() -> None:
    draws = torch.Generator().manual_seed(0)
    batches = [
        (torch.randn(5, 3, generator=draws), torch.randint(2, (5,), generator=draws)) for _ in range(40)
    ]
    found = walk(follower(WITHOUT, 1, 2), Moving(batches=batches, classes=2, changes=(5,)))
    learner, wanted = follower(WITHOUT, 1, 2), []
    for inputs, targets in batches:
        if learner.stats.examples:
            wanted += (learner.outputs(inputs).argmax(1) == targets).tolist()
        learner.learn_batch(Batch(inputs, targets))
    assert found.hits.tolist()[5:] == wanted
    assert found.changes == (5,)
    assert found.accuracy == found.hits.sum() / 200


def test_drifts_are_found_where_the_labels_turn_and_acting_gains() -> None:
    draws = torch.Generator().manual_seed(0)
    batches = []
    for step in range(160):
        inputs = torch.randn(10, 4, generator=draws)
        batches.append((inputs, ((inputs[:, 0] > 0) ^ (step >= 80)).long()))
    stream = Moving(batches=batches, classes=2, changes=(800,))
    plain, acting = (walk(follower(who, 0, 2), stream) for who in (WITHOUT, ACTING))
    assert plain.drifts == ()
    assert any(800 < row < 1000 for row in acting.drifts)
    assert acting.accuracy > plain.accuracy


def test_no_change_is_right_as_often_as_a_label_repeats() -> None:
    pytest.importorskip("river")
    labels = [0, 0, 1, 1, 1, 0, 1, 0, 0]
    rows = [(torch.zeros(1, 2), torch.tensor([label])) for label in labels]
    found = river.walk("River NoChange", Moving(batches=rows, classes=2), 0)
    assert found.hits.tolist() == [False, *(a == b for a, b in itertools.pairwise(labels))]


def test_runs_are_the_same_in_other_processes(folder: Path) -> None:
    todo, data = [Job(stream="elec2", learner="acting", seed=1)], Data(folder=folder, rows=60)
    told: list[Job] = []
    here, there = (campaign.run(todo, data, workers, told.append) for workers in (1, 2))
    assert told == [*todo, *todo]
    for (job, mine), (same, theirs) in zip(here, there, strict=True):
        assert job == same
        assert mine.hits.tolist() == theirs.hits.tolist()


def test_a_stream_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="no stream 'elec3'; known: elec2, digits-leaps"):
        jobs(["elec3"], 1)
    with pytest.raises(ConfigError, match="at least 1"):
        jobs(["elec2"], 0)


# Telling --------------------------------------------------------------------------------------


def made(accuracies: list[float], drifts: tuple[int, ...] = ()) -> list[Walk]:
    return [Walk(hits=np.arange(10) < 10 * share, drifts=drifts) for share in accuracies]


def test_a_gain_is_paired_by_seed() -> None:
    plain, acting = made([0.5, 0.7]), made([0.6, 0.8], drifts=(3, 9))
    found = [
        (Job(stream="elec2", learner=who, seed=seed), one)
        for who, walks in (("without", plain), ("acting", acting))
        for seed, one in enumerate(walks)
    ]
    first, second = telling.moving(found)
    assert first.gain is None
    assert first.progressive == pytest.approx((50, 70))
    assert second.gain is not None
    assert second.gain.mean == pytest.approx(10)
    assert second.gain.half_width == pytest.approx(0)
    assert second.cells()[3:5] == ("10.00 ± 0.00", "2.0")


def test_a_curve_is_the_share_of_a_window_and_carries_the_marks() -> None:
    hits = np.arange(8000) >= 4000
    drawn = telling.curve(Walk(hits=hits, drifts=(4100,), changes=(4000,)))
    assert drawn.marks == (4100,)
    assert drawn.boundaries == (4000,)
    at = dict(zip(drawn.x, drawn.y, strict=True))
    assert (at[4000], at[4120], at[4200]) == (0, 60, 100)


def test_the_verb_tells_of_what_was_left_out_and_marks_drifts_on_its_page(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "river", None)
    where = ["--data", str(folder), "--out", str(tmp_path), "--seeds", "2"]
    done = CliRunner().invoke(
        command, ["streams", "--only", "elec2", *where, "--json"], standalone_mode=False
    )
    assert done.return_value == 0, done.output
    told = json.loads(done.stdout)
    assert [line["learner"] for line in told["progressive"]] == ["without", "acting"]
    assert told["mnist_360"] == []
    assert "River is not installed" in told["left_out"][0]
    page = Path(told["page"]).read_text()
    assert "River is not installed" in page
    assert "tenuto bench streams --seeds 2 --only elec2" in page
    assert ('class="mark' in page) == any(any(line["drifts"]) for line in told["progressive"])
    with pytest.raises(ConfigError, match="needs River"):
        river.walk("River ARF", electricity(folder / "electricity"), 0)


def test_the_verb_shows_the_papers_figures_beside_ours(folder: Path) -> None:
    asked = ["streams", "--only", "mnist-360", "--seeds", "1", "--rows", "32", "--data", str(folder)]
    done = CliRunner().invoke(command, asked, standalone_mode=False)
    assert done.return_value == 0, done.output
    lines = [line.split() for line in done.stdout.splitlines()]
    assert next(line for line in lines if line[:2] == ["GSS", "1,000"])[2] == "63.84"
    assert sum(line[:1] == ["MNIST-360"] for line in lines) == 3


def test_an_unknown_study_or_stream_is_named(folder: Path) -> None:
    done = CliRunner().invoke(command, ["stream"])
    assert done.exit_code == 2
    assert "did you mean 'streams'" in done.output
    done = CliRunner().invoke(command, ["streams", "--only", "elec3", "--data", str(folder)])
    assert isinstance(done.exception, ConfigError)
