"""tenuto export: the model as a file, whole or distilled, and a new home that begins from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.cli.conftest import document, example, within, write


def test_a_distilled_model_is_measured_and_can_be_learned_on_from(learned: Path, tmp_path: Path) -> None:
    unseen = write(tmp_path / "unseen.jsonl", [example(n) for n in range(5000, 5200)])
    more = write(tmp_path / "more.jsonl", [example(n) for n in range(300)])
    out = tmp_path / "small.safetensors"
    asked = ("export", "--home", learned, "--distil", "4", "--rows", more, "--holdout", unseen, "--json")
    told = document(within(*asked, "--out", out))
    assert told["after"]["bytes"] == out.stat().st_size < told["before"]["bytes"]
    tensors = load_file(out)
    trained = {name: tensor for name, tensor in tensors.items() if not name.startswith("standardize")}
    assert told["after"]["parameters"] == sum(t.numel() for t in trained.values()) == 40
    assert told["held"] == 200
    assert told["seen"] is False
    assert told["after"]["accuracy"] > 0.5
    home = tmp_path / "small"
    begun = within(
        *("learn", more, "--home", home, "--model", told["model"], "--weights", out, "--learning-rate", "0"),
        *("--classes", ",".join(map(str, told["classes"])), "--holdout", unseen, "--json"),
    )
    assert begun.returncode == 0, begun.stderr
    assert document(begun)["holdout"] == pytest.approx(told["after"]["accuracy"], abs=0.03)


def test_the_whole_model_and_a_word_to_a_person(learned: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.safetensors"
    told = document(within("export", "--home", learned, "--out", out, "--json"))
    assert told == {"out": str(out), "bytes": out.stat().st_size}
    assert len(load_file(out)["head.bias"]) == 4
    said = within("export", "--home", learned, "--out", out, "--distil", "3", "--epochs", "2")
    assert said.returncode == 0, said.stderr
    assert f"--weights {out} --classes" in said.stdout
    assert "held out, which the large model may have learned" in said.stdout


def test_wrong_options_are_named(learned: Path, tmp_path: Path) -> None:
    out = tmp_path / "model.safetensors"
    for wrong, word in {
        ("--distil", "small"): "no widths",
        ("--holdout", "rows.jsonl"): "--distil WIDTHS",
        ("--out", tmp_path / "no" / "model"): "there is no folder",
    }.items():
        said = within("export", "--home", learned, "--out", out, *wrong)
        assert said.returncode == 2, said.stdout
        assert word in said.stderr
    assert not out.exists()
