"""What is exported is what was learned, in the form every engine takes; a fake one enforces their rules."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tenuto import Learner
from tenuto.adapters.engines import Engine
from tenuto.adapters.export import WEIGHTS, Exported, export
from tenuto.errors import ConfigError, StreamError
from tests import language
from tests.unit.adapters.test_language import CONFIG

ABOUT = {"base_sha256": "0" * 64}
TENSOR = re.compile(r"base_model\.model\.model\.layers\.\d+\.(self_attn|mlp)\.\w+\.lora_[AB]\.weight")


def learned(rank: int = 8) -> Learner:
    learner = Learner(language.model(rank=rank), CONFIG)
    for row in language.rows() * 3:
        learner.learn_one(row)
    return learner


def write(learner: Learner, folder: Path, generation: int = 1) -> Exported:
    base: Any = learner.model.base
    return export(base, folder, name="facts", generation=generation, base="stories260K", about=ABOUT)


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize("rank", [4, 8, 12])
def test_it_loads_with_peft_and_answers_the_same(tmp_path: Path, rank: int) -> None:
    from peft import PeftModel

    learner = learned(rank)
    made = write(learner, tmp_path)
    assert made.rank == {4: 8, 8: 8, 12: 16}[rank]
    loaded = PeftModel.from_pretrained(language.base(), made.folder)
    for row in language.rows():
        ids = torch.tensor([[t if t >= 0 else ~t for t in row.input.tolist() if t != 2**31 - 1]])
        with torch.no_grad():
            mine, theirs = learner.model.base(input_ids=ids).logits, loaded(input_ids=ids).logits
            bare = language.base()(input_ids=ids).logits
        assert (mine - theirs).abs().max() <= 1e-3
        assert (mine - bare).abs().max() > 0.1


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")
def test_an_adapter_on_some_blocks_is_loaded_on_these_alone(tmp_path: Path) -> None:
    from peft import PeftModel

    made: Any = language.model(targets=("down_proj",), layers=range(1, 3)).base
    with torch.no_grad():
        for name, one in made.named_parameters():
            one += 0.1 if "lora_B" in name else 0.0
    folder = export(made, tmp_path, name="facts", generation=1, base="stories260K", about=ABOUT).folder
    loaded = PeftModel.from_pretrained(language.base(), folder)
    names = {name.split(".lora_")[0] for name, _ in loaded.named_parameters() if ".lora_" in name}
    assert names == {f"base_model.model.model.layers.{block}.mlp.down_proj" for block in (1, 2)}
    ids = torch.tensor([[1, 5, 7]])
    with torch.no_grad():
        assert (made(input_ids=ids).logits - loaded(input_ids=ids).logits).abs().max() <= 1e-3


def test_the_manifest_tells_what_was_written(tmp_path: Path) -> None:
    made = write(learned(), tmp_path)
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest["name"] == "facts@1" == made.folder.name
    assert manifest["base_sha256"] == ABOUT["base_sha256"]
    for file, digest in manifest["sha256"].items():
        assert sha256((made.folder / file).read_bytes()).hexdigest() == digest == made.digests[file]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["facts@1"]


def test_a_generation_is_never_made_twice_and_names_are_no_paths(tmp_path: Path) -> None:
    learner = learned()
    write(learner, tmp_path)
    with pytest.raises(ConfigError, match="never made twice"):
        write(learner, tmp_path)
    assert write(learner, tmp_path, 2).name == "facts@2"
    for name in ("../facts", "/etc/facts", "Facts", "", "a" * 65):
        with pytest.raises(ConfigError, match="is no adapter's name"):
            export(learner.model.base, tmp_path, name=name, generation=1, base="b", about={})
    with pytest.raises(ConfigError, match="more than any engine takes"):
        write(learned(rank=80), tmp_path, 3)


class Server(ThreadingHTTPServer):
    """A fake engine: it holds adapters by name, and refuses what vLLM and SGLang refuse."""

    def __init__(self, most: int) -> None:
        super().__init__(("127.0.0.1", 0), Door)
        self.most, self.held = most, {}

    def refusal(self, name: str, path: str) -> str | None:
        """Why an adapter is not taken."""
        folder = Path(path)
        if name in self.held:
            return f"The lora adapter '{name}' has already been loaded."
        if not (folder / "adapter_config.json").is_file():
            return f"No adapter found for {path}"
        config = json.loads((folder / "adapter_config.json").read_text())
        if config["r"] not in (8, 16, 32, 64, 128, 256, 320, 512) or config["r"] > self.most:
            return f"LoRA rank {config['r']} is greater than max_lora_rank {self.most}."
        if config["bias"] != "none" or config.get("modules_to_save") or config.get("use_dora"):
            return "only LoRA without bias, modules_to_save and DoRA is supported"
        if config.get("use_rslora") or config.get("rank_pattern") or config.get("alpha_pattern"):
            return "patterns are not supported"
        tensors = load_file(folder / "adapter_model.safetensors")
        for key, tensor in tensors.items():
            if not TENSOR.fullmatch(key):
                return f"unexpected tensor {key}"
            if tensor.shape[0 if "lora_A" in key else 1] != config["r"]:
                return f"{key} is of another rank"
        return None


class Door(BaseHTTPRequestHandler):
    """Its HTTP door."""

    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        door, name = self.path.rpartition("/")[2], body["lora_name"]
        reason: str | None = "not found"
        if door == "load_lora_adapter":
            reason = self.server.refusal(name, body["lora_path"])
            self.server.held |= {} if reason else {name: body["lora_path"]}
        elif door == "unload_lora_adapter" and name in self.server.held:
            reason = None
            del self.server.held[name]
        said = (reason or "Success").encode()
        self.send_response(400 if reason else 200)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    """A fake engine on loopback."""
    made = Server(most=16)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
def test_an_engine_takes_it_and_refuses_what_engines_refuse(
    server: Server, kind: Any, tmp_path: Path
) -> None:
    engine = Engine(kind=kind, url=f"http://127.0.0.1:{server.server_port}/")
    learner = learned()
    made = write(learner, tmp_path)
    engine.load(made)
    assert server.held == {"facts@1": str(made.folder)}
    with pytest.raises(StreamError, match="already been loaded"):
        engine.load(made)
    engine.load(write(learner, tmp_path, 2))
    engine.unload("facts@1")
    assert list(server.held) == ["facts@2"]
    with pytest.raises(StreamError, match="refuses to unload facts@1"):
        engine.unload("facts@1")
    with pytest.raises(StreamError, match="greater than max_lora_rank"):
        engine.load(write(learned(rank=32), tmp_path, 3))
    broken = write(learner, tmp_path, 4)
    tensors = load_file(broken.folder / "adapter_model.safetensors")
    save_file({f"odd.{key}": one for key, one in tensors.items()}, broken.folder / WEIGHTS)
    with pytest.raises(StreamError, match="unexpected tensor"):
        engine.load(broken)


def test_an_engine_that_is_not_there_is_told() -> None:
    with pytest.raises(ConfigError, match="is unknown"):
        Engine(kind="ollama", url="http://127.0.0.1:1")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="no http address"):
        Engine(kind="vllm", url="file:///tmp")
    with pytest.raises(StreamError, match="no engine answers"):
        Engine(kind="vllm", url="http://127.0.0.1:9").unload("facts@1")
