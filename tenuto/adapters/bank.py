"""A bank: many adapters on one frozen base, in one PEFT model, of which one is in use and may learn.

Each is a pair B A beside the same layers, so ten of them weigh what one of ten times the rank does, and the
base is there once. (A second `get_peft_model` on the same base would share the first one's tensors.)

The invariant: an adapter that is frozen never changes; names are small and safe, never a path.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Literal
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from tenuto.adapters.loading import read
from tenuto.adapters.merge import merge
from tenuto.adapters.names import check_name
from tenuto.errors import ConfigError
from tenuto.randomness import torch_draws
from tenuto.trees import Tree

Status = Literal["active", "frozen", "retired"]


class Bank:
    """The adapters of a PEFT model.

    Args:
        model: a base with an adapter on it, as `adapters.lora.adapt` makes one, or a module that holds one.

    Raises:
        ConfigError: the module holds no PEFT model, or more than one.

    >>> from peft import LoraConfig, get_peft_model
    >>> base = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    >>> bank = Bank(get_peft_model(base, LoraConfig(r=2, target_modules=["0"]), adapter_name="first"))
    >>> bank.freeze("first")
    >>> bank.add("second", seed=1)
    >>> bank.status
    {'first': 'frozen', 'second': 'active'}
    """

    def __init__(self, model: nn.Module) -> None:
        found = _within(model)
        if len(found) != 1:
            raise ConfigError(f"the module holds {len(found)} models with adapters; a bank is of exactly one")
        self.model: Any = found[0]
        self._frozen: set[str] = set()
        self._retired: set[str] = set()

    @staticmethod
    def of(model: nn.Module) -> Bank | None:
        """The bank of a module; None where nothing in it has adapters."""
        return Bank(model) if _within(model) else None

    @property
    def names(self) -> list[str]:
        """All adapters, in the order in which they were added."""
        return list(self.model.peft_config)

    @property
    def active(self) -> str:
        """The one in use."""
        name: str = self.model.active_adapters[0]
        return name

    @property
    def status(self) -> dict[str, Status]:
        """Of each adapter whether it is in use, frozen or retired; one in use may be frozen too."""
        found: dict[str, Status] = {}
        for name in self.names:
            resting: Status = "retired" if name in self._retired else "frozen"
            found[name] = "active" if name == self.active and name not in self._frozen else resting
        return found

    def add(self, name: str, *, seed: int = 0, rank: int | None = None) -> None:
        """A new adapter on the first one's layers, which changes no answer, and is in use from now on.

        Args:
            seed: key of the draw of A.
            rank: r, with alpha = r; None: both are the first one's.

        Raises:
            ConfigError: the name is out of form or taken.
        """
        self._add(name, self.names[0], seed, rank)

    def _add(self, name: str, like: str, seed: int, rank: int | None) -> None:
        check_name(name)
        if name in self.names:
            raise ConfigError(f"the bank has an adapter {name!r} already: choose another name")
        config = copy(self.model.peft_config[like])
        config.inference_mode = False
        if rank is not None:
            config.r = config.lora_alpha = rank
        with torch_draws(seed, f"adapter:{name}", 0), catch_warnings():
            simplefilter("ignore", FutureWarning)
            self.model.add_adapter(name, config)
        self.activate(name)

    def activate(self, name: str) -> None:
        """Use this adapter; it learns unless it is frozen. Raises ConfigError where it is retired."""
        self._check(name)
        if name in self._retired:
            raise ConfigError(f"adapter {name!r} is retired")
        self.model.set_adapter(name, inference_mode=name in self._frozen)

    def freeze(self, name: str) -> None:
        """Let this adapter learn no more."""
        self._check(name)
        self._frozen.add(name)
        if name == self.active:
            self.activate(name)

    def thaw(self, name: str) -> None:
        """Let this adapter learn again where it is in use."""
        self._check(name)
        self._frozen.discard(name)
        if name == self.active:
            self.activate(name)

    def retire(self, name: str) -> None:
        """Take an adapter out of service, for good; its tensors stay. The one in use cannot be retired."""
        self._check(name)
        if name == self.active:
            raise ConfigError(f"adapter {name!r} is in use: activate another one first")
        self._frozen.add(name)
        self._retired.add(name)

    def settle(self, frozen: Collection[str], retired: Collection[str]) -> None:
        """Have these be frozen, these retired, and all others learn where they are in use."""
        self._frozen, self._retired = {*frozen, *retired}, set(retired)
        self.model.set_adapter(self.active, inference_mode=self.active in self._frozen)

    def remove(self, name: str) -> None:
        """Delete an adapter. The one in use cannot be deleted."""
        self._check(name)
        if name == self.active:
            raise ConfigError(f"adapter {name!r} is in use: activate another one first")
        self.model.delete_adapter(name)
        self._frozen.discard(name)
        self._retired.discard(name)

    def rename(self, old: str, new: str) -> None:
        """Give an adapter another name; it stays what it is, and is listed last."""
        tensors, active, frozen, retired = (
            self.tensors(old),
            self.active,
            old in self._frozen,
            old in self._retired,
        )
        self._add(new, old, 0, None)
        self.put(new, tensors)
        if old != active:
            self.activate(active)
        self.remove(old)
        self._frozen |= {new} if frozen else set()
        self._retired |= {new} if retired else set()
        if old == active:
            self.activate(new)

    def tensors(self, name: str) -> Tree:
        """A copy of an adapter's tensors: `<layer>.lora_A` (r, d_in) and `<layer>.lora_B` (d_out, r)."""
        self._check(name)
        return {key: tensor.detach().clone() for key, tensor in self._parts(name).items()}

    def put(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Give an adapter these tensors. Raises ConfigError, with nothing changed, where they do not fit."""
        self._check(name)
        mine = self._parts(name)
        if odd := sorted(mine.keys() ^ tensors.keys()):
            raise ConfigError(f"tensors for other layers than those of {name!r}: {', '.join(odd[:3])}")
        for key, tensor in tensors.items():
            if tensor.shape != mine[key].shape:
                shapes = f"{tuple(tensor.shape)}, not {tuple(mine[key].shape)}"
                raise ConfigError(f"{key} is of shape {shapes}: the adapter is of another base or rank")
            if not bool(tensor.isfinite().all()):
                raise ConfigError(f"{key} holds NaN or infinity")
        with torch.no_grad():
            for key, tensor in tensors.items():
                mine[key].copy_(tensor)

    def load(self, folder: Path, name: str, *, base_digest: str) -> None:
        """Add an exported adapter, frozen, as `name`; the one in use stays in use.

        Args:
            base_digest: of this bank's base.

        Raises:
            ConfigError: it was made for another base or other layers, or is not what was exported.
        """
        saved, active = read(folder, base_digest), self.active
        self.add(name, rank=saved.rank)
        self.freeze(name)
        self.activate(active)
        try:
            scaled = saved.scale / self.scale(name)
            self.put(
                name,
                {key: one * (scaled if key.endswith("B") else 1.0) for key, one in saved.tensors.items()},
            )
        except ConfigError:
            self.remove(name)
            raise

    def merge(self, weights: Mapping[str, float], into: str, *, rank: int | None = None) -> float:
        """Add a sum of adapters as a frozen one; the one in use stays in use.

        Args:
            weights: of each adapter, by name.
            rank: to cut it to by SVD; None: none is cut, and it has all their ranks.

        Returns:
            The error |D - D_R| / |D| of the cut.
        """
        made = merge([(self.tensors(name), w * self.scale(name)) for name, w in weights.items()], rank=rank)
        active = self.active
        self.add(into, rank=made.rank)
        self.freeze(into)
        self.activate(active)
        self.put(into, made.tensors)
        return made.error

    def scale(self, name: str) -> float:
        """What B A is multiplied with: alpha / r."""
        self._check(name)
        config = self.model.peft_config[name]
        return float(config.lora_alpha / config.r)

    @contextmanager
    def using(self, name: str | None) -> Iterator[None]:
        """Inside, another adapter answers, or the bare base (None); what learns is as before after it."""
        if name is not None:
            self._check(name)
        active = self.active
        flags = [(one, one.requires_grad) for one in self.model.parameters()]
        try:
            if name is None:
                with self.model.disable_adapter():
                    yield
            else:
                self.model.set_adapter(name, inference_mode=True)
                yield
        finally:
            self.model.set_adapter(active, inference_mode=active in self._frozen)
            for one, learns in flags:
                one.requires_grad_(learns)

    def parameters(self) -> Iterator[Tensor]:
        """The live tensors of all adapters, those of blocks too."""
        marks = tuple(f".{side}.{name}." for name in self.names for side in ("lora_A", "lora_B"))
        return (one for key, one in self.model.named_parameters() if any(mark in key for mark in marks))

    def _parts(self, name: str) -> Tree:
        """An adapter's live tensors."""
        ends = {f".lora_A.{name}.weight": ".lora_A", f".lora_B.{name}.weight": ".lora_B"}
        found = {}
        for key, tensor in self.model.named_parameters():
            for end, side in ends.items():
                if key.endswith(end):
                    found[key.removesuffix(end) + side] = tensor
        return found

    def _check(self, name: str) -> None:
        if name not in self.names:
            raise ConfigError(f"the bank has no adapter {name!r}; it has: {', '.join(self.names)}")


def _within(model: nn.Module) -> Sequence[nn.Module]:
    """The PEFT models in a module; peft is not imported where there can be none."""
    import sys

    if "peft" not in sys.modules:
        return []
    from peft import PeftModel

    return [part for part in model.modules() if isinstance(part, PeftModel)]
