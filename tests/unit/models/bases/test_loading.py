"""A base is loaded frozen, known by its digest, and refused where its files ask for more than to be read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tenuto.errors import ConfigError
from tenuto.models.bases import load
from tenuto.models.bases.digest import digest
from tenuto.models.bases.places import need, package
from tests.data import folder as data
from tests.unit.models.bases.conftest import edit


def rewrite(folder: Path, **changes: torch.Tensor | None) -> None:
    """Write the weights again with some tensors changed, or left out where they are None."""
    path = folder / "model.safetensors"
    tensors = {**load_file(path), **changes}
    save_file({name: tensor for name, tensor in tensors.items() if tensor is not None}, path)


@pytest.mark.data
def test_the_llama_of_260k_parameters_tells_a_story() -> None:
    base = load(data("stories260K"))
    assert sum(parameter.numel() for parameter in base.model.parameters()) == 260_032
    assert not base.model.training
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    tokens = base.tokenizer("Once upon a time, there was a little girl", return_tensors="pt")["input_ids"]
    told = base.model.generate(tokens, max_new_tokens=20, do_sample=False)
    assert "She loved to play" in base.tokenizer.decode(told[0])
    assert base.model(tokens, labels=tokens).loss < 2.0


@pytest.mark.data
def test_a_precision_changes_the_weights_and_not_the_digest() -> None:
    exact, half = load(data("stories260K")), load(data("stories260K"), dtype="bfloat16")
    assert exact.digest == half.digest
    assert {parameter.dtype for parameter in exact.model.parameters()} == {torch.float32}
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.bfloat16}


def test_an_encoder_comes_without_a_pooling_layer() -> None:
    try:
        base = load("minilm")
    except ConfigError as error:
        pytest.skip(str(error))
    tokens = base.tokenizer(["how are you", "what is my balance"], padding=True, return_tensors="pt")
    assert base.model(**tokens).last_hidden_state.shape[::2] == (2, 384)
    assert not any("pooler" in name for name, _ in base.model.named_parameters())


def test_the_digest_is_of_tensors_and_configuration_and_not_of_their_packing(llama: Path) -> None:
    before = digest(llama)
    tensors = load_file(llama / "model.safetensors")
    first = dict(list(tensors.items())[:5])
    save_file(first, llama / "a.safetensors", metadata={"by": "another"})
    save_file({name: tensors[name] for name in tensors if name not in first}, llama / "b.safetensors")
    shards = {name: "a.safetensors" if name in first else "b.safetensors" for name in tensors}
    edit(llama / "model.safetensors.index.json", weight_map=shards, metadata={})
    (llama / "model.safetensors").unlink()
    edit(llama / "config.json", transformers_version="9.9")
    assert digest(llama) == before == load(llama).digest


@pytest.mark.parametrize("what", ["a bit", "a name", "a shape", "the configuration"])
def test_another_model_has_another_digest(llama: Path, what: str) -> None:
    before, path = digest(llama), llama / "model.safetensors"
    norm = load_file(path)["model.norm.weight"]
    if what == "a bit":
        with path.open("r+b") as file:
            file.seek(-1, os.SEEK_END)
            last = file.read(1)[0]
            file.seek(-1, os.SEEK_END)
            file.write(bytes([last ^ 1]))
    elif what == "a name":
        rewrite(llama, **{"model.norm.weight": None, "model.norm.weighs": norm})
    elif what == "a shape":
        rewrite(llama, **{"model.norm.weight": norm.reshape(8, 8)})
    else:
        edit(llama / "config.json", rms_norm_eps=1e-6)
    assert digest(llama) != before


REFUSED = {
    "config.json asks for code of its own": ("config.json", {"auto_map": {"AutoModel": "evil.M"}}),
    "config.json asks for code of its": (
        "config.json",
        {"text_config": [{"auto_map": {"AutoModel": "evil.M"}}]},
    ),
    "tokenizer_config.json asks for code": (
        "tokenizer_config.json",
        {"auto_map": {"AutoTokenizer": ["evil.M"]}},
    ),
    "asks for code from the hub": ("config.json", {"attn_implementation": "someone/kernel"}),
    "quantised": ("config.json", {"quantization_config": {"quant_method": "fp8"}}),
    "holds an adapter": ("adapter_config.json", {"base_model_name_or_path": "another/base"}),
    "a causal language model or an encoder": (
        "config.json",
        {"architectures": ["LlamaForTokenClassification"]},
    ),
    "cannot be loaded": ("config.json", {"model_type": "nothing"}),
    "chat template holds code": ("tokenizer_config.json", {"chat_template": "{{ ''.__class__ }}"}),
}


@pytest.mark.parametrize("told", REFUSED)
def test_what_asks_for_more_than_to_be_read_is_refused(llama: Path, told: str) -> None:
    file, changes = REFUSED[told]
    ran = llama / "ran"
    (llama / "evil.py").write_text(f"open({str(ran)!r}, 'w')\nclass M: ...\n")
    (llama / "chat_template.jinja").unlink(missing_ok=True)
    edit(llama / file, **changes)
    with pytest.raises(ConfigError, match=told):
        load(llama)
    assert not ran.exists()


def test_a_folder_without_a_model_is_refused(llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config.json is missing"):
        load(tmp_path)
    (llama / "model.safetensors").rename(llama / "kept")
    with pytest.raises(ConfigError, match=r"model.safetensors is missing"):
        load(llama)
    (llama / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ConfigError, match="pickled weights"):
        load(llama)
    edit(llama / "model.safetensors.index.json", weight_map={"a": "../kept"})
    with pytest.raises(ConfigError, match="no file beside it"):
        load(llama)


def test_broken_weights_are_refused(llama: Path) -> None:
    path = llama / "model.safetensors"
    whole = path.read_bytes()
    for cut in (0, 7, 100, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ConfigError, match="cut short"):
            load(llama)
    path.write_bytes(whole[:8] + b"\xff" + whole[9:])
    with pytest.raises(ConfigError, match="not a safetensors file"):
        load(llama)
    path.write_bytes(whole)
    rewrite(llama, **{"model.norm.weight": None})
    with pytest.raises(ConfigError, match=r"lack 1 tensors, as model\.norm\.weight"):
        load(llama)
    rewrite(llama, **{"model.norm.weight": torch.full((64,), torch.nan)})
    with pytest.raises(ConfigError, match=r"model\.norm\.weight holds NaN"):
        load(llama)
    rewrite(llama, **{"model.norm.weight": torch.ones(63)})
    with pytest.raises(ConfigError, match="cannot be loaded"):
        load(llama)


def test_messages_go_through_the_template(llama: Path) -> None:
    base = load(llama)
    messages = [{"role": "user", "content": "the cat"}, {"role": "assistant", "content": "sat"}]
    assert base.encode(messages) == [3, 4, 5]
    assert base.encode(messages, reply=True) == [3, 4, 5, 1]


@pytest.mark.parametrize(
    "template",
    [
        "{{ (''|attr('_'~'_class_'~'_')).mro() }}",
        "{{ cycler['_'~'_init_'~'_']['_'~'_globals_'~'_'].os.system('touch RAN') }}",
        "{{ messages.append({}) }}",
        "{% for i in range(10**9) %}{% endfor %}",
        "{{ raise_exception('no such role') }}",
        "{% if %}",
    ],
)
def test_a_hostile_template_reaches_nothing(llama: Path, template: str) -> None:
    (llama / "chat_template.jinja").write_text(template.replace("RAN", str(llama / "ran")))
    base = load(llama)
    messages = [{"role": "user", "content": "the cat"}]
    with pytest.raises(ConfigError, match="chat template"):
        base.encode(messages)
    assert messages == [{"role": "user", "content": "the cat"}]
    assert not (llama / "ran").exists()


def test_a_base_without_a_template_says_so(llama: Path) -> None:
    (llama / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="has no chat template"):
        load(llama).encode([{"role": "user", "content": "the cat"}])


def test_unknown_names_settings_and_packages_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="take smollm2, minilm, a folder"):
        load("gpt17")
    with pytest.raises(ConfigError, match="there is no folder"):
        load(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="float16"):
        load("smollm2", dtype="float64")
    with pytest.raises(ConfigError, match=r"pip install --no-deps no-such==1"):
        package("no_such_package", "no-such==1")
    with pytest.raises(ConfigError, match=r"pip install 'tenuto\[lm\]'"):
        need("no_such_package", "tenuto[lm]")


HUB = """
import json, sys
from tenuto.errors import ConfigError
from tenuto.models.bases.places import find
heavy = "transformers" in sys.modules
told = []
for name in ("owner/kept", "owner/coded", "owner/none"):
    try:
        told.append(find(name).digest)
    except ConfigError as error:
        told.append(str(error))
print(json.dumps([heavy, *told]))
"""


def test_the_hub_is_read_from_its_cache_where_no_network_is(llama: Path, tmp_path: Path) -> None:
    kept = digest(llama)
    for name in ("kept", "coded"):
        home = tmp_path / "hub" / f"models--owner--{name}"
        (home / "refs").mkdir(parents=True)
        (home / "refs" / "main").write_text("0" * 40)
        (home / "snapshots").mkdir()
        (home / "snapshots" / ("0" * 40)).symlink_to(llama if name == "kept" else tmp_path / "coded")
    edit_folder = tmp_path / "coded"
    edit_folder.mkdir()
    edit(edit_folder / "config.json", auto_map={})
    ran = subprocess.run(
        [sys.executable, "-c", HUB],
        env={**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_ENDPOINT": "http://127.0.0.1:9"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    heavy, first, second, third = json.loads(ran.stdout)
    assert not heavy
    assert first == kept
    assert "asks for code of its own" in second
    assert "the hub does not give a model of that name" in third
    assert "without a network" in third
