"""Experts: several adapters beside each layer, of which a gate lets a few answer a row (Shazeer et al. 2017).

    y = W x + s sum_e g_e(q) (B_e A_e x),    g_e(q) 1 for the `active` experts nearest to q, else 0

q is the row's question as the model's frozen token vectors give it, less the mean of ordinary ones, which are
given before anything is learned; the experts' keys are drawn once. So no learning moves the gate: a row is
answered by the same experts for ever, and where each of these is protected on that row's inputs, the row's
outputs stay (`layers`). Each has blocks and bases of its own.

The invariant: an expert that answers no row of a batch gets no gradient, no update and no decay by it. Beside
an accelerator it lies in host memory until it is asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tenuto.adapters.layers import Down, Up, begin
from tenuto.errors import ConfigError, StateError
from tenuto.randomness import torch_draws

_NAMED = re.compile(r"\.lora_[AB]\.[^.]+\.experts\.(\d+)\.free$")


class Gate:
    """Which experts answer which rows.

    Args:
        experts: how many there are.
        active: how many of them answer a row.
        seed: key of the draw of their keys.
        embed: rows (n, ...) as vectors (n, d) that no learning moves.

    Attributes:
        present: the experts that answer any of the rows that were read last.
        centre: the mean (d,) of ordinary rows; None: they are compared as they are, and what all questions
            have in common has most go to the same experts.

    Raises:
        ConfigError: more are to be active than there are.

    >>> gate = Gate(3, 1, seed=0, embed=lambda rows: rows)
    >>> gate.choose(torch.eye(2)[[0, 1, 0]])
    >>> gate.shares.sum(1).tolist(), bool((gate.shares[0] == gate.shares[2]).all())
    ([1.0, 1.0, 1.0], True)
    """

    def __init__(self, experts: int, active: int, *, seed: int, embed: Callable[[Tensor], Tensor]) -> None:
        if not 1 <= active <= experts:
            raise ConfigError(f"{active} of {experts} experts cannot be active")
        self.experts, self.active = experts, active
        self._seed, self._embed = seed, embed
        self.fetch: Callable[[Sequence[int], torch.device], None] | None = None
        self.centre: Tensor | None = None
        self._keys: Tensor | None = None
        self._shares: Tensor | None = None
        self.present: tuple[int, ...] = ()

    @property
    def shares(self) -> Tensor:
        """g (n, experts) of the rows that were read last. StateError before any."""
        if self._shares is None:
            raise StateError("no expert was chosen: ask the model for coded rows, or through its speech")
        return self._shares

    def settle(self, rows: Tensor) -> None:
        """Take ordinary rows (n, ...), before anything is learned: questions are told apart by their mean."""
        self.centre = self._embed(rows).detach().to("cpu", torch.float64).mean(0)

    def choose(self, rows: Tensor) -> None:
        """Choose for the rows that are read next.

        Each row is compared by itself and in float64, so that its neighbours in a batch do not matter.
        """
        asked = self._embed(rows).detach().to("cpu", torch.float64)
        if self.centre is not None:
            asked = asked - self.centre
        if self._keys is None:
            with torch_draws(self._seed, "experts", 0):
                self._keys = torch.randn(self.experts, asked.shape[1], dtype=torch.float64)
        keys = self._keys
        shares = torch.zeros(len(asked), self.experts)
        for row, one in enumerate(asked):
            order = (keys @ one).argsort(descending=True, stable=True)
            shares[row, order[: self.active]] = 1.0
        self.present = tuple(shares.any(0).nonzero()[:, 0].tolist())
        self._shares = shares.to(rows.device)
        if self.fetch is not None:
            self.fetch(self.present, rows.device)

    def seen(self, inputs: Tensor, expert: int) -> Tensor:
        """What an expert reads of inputs (n, ..., d): those of its rows, and zero in place of the others."""
        share = self.shares[:, expert]
        if len(share) != len(inputs):
            raise StateError(f"experts were chosen for {len(share)} rows, and {len(inputs)} are read")
        if self.active == self.experts or len(inputs) == 1:
            return inputs
        return inputs * share.to(inputs).view(-1, *[1] * (inputs.dim() - 1))


class Downs(nn.Module):
    """A of every expert, in place of PEFT's `lora_A`.

    Args:
        first: the expert that is there already.
        gate: shared by all layers.
    """

    def __init__(self, first: Down, gate: Gate) -> None:
        super().__init__()
        made = [nn.Parameter(first.free.detach().clone()) for _ in range(gate.experts - 1)]
        self.experts = nn.ModuleList([first, *(Down(free) for free in made)])
        self.gate = gate

    @property
    def weight(self) -> Tensor:
        """Of no layer at all, (0, d): PEFT asks for its dtype, and no merge may take it for an A."""
        free: Tensor = self.experts[0].free  # type: ignore[assignment]
        return free.detach()[:0]

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, ..., d) to (n, ..., k), the experts that are present side by side."""
        made = [self.experts[e](self.gate.seen(inputs, e)) for e in self.gate.present]
        return torch.cat(made, -1)


class Ups(nn.Module):
    """B of every expert, in place of PEFT's `lora_B`.

    Args:
        first: the expert that is there already.
        downs: what it reads from.
    """

    def __init__(self, first: Up, downs: Downs) -> None:
        super().__init__()
        made = [nn.Parameter(torch.zeros_like(first.free)) for _ in range(downs.gate.experts - 1)]
        self.experts = nn.ModuleList([first, *(Up(free) for free in made)])
        self.gate, self._downs = downs.gate, (downs,)

    @property
    def weight(self) -> Tensor:
        """As of `Downs`: (d_out, 1), which no A of it fits."""
        free: Tensor = self.experts[0].free  # type: ignore[assignment]
        return free.detach()[:, :1]

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, ..., k) to (n, ..., d_out)."""
        widths = [_width(self._downs[0].experts[e]) for e in self.gate.present]
        parts = torch.split(inputs, widths, -1)
        made = [self.experts[e](part) for e, part in zip(self.gate.present, parts, strict=True)]
        return torch.stack(made).sum(0) if len(made) > 1 else made[0]


def _width(down: nn.Module) -> int:
    free: Tensor = down.free  # type: ignore[assignment]
    frozen: Tensor = down.frozen  # type: ignore[assignment]
    return len(free) + len(frozen)


def expert(name: str) -> str:
    """Which expert a parameter belongs to, "" where to none.

    >>> expert("base.layers.0.q_proj.lora_A.default.experts.3.free"), expert("head.weight")
    ('3', '')
    """
    found = _NAMED.search(name)
    return found[1] if found else ""


class Attendance:
    """Has the experts that answer some rows learn, and all others rest in host memory.

    Args:
        gate: which they are.
        pairs: A and B of each adapted layer, by the layer's name.

    Attributes:
        awake: the experts that learn now.
        layers: the pair of each expert beside each layer, by "<expert>:<layer>".
    """

    def __init__(self, gate: Gate, pairs: Mapping[str, tuple[Downs, Ups]]) -> None:
        self.gate = gate
        gate.fetch = self._fetch
        self.layers: dict[str, tuple[Down, Up]] = {}
        self._own: list[list[tuple[Down, Up]]] = [[] for _ in range(gate.experts)]
        for name, (downs, ups) in pairs.items():
            for number, pair in enumerate(zip(downs.experts, ups.experts, strict=True)):
                self.layers[f"{number}:{name}"] = pair  # type: ignore[assignment]
                self._own[number].append(pair)  # type: ignore[arg-type]
        self.awake: frozenset[int] = frozenset()
        self._turn(range(gate.active))

    def attend(self, rows: Tensor) -> bool:
        """Have those learn that answer these rows (n, ...); did that change which ones do?"""
        self.gate.choose(rows)
        return self._turn(self.gate.present)

    def _turn(self, present: Sequence[int]) -> bool:
        awake = frozenset(present)
        if awake == self.awake:
            return False
        self.awake = awake
        for number, pairs in enumerate(self._own):
            for pair in pairs:
                for part in pair:
                    part.requires_grad_(number in awake)
        return True

    def _fetch(self, present: Sequence[int], device: torch.device) -> None:
        """Bring those that answer to the rows, and those that neither answer nor learn to host memory."""
        if device.type == "cpu":
            return
        for number, pairs in enumerate(self._own):
            where = device if number in present or number in self.awake else torch.device("cpu")
            moved: dict[int, Tensor] = {}
            for down, up in pairs:
                down.free.data, up.free.data = down.free.data.to(where), up.free.data.to(where)
                down.frozen, up.frozen = down.frozen.to(where), up.frozen.to(where)
                down.basis = moved.setdefault(id(down.basis), down.basis.to(where))


def gated(module: nn.Module, experts: int, active: int, *, seed: int) -> Gate:
    """The gate of a model, which is told from now on what the model reads.

    Raises:
        ConfigError: the model cannot tell it what is asked, or more are to be active than there are.
    """
    embed = getattr(module, "embed", None)
    if embed is None or not hasattr(module, "gate"):
        raise ConfigError(
            f"a {type(module).__name__} tells no gate what is asked: experts are for a LanguageModel; "
            "leave them at 1"
        )
    gate = Gate(experts, active, seed=seed, embed=embed)
    owner: Any = module
    owner.gate = gate.choose
    return gate


def spread(found: Mapping[str, tuple[Any, str]], gate: Gate, *, seed: int) -> dict[str, tuple[Downs, Ups]]:
    """A and B of LoRA layers as those of experts: the first is what was there, the others' B is zero.

    Args:
        found: each layer, and the name of its adapter, by the layer's name.

    Raises:
        ConfigError: a layer has another number of experts already; nothing has changed.
    """
    for name, (layer, held) in found.items():
        downs = layer.lora_A[held]
        if isinstance(downs, Downs) and len(downs.experts) != gate.experts:
            raise ConfigError(f"{name} has {len(downs.experts)} experts, not {gate.experts}")
    made = {}
    for name, (layer, held) in found.items():
        downs, ups = layer.lora_A[held], layer.lora_B[held]
        if isinstance(downs, Downs) and isinstance(ups, Ups):
            downs.gate = ups.gate = gate
        else:
            first = downs if isinstance(downs, Down) else Down(downs.weight)
            downs = layer.lora_A[held] = Downs(first, gate)
            ups = layer.lora_B[held] = Ups(ups if isinstance(ups, Up) else Up(ups.weight), downs)
            for number in range(1, gate.experts):
                down: Any = downs.experts[number]
                up: Any = ups.experts[number]
                begin(down, up, down.basis, seed=seed, name=f"{number}:{name}", number=0)
        made[name] = (downs, ups)
    return made
