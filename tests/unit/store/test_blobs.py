"""Blobs hold what their names say, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from tenuto.errors import CorruptHome, StateError
from tenuto.store import blobs as module
from tenuto.store.blobs import DTYPES, Blobs, Ref
from tenuto.store.disk import Disk


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs", Disk())


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 4), (3, 5)])
def test_every_dtype_and_shape_comes_back_bit_by_bit(blobs: Blobs, name: str, shape: tuple[int, ...]):
    dtype = getattr(torch, name)
    raw = torch.randint(0, 2 if name == "bool" else 256, (*shape, max(dtype.itemsize, 1)), dtype=torch.uint8)
    tensor = raw.view(dtype).reshape(shape)
    ref = blobs.put({"x": tensor})["x"]
    assert Ref.parse(ref.plain()) == ref
    back = blobs.get(ref)
    assert (back.dtype, back.shape, bits(back)) == (tensor.dtype, tensor.shape, bits(tensor))


def test_a_blob_is_a_safetensors_file_byte_for_byte(blobs: Blobs):
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    (name,) = blobs.put({"x": tensor})["x"].blobs
    data = blobs.path(name).read_bytes()
    assert data == save({"tensor": tensor})
    assert torch.equal(load(data)["tensor"], tensor)
    assert blobs.path(name) == blobs.root / name[:2] / name[2:]


def test_views_gradients_and_arrays(blobs: Blobs):
    base = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    odd = {
        "transposed": base.T,
        "strided": base[:, ::2],
        "parameter": torch.nn.Parameter(base.clone()),
        "expanded": base[:1].expand(5, 4),
    }
    for key, ref in blobs.put(odd).items():
        assert torch.equal(blobs.get(ref), odd[key].detach())
        assert not blobs.get(ref).requires_grad
    array = np.arange(10, dtype=np.int64)[::-1]
    assert blobs.get(blobs.put({"a": array})["a"]).tolist() == array.tolist()
    assert blobs.put({"a": base.numpy()})["a"] == blobs.put({"a": base})["a"]


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(2, dtype=torch.complex64),
        torch.eye(2).to_sparse(),
        np.array(["text"]),
        np.zeros(2, dtype=">f4"),
    ],
)
def test_what_cannot_be_saved_is_named(blobs: Blobs, odd: object):
    with pytest.raises(StateError, match=r"state\.odd"):
        blobs.put({"state.odd": odd})
    assert blobs.names() == []


def test_a_large_tensor_is_cut_and_only_changed_parts_are_written(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    memory = torch.randn(100, 25)
    ref = blobs.put({"m": memory})["m"]
    assert (ref.rows, len(ref.blobs)) == (10, 10)
    assert torch.equal(blobs.get(ref), memory)
    stamps = {name: blobs.path(name).stat().st_mtime_ns for name in ref.blobs}
    memory[57] += 1
    later = blobs.put({"m": memory})["m"]
    assert [a == b for a, b in zip(ref.blobs, later.blobs, strict=True)] == [n != 5 for n in range(10)]
    assert torch.equal(blobs.get(later), memory)
    assert all(blobs.path(name).stat().st_mtime_ns == stamp for name, stamp in stamps.items())
    assert len(blobs.names()) == 11
    wide = torch.randn(3, 700)
    assert blobs.put({"w": wide})["w"].rows == 1
    assert torch.equal(blobs.get(blobs.put({"w": wide})["w"]), wide)
    uneven = torch.randn(33, 25)
    assert torch.equal(blobs.get(blobs.put({"u": uneven})["u"]), uneven)


def test_equal_parts_share_one_blob(blobs: Blobs, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    ref = blobs.put({"zeros": torch.zeros(100, 25), "again": torch.zeros(10, 25)})
    assert len(set(ref["zeros"].blobs)) == 1
    assert ref["again"].blobs == ref["zeros"].blobs[:1]
    assert torch.equal(blobs.get(ref["zeros"]), torch.zeros(100, 25))


@pytest.mark.parametrize("where", [0, 7, 8, 20, -9, -1])
def test_a_flipped_bit_anywhere_is_found(blobs: Blobs, where: int):
    ref = blobs.put({"x": torch.randn(8)})["x"]
    path = blobs.path(ref.blobs[0])
    data = bytearray(path.read_bytes())
    data[where] ^= 0x10
    path.write_bytes(data)
    for look in (lambda: blobs.get(ref), lambda: blobs.verify(ref.blobs)):
        with pytest.raises(CorruptHome, match="does not hold what its name says"):
            look()


@pytest.mark.parametrize("length", [0, 5, 40])
def test_a_cut_or_missing_blob_is_found(blobs: Blobs, length: int):
    ref = blobs.put({"x": torch.randn(8)})["x"]
    path = blobs.path(ref.blobs[0])
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CorruptHome):
        blobs.get(ref)
    path.unlink()
    with pytest.raises(CorruptHome, match="No such file"):
        blobs.get(ref)


def test_a_reference_that_does_not_fit_its_blob_is_refused(blobs: Blobs):
    ref = blobs.put({"x": torch.randn(8)})["x"]
    for shape, dtype in (((4, 2), "float32"), ((8,), "int32"), ((9,), "float32")):
        with pytest.raises(CorruptHome, match="its manifest says"):
            blobs.get(Ref(dtype=dtype, shape=shape, rows=0, blobs=ref.blobs))


GOOD = {"dtype": "float32", "shape": [4], "rows": 0, "blobs": ["a" * 64]}


@pytest.mark.parametrize(
    "change",
    [
        {"dtype": "object"},
        {"shape": [-1]},
        {"shape": "4"},
        {"shape": [True]},
        {"rows": 1},
        {"rows": "0"},
        {"blobs": ["../../etc/passwd"]},
        {"blobs": ["a/" * 32]},
        {"blobs": []},
        {"blobs": ["a" * 64] * 2},
    ],
)
def test_a_reference_out_of_form_is_refused(change: dict):
    assert Ref.parse(GOOD).shape == (4,)
    with pytest.raises(CorruptHome, match="no reference"):
        Ref.parse(GOOD | change)


def test_collect_deletes_the_unreachable_and_what_a_crash_left(blobs: Blobs):
    refs = blobs.put({"a": torch.zeros(3), "b": torch.ones(3), "c": torch.ones(4)})
    half = blobs.path(refs["a"].blobs[0]).with_name("half.tmp")
    half.write_bytes(b"half")
    assert blobs.collect(refs["b"].blobs) == 2
    assert blobs.names() == list(refs["b"].blobs)
    assert not half.exists()
    assert torch.equal(blobs.get(refs["b"]), torch.ones(3))
    assert blobs.get(blobs.put({"a": torch.zeros(3)})["a"]).tolist() == [0.0] * 3
