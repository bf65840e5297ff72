"""The comparison with other frameworks: what the sides are given, and that one that fails is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.peers import ours
from benchmarks.peers.__main__ import OURS, Worker, lines
from benchmarks.peers.stream import CLASSES, CONTEXTS, Net, Stream, run

ROOT = Path(__file__).parents[2]


def small(rows: int = 40) -> Stream:
    """Ten classes at ten corners, two a context."""
    draws = torch.Generator().manual_seed(5)

    def part(context: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = 2 * context + torch.arange(rows) % 2
        noise = 0.1 * torch.randn(rows, CLASSES, generator=draws)
        return torch.eye(CLASSES)[labels] + noise, labels

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        weights = {name: tensor.detach() for name, tensor in Net(CLASSES).state_dict().items()}
    return Stream(7, [part(k) for k in range(CONTEXTS)], [part(k) for k in range(CONTEXTS)], weights)


def test_a_stream_is_read_as_it_was_written(tmp_path: Path) -> None:
    stream = small()
    stream.save(tmp_path / "stream.npz")
    read = Stream.load(tmp_path / "stream.npz")
    assert read.seed == stream.seed
    for mine, its in zip([*stream.contexts, *stream.tests], [*read.contexts, *read.tests], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, its, strict=True))
    assert all(torch.equal(a, read.net().state_dict()[name]) for name, a in stream.weights.items())


@pytest.mark.parametrize("method", ["gdumb", "slda"])
def test_our_side_is_judged_on_every_context_after_each(method: str) -> None:
    found = run(ours.METHODS[method], small())
    matrix = found["matrix"]
    assert isinstance(matrix, list)
    assert [len(row) for row in matrix] == [CONTEXTS] * CONTEXTS
    assert min(matrix[-1]) > 0.9
    assert matrix[0][1:] == [0.0] * (CONTEXTS - 1)
    assert found["finite"]


def test_every_method_takes_its_common_settings() -> None:
    for method, make in ours.METHODS.items():
        assert make(small(2)).outputs(torch.zeros(3, CLASSES)).shape == (3, CLASSES), method


def test_a_side_that_fails_says_why_and_goes_on(tmp_path: Path) -> None:
    worker = Worker(OURS, sys.executable, tmp_path / "log")
    try:
        small(4).save(tmp_path / "stream.npz")
        failed = worker.ask("unheard-of", tmp_path / "stream.npz")
        assert failed == {"failed": "KeyError: 'unheard-of'"}
        found = worker.ask("naive", tmp_path / "stream.npz")
        assert found["us_per_row"] > 0
    finally:
        worker.close()
    runs = [
        {"method": "naive", "framework": OURS, "seed": 0, **found},
        {"method": "naive", "framework": "other", "seed": 0, **failed},
    ]
    assert [line[2] for line in lines(runs)][1] == "failed: KeyError: 'unheard-of'"


def test_the_stand_in_for_torchvision_raises_where_it_is_used() -> None:
    program = """
import sys
sys.path.insert(0, "benchmarks/peers/shim")
from torchvision.datasets import MNIST
from torchvision.transforms import Compose, Lambda, ToTensor
class Own(MNIST):
    pass
print(Compose([Lambda(lambda x: x + 1), Lambda(lambda x: x * 2)])(3))
try:
    ToTensor()(3)
except NotImplementedError as error:
    print(error)
"""
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines() == ["8", "ToTensor needs the real torchvision"]
