"""An adapter as a folder that the engines load: PEFT's layout, in the narrow form that all of them take.

    y = W x + B A x,    A (r, d_in), B (d_out, r), r one of 8, 16, 32, 64, and alpha = r

The scale alpha / rank of training is in B already, and ranks between are filled up with zeros, so that
nothing is left for an engine to get wrong. No bias, no module of its own, no pattern. Blocks are written as
one A and one B, frozen ones included; beyond rank 64 the nearest of rank 64, and what that lost is told.

The invariant: a folder `<name>@<generation>` appears whole or not at all, and is never made twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from tenuto.adapters.experts import Downs
from tenuto.adapters.layers import Down, Up, compressed
from tenuto.adapters.names import check_name
from tenuto.errors import ConfigError, OutOfSpace
from tenuto.folders import appearing
from tenuto.trees import Tree

RANKS = (8, 16, 32, 64)
CONFIG, WEIGHTS, MANIFEST = "adapter_config.json", "adapter_model.safetensors", "manifest.json"
_BLOCK = re.compile(r"\.(\d+)\.")
_SIDES = ("lora_A", "lora_B")


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """An adapter on disk.

    Args:
        name: `<name>@<generation>`, what an engine is to call it.
        folder: where it lies.
        rank: of every layer's.
        digests: SHA-256 of each file, by its name.
        lost: the largest share of a layer's norm that compressing its blocks lost.
    """

    name: str
    folder: Path
    rank: int
    digests: Mapping[str, str]
    lost: float = 0.0


def export(
    model: nn.Module,
    folder: Path,
    *,
    name: str,
    generation: int,
    base: str,
    about: Mapping[str, str],
    adapter: str | None = None,
) -> Exported:
    """Write an adapter of a model into a new folder of `folder`.

    Args:
        model: a base with an adapter on it, as `adapters.lora.adapt` makes one.
        name: the adapter's: small letters, digits, - and _.
        generation: its number; one that was written is never written again.
        base: name or path of the base that it was learned on, for whoever loads it.
        about: more for the manifest; the base's digest as `base_sha256`, without which none is read back.
        adapter: which one of a bank; None: the one in use.

    Raises:
        ConfigError: the name is out of form, the generation is there, or the adapter is of a kind or rank
            that no engine takes.
        OutOfSpace: the folder cannot be written.
    """
    tensors, lost = _plain(model, adapter)
    told = {**about, "lost": lost} if lost else about
    made = write(tensors, folder, name=name, generation=generation, base=base, about=told)
    return replace(made, lost=lost)


def write(
    tensors: Tree, folder: Path, *, name: str, generation: int, base: str, about: Mapping[str, Any]
) -> Exported:
    """Write `<layer>.lora_A.weight` (r, d_in), `<layer>.lora_B.weight` (d_out, r) as an adapter of scale 1.

    Otherwise as `export`, which see.
    """
    check_name(name)
    if generation < 1:
        raise ConfigError(f"generation {generation} is none; they are counted from 1")
    asked = max(len(one) for key, one in tensors.items() if _SIDES[0] in key)
    rank = next((one for one in RANKS if one >= asked), None)
    if rank is None:
        raise ConfigError(f"rank {asked} is more than any engine takes by default; at most {RANKS[-1]}")
    tensors = {key: _filled(key, one, rank) for key, one in tensors.items()}
    full = f"{name}@{generation}"
    target = folder / full
    if target.exists():
        raise ConfigError(
            f"{target} is there already; a generation is never made twice: take the next number"
        )
    files = {
        CONFIG: json.dumps(
            _config(base, rank, [key.split(".lora_")[0] for key in tensors]), indent=2, sort_keys=True
        ).encode(),
        WEIGHTS: save(tensors),
    }
    digests = {file: sha256(content).hexdigest() for file, content in files.items()}
    manifest = {"name": full, "base": base, **about, "rank": rank, "sha256": digests}
    files[MANIFEST] = json.dumps(manifest, indent=2, sort_keys=True).encode()
    try:
        with appearing(target) as part:
            for file, content in files.items():
                (part / file).write_bytes(content)
    except OSError as error:
        raise OutOfSpace(f"{target} cannot be written: {error.strerror}") from error
    return Exported(name=full, folder=target, rank=rank, digests=digests)


def next_generation(folder: Path, name: str) -> int:
    """The number after the last generation of this adapter in a folder; 1 where there is none.

    >>> next_generation(Path("/nowhere"), "facts")
    1
    """
    numbers = (path.name.removeprefix(f"{name}@") for path in folder.glob(f"{name}@*"))
    return 1 + max((int(number) for number in numbers if number.isdecimal()), default=0)


def _plain(model: nn.Module, adapter: str | None) -> tuple[Tree, float]:
    """The adapter's tensors in PEFT's names, with its scale in B, and what compressing its blocks lost."""
    from peft import get_peft_model_state_dict

    made: Any = model
    if gated := next((part for part in model.modules() if isinstance(part, Downs)), None):
        raise ConfigError(
            f"a gate chooses between {gated.gate.experts} experts for each question, which no plain adapter "
            "and no engine does; distil them into one adapter first (tenuto.studies.distil)"
        )
    name = made.active_adapters[0] if adapter is None else adapter
    if name not in made.peft_config:
        raise ConfigError(f"the model has no adapter {name!r}; it has: {', '.join(made.peft_config)}")
    config = made.peft_config[name]
    if config.use_dora or config.use_rslora or config.rank_pattern or config.alpha_pattern:
        raise ConfigError("an adapter with DoRA, rsLoRA or patterns of ranks is not taken by every engine")
    if config.bias != "none" or config.modules_to_save:
        raise ConfigError("an adapter with biases or whole modules of its own is not taken by every engine")
    if config.target_parameters:
        raise ConfigError("an adapter on fused experts is not taken by every engine; adapt other layers")
    whole, lost = served(model)
    found: Tree = get_peft_model_state_dict(model, state_dict=whole, adapter_name=name)
    scale, tensors = config.lora_alpha / config.r, {}
    for name, tensor in found.items():
        side = next((one for one in _SIDES if f".{one}." in name), None)
        if side is None:
            raise ConfigError(f"{name} is no part of a LoRA adapter; merge it into the base first")
        tensors[name] = tensor.detach().float() * (scale if side == "lora_B" else 1.0)
    if not tensors:
        raise ConfigError("the model has no adapter to export")
    return tensors, lost


def served(model: nn.Module) -> tuple[Tree, float]:
    """The model's tensors, blocks made one A and one B each, and the most that compressing a layer's lost."""
    tensors: Tree = model.state_dict()
    lost = 0.0
    for name, down in model.named_modules():
        if not isinstance(down, Down):
            continue
        beside = name.replace(".lora_A.", ".lora_B.")
        up = model.get_submodule(beside)
        if not isinstance(up, Up):
            raise ConfigError(f"{beside} is no part of an adapter in blocks, as {name} is")
        a, b, gone = down.weight.detach(), up.weight.detach(), 0.0
        if len(down.frozen) and len(a) > RANKS[-1]:
            a, b, gone = compressed(a, b, RANKS[-1])
        del tensors[f"{name}.free"], tensors[f"{beside}.free"]
        tensors[f"{name}.weight"], tensors[f"{beside}.weight"] = a, b
        lost = max(lost, gone)
    return tensors, lost


def _filled(key: str, tensor: Tensor, rank: int) -> Tensor:
    """A (r, d) or B (d, r) with zeros up to this rank."""
    shape = (rank, tensor.shape[1]) if _SIDES[0] in key else (tensor.shape[0], rank)
    filled = torch.zeros(shape)
    filled[: tensor.shape[0], : tensor.shape[1]] = tensor
    return filled


def _config(base: str, rank: int, layers: list[str]) -> dict[str, Any]:
    """PEFT's configuration: which kinds of layers, and of which blocks, where they stand in blocks."""
    blocks = {int(found[1]) for layer in layers if (found := _BLOCK.search(layer))}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base,
        "r": rank,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "target_modules": sorted({layer.rpartition(".")[2] for layer in layers}),
        "layers_to_transform": sorted(blocks) or None,
        "bias": "none",
        "modules_to_save": None,
        "use_dora": False,
        "use_rslora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
    }
