"""An exported adapter comes back as it was, or not at all; adapters add up as their products do."""

from __future__ import annotations

import json
import math
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tenuto.adapters.bank import Bank
from tenuto.adapters.export import CONFIG, MANIFEST, WEIGHTS, export
from tenuto.adapters.loading import read
from tenuto.adapters.merge import merge
from tenuto.errors import ConfigError
from tenuto.trees import Tree
from tests.unit.adapters.test_bank import bank, logits

BASE = "b" * 64


@pytest.fixture(scope="module")
def made() -> Bank:
    """A bank of three adapters."""
    return bank()


@pytest.fixture
def folder(made: Bank, tmp_path: Path) -> Path:
    """One of them on disk."""
    about = {"base_sha256": BASE}
    return export(
        made.model, tmp_path, name="facts", generation=1, base="stories260K", about=about, adapter="one"
    ).folder


def signed(folder: Path) -> None:
    """Put the digests of the files as they are now into the manifest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["sha256"] = {
        name: sha256((folder / name).read_bytes()).hexdigest() for name in (CONFIG, WEIGHTS)
    }
    (folder / MANIFEST).write_text(json.dumps(manifest))


def test_what_was_exported_answers_the_same_when_it_is_read_back(folder: Path) -> None:
    other = bank()
    active, before = other.active, other.status
    other.load(folder, "back", base_digest=BASE)
    torch.testing.assert_close(logits(other, "back"), logits(other, "one"), rtol=1e-4, atol=1e-4)
    assert other.active == active
    assert other.status == {**before, "back": "frozen"}


def test_an_adapter_for_another_base_is_refused_and_none_is_added(folder: Path, made: Bank) -> None:
    names = made.names
    with pytest.raises(ConfigError, match="made for another base"):
        made.load(folder, "back", base_digest="c" * 64)
    with pytest.raises(ConfigError, match="is no adapter's name"):
        made.load(folder, "/etc/back", base_digest=BASE)
    tensors = load_file(folder / WEIGHTS)
    save_file(
        {key: one[:, :5].contiguous() if "_A" in key else one for key, one in tensors.items()},
        folder / WEIGHTS,
    )
    signed(folder)
    with pytest.raises(ConfigError, match="of another base or rank"):
        made.load(folder, "back", base_digest=BASE)
    assert made.names == names


def test_a_file_that_was_changed_is_refused(folder: Path) -> None:
    assert read(folder, BASE).rank == 8
    for name in (WEIGHTS, CONFIG):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(ConfigError, match="is not the file that was exported"):
            read(folder)
        (folder / name).write_bytes(whole)
    (folder / WEIGHTS).unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        read(folder)
    (folder / MANIFEST).write_text("{}")
    with pytest.raises(ConfigError, match="lacks one of"):
        read(folder)
    with pytest.raises(ConfigError, match="holds no exported adapter"):
        read(folder / "nothing")


def test_what_no_adapter_holds_is_refused_though_its_digest_is_right(folder: Path) -> None:
    tensors, config = load_file(folder / WEIGHTS), json.loads((folder / CONFIG).read_text())
    key = next(iter(tensors))
    broken: dict[str, Tree] = {
        "NaN": tensors | {key: torch.full_like(tensors[key], torch.nan)},
        "a pair": {name: one for name, one in tensors.items() if name != key},
        "not of rank": tensors | {key: torch.zeros(3, 3)},
    }
    for why, wrong in broken.items():
        save_file(wrong, folder / WEIGHTS)
        signed(folder)
        with pytest.raises(ConfigError, match=why):
            read(folder)
    (folder / WEIGHTS).write_bytes(b"not tensors")
    signed(folder)
    with pytest.raises(ConfigError, match="not a safetensors file"):
        read(folder)
    for more, why in (
        ({"use_dora": True}, "use_dora"),
        ({"r": 0}, "no LoRA"),
        ({"peft_type": "IA3"}, "no LoRA"),
    ):
        (folder / CONFIG).write_text(json.dumps(config | more))
        signed(folder)
        with pytest.raises(ConfigError, match=why):
            read(folder)


def product(tensors: Tree, layer: str) -> torch.Tensor:
    return tensors[f"{layer}.lora_B"].double() @ tensors[f"{layer}.lora_A"].double()


def test_merged_adapters_are_the_weighted_sum_of_their_products(made: Bank) -> None:
    one, two = made.tensors("one"), made.tensors("two")
    layers = {key.rpartition(".")[0] for key in one}
    whole = merge([(one, 0.25), (two, -2.0)])
    assert (whole.rank, whole.error) == (8, 0.0)
    for layer in layers:
        wanted = 0.25 * product(one, layer) - 2.0 * product(two, layer)
        torch.testing.assert_close(product(whole.tensors, layer), wanted, rtol=1e-4, atol=1e-5)


def test_what_a_smaller_rank_loses_is_told_and_is_the_least(made: Bank) -> None:
    parts = [(made.tensors(name), 1.0) for name in ("one", "two", "three")]
    whole, cut = merge(parts), merge(parts, rank=5)
    lost = energy = best = 0.0
    for layer in {key.rpartition(".")[0] for key in parts[0][0]}:
        d = product(whole.tensors, layer)
        lost += float((d - product(cut.tensors, layer)).square().sum())
        energy += float(d.square().sum())
        best += float(torch.linalg.svdvals(d)[5:].square().sum())
    assert cut.rank == 5
    assert cut.error == pytest.approx(math.sqrt(lost / energy), rel=1e-4)
    assert cut.error == pytest.approx(math.sqrt(best / energy), rel=1e-4)
    assert merge(parts, rank=20).error == pytest.approx(0.0, abs=1e-6)


def test_a_bank_merges_its_own_and_the_sum_answers_as_both(made: Bank) -> None:
    assert made.merge({"one": 1.0, "two": 0.0}, "sum") == 0.0
    torch.testing.assert_close(logits(made, "sum"), logits(made, "one"), rtol=1e-4, atol=1e-4)
    assert made.status["sum"] == "frozen"
    assert made.active == "three"


def test_what_does_not_add_up_is_refused(made: Bank) -> None:
    one = made.tensors("one")
    key = next(iter(one))
    with pytest.raises(ConfigError, match="one adapter at least"):
        merge([])
    with pytest.raises(ConfigError, match="other layers"):
        merge([(one, 1.0), ({name: t for name, t in one.items() if name != key}, 1.0)])
    with pytest.raises(ConfigError, match="no number"):
        merge([(one, math.nan)])
    with pytest.raises(ConfigError, match="of width"):
        merge([(one, 1.0), (one | {key: torch.zeros(4, 3)}, 1.0)])
