"""The papers' tables: streams as they are told, runs never repeated, every line of the tables shown."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from tenuto.cli.bench import command
from tenuto.cli.studies.papers import SEEDS, TUNING, lines
from tenuto.errors import ConfigError, StoreError, StreamError
from tenuto.methods import known, load
from tenuto.studies.papers import campaign, figures, page, settings
from tenuto.studies.papers.protocols import PROTOCOLS, Job, Setting
from tenuto.studies.papers.results import Results
from tenuto.studies.papers.run import made, network, perform
from tenuto.studies.papers.streams import BLACK, KINDS, PIXELS, Contexts, Digits, digest, turn
from tenuto.studies.papers.table import HEAD, Entry, entries

NAIVE = Setting(method="naive", config={"learning_rate": 0.1})
JOB = Job(protocol="p-mnist", setting=Setting(method="er", config={"learning_rate": 0.1}), seed=3, buffer=50)


def idx(path: Path, array: np.ndarray) -> None:
    """Write an array of bytes as IDX."""
    path.write_bytes(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten classes, each a bright block of its own: 300 rows to learn, 60 to test on."""
    folder, draw = tmp_path_factory.mktemp("digits"), np.random.default_rng(0)
    for part, rows in (("train", 300), ("t10k", 60)):
        labels = np.arange(rows, dtype=np.uint8) % 10
        images = draw.integers(0, 60, (rows, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[2 * label : 2 * label + 5, 4:20] = 250
        idx(folder / f"{part}-images-idx3-ubyte", images)
        idx(folder / f"{part}-labels-idx1-ubyte", labels)
    return folder


@pytest.fixture(scope="module")
def digits(folder: Path) -> Digits:
    return Digits.load(folder)


# Streams -------------------------------------------------------------------------------------


def test_permutations_are_the_seeds_and_lose_no_pixel(digits: Digits) -> None:
    once, again, other = (Contexts(digits, "permuted", 3, seed).contexts for seed in (0, 0, 1))
    for a, b, c in zip(once, again, other, strict=True):
        assert torch.equal(a.pixels, b.pixels)
        assert not torch.equal(a.pixels, c.pixels)
        assert torch.equal(a.pixels.sort().values, torch.arange(PIXELS))
    assert not torch.equal(once[0].pixels, once[1].pixels)
    assert torch.equal(once[1].pixels, Contexts(digits, "permuted", 20, 0).contexts[1].pixels)


def test_an_epoch_holds_every_row_once_under_the_contexts_map(digits: Digits) -> None:
    contexts = Contexts(digits, "permuted", 2, 0)
    pieces = list(contexts.batches(1, 128))
    assert [len(targets) for _, targets in pieces] == [128, 128, 44]
    found = torch.cat([inputs for inputs, _ in pieces])
    wanted = digits.train[0][:, contexts.contexts[1].pixels]
    assert sorted(map(tuple, found.tolist())) == sorted(map(tuple, wanted.tolist()))
    other = torch.cat([inputs for inputs, _ in contexts.batches(1, 128, epoch=1)])
    assert not torch.equal(found, other)


@pytest.mark.parametrize(("degrees", "quarters"), [(0.0, 0), (90.0, 1), (180.0, 2), (270.0, 3)])
def test_a_quarter_turn_is_exact(degrees: float, quarters: int) -> None:
    image = torch.arange(PIXELS).view(28, 28)
    assert torch.equal(turn(degrees), image.rot90(quarters).flatten())


def test_a_turn_keeps_the_middle_and_blackens_the_corners() -> None:
    turned = turn(45.0).view(28, 28)
    corners = turned[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == BLACK).all()
    middle = {13 * 28 + 13, 13 * 28 + 14, 14 * 28 + 13, 14 * 28 + 14}
    assert set(turned[13:15, 13:15].flatten().tolist()) <= middle
    across = turned[14, 24] % 28, turned[14, 24] // 28
    assert across[0] < 24
    assert across[1] > 14, "what is right of the middle comes from below: the turn is counter-clockwise"


def test_rotations_lie_between_none_and_a_half_turn(digits: Digits) -> None:
    contexts = Contexts(digits, "rotated", 4, 0)
    inputs, _ = next(contexts.batches(0, 10))
    assert inputs.shape == (10, PIXELS)
    assert len({tuple(context.pixels.tolist()) for context in contexts.contexts}) == 4


def test_split_contexts_hold_their_classes_alone(digits: Digits) -> None:
    contexts = Contexts(digits, "split", 5, 0)
    for number in range(5):
        for rows in (contexts.batches(number, 7), contexts.tests(number)):
            assert {int(t) for _, targets in rows for t in targets} == {2 * number, 2 * number + 1}
    with pytest.raises(ConfigError, match="3 contexts"):
        Contexts(digits, "split", 3, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_mixed_rows_are_those_of_all_contexts(digits: Digits, kind: str) -> None:
    contexts = Contexts(digits, kind, 2, 0)
    apart = [tuple(x) for number in (0, 1) for xs, _ in contexts.batches(number, 50) for x in xs.tolist()]
    mixed = [tuple(x) for xs, _ in contexts.mixed(64) for x in xs.tolist()]
    assert len(mixed) == contexts.rows
    assert sorted(mixed) == sorted(apart)
    assert mixed != apart


def test_held_out_rows_are_no_test_rows_and_are_not_learned(digits: Digits) -> None:
    part = digits.held_out(100)
    learned, apart = (set(map(tuple, rows[0].tolist())) for rows in (part.train, part.test))
    assert (len(learned), len(apart)) == (270, 30)
    assert not learned & apart
    assert learned | apart == set(map(tuple, digits.train[0].tolist()))


def test_a_folder_without_mnist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StreamError, match="train-images-idx3-ubyte"):
        Digits.load(tmp_path)


# Protocols -----------------------------------------------------------------------------------


def test_every_figure_of_the_papers_has_its_line() -> None:
    counted = {name: len(list(figures.lines(name))) for name in PROTOCOLS}
    assert counted == {"p-mnist": 22, "r-mnist": 22, "s-mnist": 25, "p-mnist-10": 10}
    names = {line.method for line in lines((), (), ())}
    assert {"joint", "SGD", "online EWC", "SI", "ER", "MER", "GEM", "A-GEM", "GSS", "DER", "DER++"} <= names
    assert {"GPM", "TRGP", "CUBER", "EWC"} <= names


@pytest.mark.parametrize("line", lines((), (), ()), ids=str)
def test_a_setting_is_one_the_library_takes(line: figures.Line) -> None:
    found = settings.setting(line)
    if found is None or found.method not in known():
        return
    assert "learning_rate" in found.config
    load(found.method, found.options)
    job = Job(protocol=line.protocol, setting=found, seed=0, buffer=line.buffer)
    config = made(job).config
    assert config.head == "fixed"
    assert line.buffer is None or config.memory_size == line.buffer
    for trial in campaign.grid(line, found):
        made(replace(job, setting=trial))


def test_settings_stand_under_names_that_the_tables_have() -> None:
    for name, methods in settings.SETTINGS.items():
        there = {line.method for line in figures.lines(name)}
        assert set(methods) <= there
        for sized in methods.values():
            assert set(sized) <= {None, *PROTOCOLS[name].buffers}


def test_no_seed_is_both_chosen_on_and_reported() -> None:
    assert not set(SEEDS) & set(TUNING)


def test_the_network_is_the_papers_and_reads_pixels_as_they_are() -> None:
    net = network(PROTOCOLS["p-mnist"], 0)
    assert [tuple(p.shape) for p in net.parameters()] == [
        (100, 784),
        (100,),
        (100, 100),
        (100,),
        (10, 100),
        (10,),
    ]
    assert not list(net.buffers())
    assert not any("bias" in name for name, _ in network(PROTOCOLS["p-mnist-10"], 0).named_parameters())
    assert not torch.equal(next(net.parameters()), next(network(PROTOCOLS["p-mnist"], 1).parameters()))


def test_the_key_names_what_the_figure_depends_on_and_nothing_else() -> None:
    changed = [
        replace(JOB, seed=4),
        replace(JOB, buffer=60),
        replace(JOB, protocol="r-mnist"),
        replace(JOB, setting=replace(JOB.setting, config={"learning_rate": 0.2})),
        replace(JOB, setting=replace(JOB.setting, options={"ratio": 0.4})),
        replace(JOB, setting=replace(JOB.setting, mixed=True)),
        replace(JOB, judged="validation"),
        replace(JOB, contexts=2),
        replace(JOB, data="0"),
    ]
    assert len({job.key for job in (JOB, *changed)}) == len(changed) + 1
    assert replace(JOB, matrix=True).key == JOB.key
    assert Job.from_plain(json.loads(json.dumps(JOB.to_plain()))).key == JOB.key


# Runs ----------------------------------------------------------------------------------------


def test_a_run_gives_the_same_figures_again_and_its_matrix_changes_none(digits: Digits) -> None:
    job = replace(JOB, contexts=3)
    told: list[tuple[int, int]] = []
    first = perform(job, digits, lambda done, total: told.append((done, total)))
    again = perform(job, digits, lambda done, total: None)
    whole = perform(replace(job, matrix=True), digits, lambda done, total: None)
    assert told[-1] == (900, 900)
    assert first.accuracies == again.accuracies == whole.accuracies
    assert first.matrix is None
    assert whole.matrix is not None
    assert [len(row) for row in whole.matrix] == [3, 3, 3]
    assert whole.matrix[-1] == whole.accuracies


def test_joint_training_learns_what_plain_descent_forgets(digits: Digits) -> None:
    job = Job(protocol="s-mnist", setting=NAIVE, seed=0)
    joint = perform(replace(job, setting=replace(NAIVE, mixed=True)), digits, lambda done, total: None)
    naive = perform(job, digits, lambda done, total: None)
    assert sum(naive.accuracies) / 5 < 0.5 < 0.8 < sum(joint.accuracies) / 5


def test_validation_rows_judge_in_place_of_test_rows(digits: Digits) -> None:
    blind = Digits(digits.train, (digits.test[0][:0], digits.test[1][:0]))
    job = replace(JOB, judged="validation", contexts=2)
    outcomes = [perform(job, rows, lambda done, total: None).accuracies for rows in (digits, blind)]
    assert outcomes[0] == outcomes[1]


# Results -------------------------------------------------------------------------------------


def test_what_was_measured_is_found_again_and_a_cut_line_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    results = Results(path)
    results.add(JOB, {"accuracy": 0.5, "matrix": None})
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"key": "cut')
    held = Results(path)
    assert held.of(JOB) == {"accuracy": 0.5, "matrix": None}
    assert held.of(replace(JOB, seed=4)) is None
    assert held.of(replace(JOB, matrix=True)) is None
    held.add(replace(JOB, seed=4), {"accuracy": 0.25, "matrix": None})
    assert path.read_bytes().startswith(whole)
    assert [outcome["accuracy"] for _, outcome in Results(path)] == [0.5, 0.25]


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"key": "a"}'])
def test_a_line_that_is_no_result_is_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "results.jsonl").write_text(f"{line}\n")
    with pytest.raises(StoreError, match="line 1"):
        Results(tmp_path / "results.jsonl")


def test_a_campaign_runs_what_is_missing_and_tells_what_failed(folder: Path, tmp_path: Path) -> None:
    results = Results(tmp_path / "results.jsonl")
    good = replace(JOB, contexts=1)
    bad = replace(good, setting=Setting(method="er", config={"learning_rate": -1.0}))
    told: list[int] = []
    failures = campaign.run(
        [good, bad], results, folder, workers=2, tell=lambda job, done, total: told.append(done)
    )
    assert [failure.job for failure in failures] == [bad]
    assert "learning_rate is -1.0" in failures[0].reason
    assert told[-1] == 300
    kept = results.path.read_bytes()
    assert campaign.run([good], Results(results.path), folder, workers=1, tell=_never) == []
    assert results.path.read_bytes() == kept


def _never(job: Job, done: int, total: int) -> None:
    raise AssertionError(f"{job} was run again")


# Tables --------------------------------------------------------------------------------------


@pytest.fixture
def entry(tmp_path: Path) -> Entry:
    """DER++ with 500 rows on permuted MNIST, as if two seeds had been run."""
    results = Results(tmp_path / "results.jsonl")
    line = next(line for line in figures.lines("p-mnist") if (line.method, line.buffer) == ("DER++", 500))
    for job, accuracy in zip(campaign.jobs([line], (0, 1), "d"), (0.88, 0.885), strict=True):
        results.add(job, {"accuracy": accuracy, "matrix": [[0.9, 0.1], [0.7, 0.9]], "learning": 20.0})
    (found,) = entries([line], (0, 1, 2), "d", results)
    return found


def test_a_table_shows_ours_with_its_interval_beside_the_papers(entry: Entry) -> None:
    told = dict(zip(HEAD, entry.cells(), strict=True))
    assert told["ours"] == "88.25 ± 3.18"
    assert (told["paper"], told["seeds"], told["buffer"]) == ("88.21", "2", "500")
    assert entry.difference == pytest.approx(0.04)
    assert entry.to_plain()["backward_transfer"] == pytest.approx(-20.0)
    assert entry.to_plain()["accuracies"] == {"0": 88.0, "1": 88.5}


def test_a_page_shows_every_line_run_or_not(entry: Entry) -> None:
    others = [Entry(line=line, setting=None) for line in figures.lines("p-mnist-10")]
    drawn = page.render([entry, *others], {"command": "tenuto bench papers"})
    assert drawn.count("<svg") == 2
    for text in ("88.25 ± 3.18", "88.21", "TRGP", "96.34", "CUBER", PROTOCOLS["p-mnist"].title):
        assert text in drawn
    for loaded in ("http:", "https:", "<script", "src=", "url("):
        assert loaded not in drawn


def test_the_verb_draws_what_was_measured_without_running(folder: Path, tmp_path: Path) -> None:
    (line,) = lines(("s-mnist",), ("DER",), (200,))
    results = Results(tmp_path / "results.jsonl")
    for job in campaign.jobs([line], (0,), digest(folder)):
        results.add(job, {"accuracy": 0.84, "matrix": None, "learning": 2.0})
    asked = ["papers", "--draw", "--only", "s-mnist", "--methods", "DER", "--json"]
    where = ["--data", str(folder), "--out", str(tmp_path)]
    done = CliRunner().invoke(command, [*asked, *where], standalone_mode=False)
    assert done.return_value == 0, done.output
    told = json.loads(done.stdout)
    assert [line["ours"] for line in told["lines"]] == [84.0, None, None]
    assert Path(told["page"]).read_text().count("<svg") == len(PROTOCOLS)


def test_a_name_in_no_table_is_a_usage_error(folder: Path, tmp_path: Path) -> None:
    where = ["--data", str(folder), "--out", str(tmp_path)]
    done = CliRunner().invoke(command, ["papers", "--only", "q-mnist", *where])
    assert done.exit_code == 2
    assert "known: p-mnist" in done.output
