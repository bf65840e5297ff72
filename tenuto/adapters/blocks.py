"""Null-space blocks: adapters whose past cannot be moved by what they learn next (after Saha et al. 2021).

A site is what several layers read: q, k and v share one, gate and up share one. Let M span the past inputs
of a site. At a commit the learning block of each of its layers freezes, and a new one begins whose rows of A
lie in the null space of M, with B = 0. If that holds at every adapted layer and all else is frozen, the
outputs on every sequence whose inputs lie in these spans stay as they are, by induction over the layers.

The invariant: bases and frozen blocks are never changed in place, so that holding on to them is a snapshot.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tenuto import subspace
from tenuto.adapters.experts import Attendance, Downs, gated, spread
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
        attendance: of experts, by which those learn that answer; None: all that there is.

    Attributes:
        sites: the names of the layers at each site, by the site's name.
        commits: blocks that were begun after the first.
        lost: the largest share of a layer's norm that compressing its frozen blocks lost so far.
    """

    def __init__(
        self,
        layers: Mapping[str, tuple[Down, Up]],
        *,
        most: int = 64,
        seed: int = 0,
        begun: Callable[[], None] | None = None,
        attendance: Attendance | None = None,
    ) -> None:
        self._attendance = attendance
        self._layers, self._most, self._seed, self._begun = dict(layers), most, seed, begun
        self.sites: dict[str, list[str]] = {}
        for name in layers:
            parent, _, leaf = name.rpartition(".")
            self.sites.setdefault(f"{parent}.{SHARED.get(leaf, leaf)}", []).append(name)
        for site in self.sites:
            downs = self._downs(site)
            for down in downs:
                down.beside = tuple(one for one in downs if one is not down)
        self.commits, self.lost = 0, 0.0
        self._aimed: set[str] = set()

    @property
    def layers(self) -> Mapping[str, tuple[Down, Up]]:
        """The pair (A, B) of each adapted layer, by its name."""
        return self._layers

    @property
    def bases(self) -> Tree:
        """What is protected at each site: M (d, m)."""
        return {site: self._layers[layers[0]][0].basis for site, layers in self.sites.items()}

    def settle(self, rows: Tensor) -> None:
        """Take ordinary rows, before anything is learned, by which experts' gate tells others apart."""
        if self._attendance is not None:
            self._attendance.gate.settle(rows)

    def attend(self, rows: Tensor) -> bool:
        """Have those experts learn that answer these rows; did that change which ones do?"""
        return self._attendance is not None and self._attendance.attend(rows)

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
        self.commits, self._aimed = self.commits + 1, set()
        for site, layers in self.sites.items():
            for name in layers:
                down, up = self._layers[name]
                self.lost = max(self.lost, freeze(down, up, most=self._most))
                begin(down, up, sound[site], seed=self._seed, name=name, number=self.commits)
        if self._begun is not None:
            self._begun()

    @property
    def aimed(self) -> bool:
        """Has what learns been aimed? Before that nothing should move it."""
        return not self._unaimed

    @property
    def _unaimed(self) -> set[str]:
        return self._learning - self._aimed

    def _downs(self, site: str) -> list[Down]:
        return [self._layers[name][0] for name in self.sites[site]]

    @property
    def _learning(self) -> set[str]:
        """The sites of what learns now: all, or those of the experts that answered the last rows."""
        if self._attendance is None:
            return set(self.sites)
        return {site for site in self.sites if int(site.partition(":")[0]) in self._attendance.awake}

    def start(self, site: str, rows: Tensor) -> Tensor:
        """Where a block begins that is to learn rows (k, d) of unit length: the leading directions of what of
        them lies outside the site's basis, as rows of A (at most r, d), as long as PEFT draws them (after
        Paischer et al. 2024)."""
        down = self._downs(site)[0]
        some = rows[:: -(-len(rows) // AIMED)] if len(rows) else rows
        return subspace.leading(some, down.basis, len(down.free)).to(down.free) / math.sqrt(3)

    def aim(self, starts: Tree) -> None:
        """Begin the learning block of each site there: its B is zero, or has moved as within `aiming`.

        Where there are fewer rows than A has, the others stay as they were drawn. What was aimed already
        stays as it is.
        """
        with torch.no_grad():
            for site in self._unaimed & starts.keys():
                for down in self._downs(site):
                    down.free[: len(starts[site])] = starts[site]
        self._aimed |= self._learning

    @contextmanager
    def aiming(self, pick: Callable[[Tensor], Tensor]) -> Iterator[Tree]:
        """Within this, blocks that are not aimed yet compute as if they were, at what `pick` makes of the
        inputs that their sites read first: rows (k, d) of unit length. Gives where they begin, for `aim`.

        So B has the gradient of the block as it will be; A has none before B moves.
        """
        waiting, starts, hooks = [(site, self._downs(site)) for site in self._unaimed], Tree(), []

        def begin(site: str, downs: list[Down], _module: nn.Module, args: tuple[Any, ...]) -> None:
            if site not in starts:
                starts[site] = start = self.start(site, pick(args[0].detach()))
                for down in downs:
                    down.stand_in = torch.cat([start, down.free.detach()[len(start) :]])

        for site, downs in waiting:
            for down in downs:
                down.stand_in = down.free.detach()
            hooks.append(downs[0].register_forward_pre_hook(partial(begin, site, downs)))
        try:
            yield starts
        finally:
            for hook in hooks:
                hook.remove()
            for _, downs in waiting:
                for down in downs:
                    down.stand_in = None

    def leaks(self) -> dict[str, float]:
        """|A_eff M| / |A_eff| at each site, the largest of its layers: what rounding lets through."""
        return {
            site: max(self._layers[name][0].leak() for name in layers) for site, layers in self.sites.items()
        }

    @contextmanager
    def reading(self, sites: Collection[str] | None = None) -> Iterator[Reads]:
        """Within this, what the forward and backward passes read and are told at these sites is looked at;
        None: at all."""
        reads = Reads(self.sites)
        hooks = []
        for site in self.sites if sites is None else sites:
            for name in self.sites[site]:
                down, up = self._layers[name]
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
        gate = {} if self._attendance is None else {"gate": self._attendance.gate.centre}
        told = {"commits": self.commits, "lost": self.lost, "aimed": sorted(self._aimed)}
        return {"bases": dict(self.bases), "frozen": frozen, **told, **gate}

    def load_state(self, state: State) -> None:
        """Take a saved one. StateError where it is of other layers, with nothing changed."""
        bases, frozen, centre = state["bases"], state["frozen"], state.get("gate")
        if bases.keys() != self.sites.keys() or frozen.keys() != self._layers.keys():
            raise StateError("the saved blocks are of other layers than this model's adapter has")
        for site, layers in self.sites.items():
            basis = bases[site].detach().clone()
            for name in layers:
                down, up = self._layers[name]
                down.basis = basis
                down.frozen, up.frozen = (one.detach().clone() for one in frozen[name])
        if self._attendance is not None:
            self._attendance.gate.centre = None if centre is None else centre.detach().clone()
        self.commits, self.lost = int(state["commits"]), float(state["lost"])
        self._aimed = set(state["aimed"])


def over(
    module: nn.Module,
    *,
    most: int = 64,
    seed: int = 0,
    begun: Callable[[], None] | None = None,
    experts: int = 1,
    active: int = 1,
) -> Blocks:
    """The adapters of a module made by PEFT, as blocks: its `lora_A` and `lora_B` are replaced in place.

    Args:
        module: holds LoRA layers with one active adapter each, as `adapters.lora.adapt` makes them.
        most, seed, begun: as of `Blocks`.
        experts, active: adapters beside each layer, and how many of them answer a row, where there is a gate.

    Raises:
        ConfigError: there is none, or one is of a kind that blocks cannot stand in for; nothing has changed.
    """
    found: dict[str, tuple[Any, str]] = {}
    for name, layer in module.named_modules():
        if hasattr(layer, "lora_A") and hasattr(layer, "active_adapters"):
            found[name] = (layer, _plain(name, layer))
    if not found:
        raise ConfigError("the model has no low-rank adapter to learn with; give it one: adapters.lora.adapt")
    if experts > 1 or any(isinstance(layer.lora_A[adapter], Downs) for layer, adapter in found.values()):
        gate = gated(module, experts, active, seed=seed)
        attendance = Attendance(gate, spread(found, gate, seed=seed))
        return Blocks(attendance.layers, most=most, seed=seed, begun=begun, attendance=attendance)
    layers: dict[str, tuple[Down, Up]] = {}
    for name, (layer, adapter) in found.items():
        for side, make in (("lora_A", Down), ("lora_B", Up)):
            held = getattr(layer, side)
            if not isinstance(held[adapter], make):
                held[adapter] = make(held[adapter].weight)
        layers[name] = (layer.lora_A[adapter], layer.lora_B[adapter])
    return Blocks(layers, most=most, seed=seed, begun=begun)


def _plain(name: str, layer: Any) -> str:
    """The one active adapter of a LoRA layer that is nothing but A and B."""
    active = list(layer.active_adapters)
    if len(active) != 1 or active[0] not in layer.lora_A:
        raise ConfigError(f"{name} has the adapters {active} active; blocks stand in for exactly one")
    one: str = active[0]
    down = layer.lora_A[one]
    if not isinstance(down, nn.Linear | Down | Downs) or getattr(down, "bias", None):
        raise ConfigError(f"{name} is adapted by a {type(down).__name__}; blocks take Linear")
    if one in getattr(layer, "lora_variant", {}) or not isinstance(layer.lora_dropout[one], nn.Identity):
        raise ConfigError(f"the adapter of {name} has a variant or dropout, which reads other inputs than it")
    return one
