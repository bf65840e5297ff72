"""An exported adapter read back: nothing of it is used before all of it was checked.

The invariant: the files are those of the manifest, byte for byte; the adapter was made for this base, and
holds pairs of finite A (r, d_in) and B (d_out, r) of one rank and nothing else.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load

from tenuto.adapters.export import CONFIG, MANIFEST, WEIGHTS
from tenuto.errors import ConfigError
from tenuto.trees import Tree

_PLAIN = {
    "use_dora": False,
    "use_rslora": False,
    "bias": "none",
    "modules_to_save": None,
    "rank_pattern": {},
    "alpha_pattern": {},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """An adapter from disk.

    Args:
        name: `<name>@<generation>`.
        base: name or path of the base it was learned on.
        base_digest: the base's digest.
        rank: of every layer's.
        scale: what B A is multiplied with.
        tensors: `<layer>.lora_A` (r, d_in) and `<layer>.lora_B` (d_out, r).
        about: the whole manifest.
    """

    name: str
    base: str
    base_digest: str
    rank: int
    scale: float
    tensors: Tree
    about: dict[str, Any]


def read(folder: Path, base_digest: str | None = None) -> Saved:
    """The adapter in a folder that `export` wrote.

    Args:
        base_digest: of the base it is to be used with; None: any, as where adapters are only compared.

    Raises:
        ConfigError: a file is missing or not what the manifest says, the adapter was made for another base,
            or it is of a kind, shape or value that no adapter of this release has.
    """
    manifest = _manifest(folder)
    files = {}
    for name in (CONFIG, WEIGHTS):
        try:
            files[name] = (folder / name).read_bytes()
        except OSError as error:
            raise ConfigError(f"{folder / name} cannot be read: {error.strerror}") from error
        if sha256(files[name]).hexdigest() != manifest["sha256"][name]:
            raise ConfigError(f"{folder / name} is not the file that was exported: its digest is another")
    made = str(manifest["base_sha256"])
    if base_digest is not None and made != base_digest:
        raise ConfigError(
            f"{folder.name} was made for another base (sha256 {made[:12]}, {manifest['base']}); this one is "
            f"{base_digest[:12]}"
        )
    rank, scale = _form(folder, json.loads(files[CONFIG]))
    return Saved(
        name=str(manifest["name"]),
        base=str(manifest["base"]),
        base_digest=made,
        rank=rank,
        scale=scale,
        tensors=_tensors(folder, files[WEIGHTS], rank),
        about=manifest,
    )


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / MANIFEST).read_text())
    except OSError as error:
        raise ConfigError(f"{folder} holds no exported adapter: no {MANIFEST} can be read there") from error
    except ValueError as error:
        raise ConfigError(f"{folder / MANIFEST} is no JSON: {error}") from error
    wanted = {"name", "base", "base_sha256", "sha256"}
    if (
        not isinstance(found, dict)
        or not wanted <= found.keys()
        or not {CONFIG, WEIGHTS} <= set(found["sha256"])
    ):
        raise ConfigError(f"{folder / MANIFEST} lacks one of {', '.join(sorted(wanted))}")
    return found


def _form(folder: Path, config: dict[str, Any]) -> tuple[int, float]:
    """Rank and scale, where the adapter is plain."""
    for key, plain in _PLAIN.items():
        if config.get(key, plain) != plain:
            raise ConfigError(f"{folder.name} has {key}, which no adapter of this release has")
    rank, alpha = config.get("r"), config.get("lora_alpha")
    if (
        config.get("peft_type") != "LORA"
        or not isinstance(rank, int)
        or not isinstance(alpha, int)
        or rank < 1
    ):
        raise ConfigError(f"{folder.name} is no LoRA adapter with a rank and an alpha")
    return rank, alpha / rank


def _tensors(folder: Path, content: bytes, rank: int) -> Tree:
    """The tensors by layer and side, each checked."""
    try:
        found = {name.removesuffix(".weight"): one.float() for name, one in load(content).items()}
    except SafetensorError as error:
        raise ConfigError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from error
    layers = {name.rpartition(".lora_")[0] for name in found}
    if not layers or found.keys() != {f"{layer}.lora_{side}" for layer in layers for side in "AB"}:
        raise ConfigError(f"{folder.name} does not hold a pair of lora_A and lora_B for each of its layers")
    for name, one in found.items():
        if one.dim() != 2 or one.shape[0 if name.endswith("A") else 1] != rank:
            raise ConfigError(f"{folder.name}: {name} is of shape {tuple(one.shape)}, not of rank {rank}")
        if not bool(one.isfinite().all()):
            raise ConfigError(f"{folder.name}: {name} holds NaN or infinity")
    return found
