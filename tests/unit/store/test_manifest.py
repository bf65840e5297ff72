"""A state comes back to the last bit, and nothing but plain data goes in."""

from __future__ import annotations

import enum
import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tenuto.errors import CorruptHome, StateError
from tenuto.store.blobs import Blobs
from tenuto.store.disk import Disk
from tenuto.store.manifest import freeze, reachable, thaw
from tenuto.trees import digest


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(tmp_path_factory.mktemp("blobs"), Disk())


def same(left: object, right: object) -> bool:
    """Equal to the last bit, types included."""
    if type(left) is not type(right):
        return False
    if isinstance(left, float):
        return struct.pack("d", left) == struct.pack("d", right)
    if isinstance(left, torch.Tensor):
        return (
            left.dtype == right.dtype
            and left.shape == right.shape
            and left.reshape(-1).view(torch.uint8).tolist() == right.reshape(-1).view(torch.uint8).tolist()
        )
    if isinstance(left, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    return left == right


floats = st.floats() | st.integers(0, 2**64 - 1).map(lambda n: struct.unpack("d", struct.pack("Q", n))[0])
tensors = st.builds(
    lambda data, dtype: torch.tensor(data, dtype=torch.int64).to(dtype),
    st.lists(st.integers(-100, 100), max_size=5),
    st.sampled_from([torch.uint8, torch.int64, torch.float32, torch.float64, torch.bfloat16, torch.bool]),
)
plain = st.none() | st.booleans() | st.integers() | floats | st.text() | tensors
keys = st.text(max_size=5) | st.sampled_from(["$tensor", "$float", "$", "$$", "$int", "a.b", "a"])
trees = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)


@settings(max_examples=150, deadline=None)
@given(state=st.dictionaries(keys, trees, max_size=5))
def test_thaw_undoes_freeze_to_the_last_bit(blobs: Blobs, state: dict):
    manifest = freeze(state, blobs)
    stored = json.loads(json.dumps(manifest, allow_nan=False))
    assert same(thaw(stored, blobs), state)
    assert digest(thaw(stored, blobs)) == digest(state)
    blobs.verify(reachable(stored))


def test_tensors_of_like_named_paths_are_kept_apart(blobs: Blobs):
    state = {"a.b": torch.zeros(1), "a": {"b": torch.ones(1)}, "a['b']": torch.full((1,), 2.0)}
    assert same(thaw(freeze(state, blobs), blobs), state)


class Colour(enum.IntEnum):
    RED = 1


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "leaf",
    [
        (1, 2),
        {1, 2},
        b"bytes",
        1j,
        object(),
        np.float64(1.0),
        np.int64(1),
        np.zeros(2),
        Colour.RED,
        Text("x"),
        torch.float32,
        lambda: None,
    ],
)
def test_any_other_leaf_is_refused_by_its_path(blobs: Blobs, leaf: object):
    with pytest.raises(StateError, match=r"state\['deep'\]\[1\]"):
        freeze({"deep": [0, leaf]}, blobs)


@pytest.mark.parametrize("key", [1, None, 1.5, ("a",), Text("x")])
def test_keys_are_str(blobs: Blobs, key: object):
    with pytest.raises(StateError, match="Keys of a state are str"):
        freeze({"deep": {key: 1}}, blobs)


def test_a_state_is_a_dict(blobs: Blobs):
    with pytest.raises(StateError, match="a state is a dict"):
        freeze([1], blobs)
    with pytest.raises(CorruptHome, match="no state"):
        thaw({"$float": "7ff0000000000000"}, blobs)


@pytest.mark.parametrize(
    "node",
    [
        {"$pickle": "x"},
        {"$float": "zz"},
        {"$float": "00"},
        {"$float": 1},
        {"$int": "many"},
        {"$tensor": {"dtype": "float32"}},
        {"$tensor": None},
        {"$tensor": {}, "more": 1},
    ],
)
def test_a_manifest_out_of_form_is_corrupt(blobs: Blobs, node: object):
    with pytest.raises(CorruptHome):
        thaw({"x": node}, blobs)


THAWING = """
import sys
from pathlib import Path
import torch
from tenuto.store.blobs import Blobs
from tenuto.store.disk import Disk
from tenuto.store.manifest import freeze, thaw

def refuse(event, args):
    if event.startswith("pickle."):
        sys.exit(f"{event} {args}")

blobs = Blobs(Path(sys.argv[1]), Disk())
manifest = freeze({"w": torch.randn(4), "list": [1, "a", None]}, blobs)
sys.addaudithook(refuse)
thaw(manifest, blobs)
"""


def test_no_pickle_is_ever_opened(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", THAWING, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
