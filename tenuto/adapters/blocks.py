"""Null-space blocks: adapters whose past cannot be moved by what they learn next (after Saha et al. 2021).

A site is what several layers read: q, k and v share one, gate and up share one. Let M span the past inputs
of a site. At a commit the learning block of each of its layers freezes, and a new one begins whose rows of A
lie in the null space of M, with B = 0. If that holds at every adapted layer and all else is frozen, the
outputs on every sequence whose inputs lie in these spans stay as they are, by induction over the layers.

The invariant: bases and frozen blocks are never changed in place, so that holding on to them is a snapshot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from tenuto import subspace
from tenuto.adapters.layers import Down, Up, begin, freeze
from tenuto.adapters.reads import Reads
from tenuto.errors import ConfigError, StateError
from tenuto.trees import Tree
from tenuto.types import State

SHARED = {
    **dict.fromkeys(("q_proj", "k_proj", "v_proj", "query", "key", "value"), "qkv"),
    **dict.fromkeys(("gate_proj", "up_proj"), "gate_up"),
}
"""Layers of one parent that read one input, by the name of the site they share."""
AIMED = 256
"""Rows by which a block is aimed, at most."""


class Blocks:
    """The adapters of a model, as blocks.

    Args:
        layers: the pair (A, B) of each adapted layer, by the layer's name.
        most: the rank that frozen blocks of a layer may reach together; beyond it they are compressed.
        seed: key of the draws of A.
        begun: called when parameters begin anew.

    Attributes:
        sites: the names of the layers at each site, by the site's name.
        commits: blocks that were begun after the first.
        aimed: has the learning block been aimed? Before that nothing should move it.
        lost: the largest share of a layer's norm that compressing its frozen blocks lost so far.
    """

    def __init__(
        self,
        layers: Mapping[str, tuple[Down, Up]],
        *,
        most: int = 64,
        seed: int = 0,
        begun: Callable[[], None] | None = None,
    ) -> None:
        self._layers, self._most, self._seed, self._begun = dict(layers), most, seed, begun
        self.sites: dict[str, list[str]] = {}
        for name in layers:
            parent, _, leaf = name.rpartition(".")
            self.sites.setdefault(f"{parent}.{SHARED.get(leaf, leaf)}", []).append(name)
        self.commits, self.lost, self.aimed = 0, 0.0, False

    @property
    def layers(self) -> Mapping[str, tuple[Down, Up]]:
        """The pair (A, B) of each adapted layer, by its name."""
        return self._layers

    @property
    def bases(self) -> Tree:
        """What is protected at each site: M (d, m)."""
        return {site: self._layers[layers[0]][0].basis for site, layers in self.sites.items()}

    def commit(self, bases: Tree) -> None:
        """Freeze what was learned; what is learned from now on cannot be seen in the span of these bases.

        Raises:
            StateError: a site has no basis, or one that does not fit; nothing has changed.
        """
        if missing := sorted(self.sites.keys() - bases.keys()):
            raise StateError(f"no basis is given for {', '.join(missing)}")
        sound = {
            site: subspace.sound(bases[site], held.shape[0]).to(held) for site, held in self.bases.items()
        }
        self.commits, self.aimed = self.commits + 1, False
        for site, layers in self.sites.items():
            for name in layers:
                down, up = self._layers[name]
                self.lost = max(self.lost, freeze(down, up, most=self._most))
                begin(down, up, sound[site], seed=self._seed, name=name, number=self.commits)
        if self._begun is not None:
            self._begun()

    def aim(self, read: Tree) -> None:
        """Begin the learning block at what rows (k, d) of unit length give each site, outside its basis: the
        rows of A are the leading directions of that (Paischer et al. 2024), as long as PEFT draws them.

        Where there are fewer directions than rows of A, the others stay as they were drawn. No output moves,
        for B is zero.
        """
        for site, layers in self.sites.items():
            down = self._layers[layers[0]][0]
            some = read[site][:: -(-len(read[site]) // AIMED)] if len(read[site]) else read[site]
            found = subspace.leading(some, down.basis, len(down.free)) / math.sqrt(3)
            with torch.no_grad():
                for name in layers:
                    self._layers[name][0].free[: len(found)] = found.to(down.free)
        self.aimed = True
        if self._begun is not None:
            self._begun()

    def leaks(self) -> dict[str, float]:
        """|A_eff M| / |A_eff| at each site, the largest of its layers: what rounding lets through."""
        return {
            site: max(self._layers[name][0].leak() for name in layers) for site, layers in self.sites.items()
        }

    @contextmanager
    def reading(self) -> Iterator[Reads]:
        """Within this, what the forward and backward passes read and are told at each site is looked at."""
        reads = Reads(self.sites)
        hooks = []
        for name, (down, up) in self._layers.items():
            hooks.append(down.register_forward_pre_hook(reads.reader(name)))
            hooks.append(up.register_forward_hook(reads.listener(name)))
        try:
            yield reads
        finally:
            for hook in hooks:
                hook.remove()

    def state(self) -> State:
        """Bases by site and frozen blocks by layer; the learning one's A and B are the model's parameters."""
        frozen = {name: [down.frozen, up.frozen] for name, (down, up) in self._layers.items()}
        told = {"commits": self.commits, "lost": self.lost, "aimed": self.aimed}
        return {"bases": dict(self.bases), "frozen": frozen, **told}

    def load_state(self, state: State) -> None:
        """Take a saved one. StateError where it is of other layers, with nothing changed."""
        bases, frozen = state["bases"], state["frozen"]
        if bases.keys() != self.sites.keys() or frozen.keys() != self._layers.keys():
            raise StateError("the saved blocks are of other layers than this model's adapter has")
        for site, layers in self.sites.items():
            basis = bases[site].detach().clone()
            for name in layers:
                down, up = self._layers[name]
                down.basis = basis
                down.frozen, up.frozen = (one.detach().clone() for one in frozen[name])
        self.commits, self.lost = int(state["commits"]), float(state["lost"])
        self.aimed = bool(state["aimed"])


def over(
    module: nn.Module, *, most: int = 64, seed: int = 0, begun: Callable[[], None] | None = None
) -> Blocks:
    """The adapters of a module made by PEFT, as blocks: its `lora_A` and `lora_B` are replaced in place.

    Args:
        module: holds LoRA layers with one active adapter each, as `adapters.lora.adapt` makes them.
        most, seed, begun: as of `Blocks`.

    Raises:
        ConfigError: there is none, or one is of a kind that blocks cannot stand in for; nothing has changed.
    """
    found: dict[str, tuple[Any, str]] = {}
    for name, layer in module.named_modules():
        if hasattr(layer, "lora_A") and hasattr(layer, "active_adapters"):
            found[name] = (layer, _plain(name, layer))
    if not found:
        raise ConfigError("the model has no low-rank adapter to learn with; give it one: adapters.lora.adapt")
    layers: dict[str, tuple[Down, Up]] = {}
    for name, (layer, active) in found.items():
        for side, make in (("lora_A", Down), ("lora_B", Up)):
            held = getattr(layer, side)
            if not isinstance(held[active], make):
                held[active] = make(held[active].weight)
        layers[name] = (layer.lora_A[active], layer.lora_B[active])
    return Blocks(layers, most=most, seed=seed, begun=begun)


def _plain(name: str, layer: Any) -> str:
    """The one active adapter of a LoRA layer that is nothing but A and B."""
    active = list(layer.active_adapters)
    if len(active) != 1 or active[0] not in layer.lora_A:
        raise ConfigError(f"{name} has the adapters {active} active; blocks stand in for exactly one")
    one: str = active[0]
    if not isinstance(layer.lora_A[one], nn.Linear | Down) or getattr(layer.lora_A[one], "bias", None):
        raise ConfigError(f"{name} is adapted by a {type(layer.lora_A[one]).__name__}; blocks take Linear")
    if one in getattr(layer, "lora_variant", {}) or not isinstance(layer.lora_dropout[one], nn.Identity):
        raise ConfigError(f"the adapter of {name} has a variant or dropout, which reads other inputs than it")
    return one
