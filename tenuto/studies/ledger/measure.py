"""One update of a learner whose base is at hand: its tensors counted, and the allocator's peak."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError
from tenuto.learner import Learner
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel, answer, code
from tenuto.studies.ledger.kept import Kept, storage
from tenuto.studies.ledger.peak import measuring
from tenuto.studies.ledger.plan import Plan
from tenuto.studies.ledger.shape import adapted
from tenuto.types import Batch, OnlineExample

WARM = 3
"""Updates before the one that is measured, so that memory has enough to replay."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What an update took, in bytes.

    Args:
        terms: counted from the learner's own tensors, by name.
        peak: measured.
        weights: of the frozen base, which are in neither.
    """

    terms: dict[str, int]
    peak: int
    weights: int

    @property
    def gap(self) -> float:
        """What the terms lack of the peak, as a share of it; below 0 where they are more."""
        return (self.peak - sum(self.terms.values())) / self.peak


def account(
    base: Any,
    made: Callable[[Any], Learner],
    *,
    tokens: int,
    fresh: int,
    device: str,
    answered: int | None = None,
    anchors: int = 0,
) -> Account:
    """Count and measure one update.

    Args:
        base: the frozen model, whose weights are in neither sum.
        made: makes the learner of it.
        tokens: of a row.
        fresh: rows of an update.
        device: that the base is on.
        answered: tokens of a row that are learned; None: three in eight.
        anchors: rows that the learner is to hold its first answers to.
    """
    vocabulary = int(base.config.vocab_size)
    told = max(tokens * 3 // 8, 1) if answered is None else answered
    batches = [rows(n * fresh, fresh, tokens, vocabulary, told) for n in range(WARM + 2)]
    weights = sum(one.nbytes for one in base.parameters())
    with measuring(device) as found:
        learner = made(base)
        if anchors:
            learner.anchor(rows(10_000, anchors, tokens, vocabulary, told))
        for batch in batches[:WARM]:
            learner.learn_batch(batch)
        with found.update():
            learner.learn_batch(batches[WARM])
    saved = Watched(learner._objective, vocabulary)
    learner._objective = saved  # type: ignore[assignment]
    learner.learn_batch(batches[WARM + 1])
    return Account(terms=terms(learner, saved.kept), peak=found.peak, weights=weights)


class Watched:
    """An objective whose forward is watched: which storages it keeps for the backward.

    Args:
        objective: the learner's.
        vocabulary: how wide logits are.
    """

    def __init__(self, objective: Any, vocabulary: int) -> None:
        self._objective, self._vocabulary = objective, vocabulary
        self.kept = self._anew()

    def _anew(self) -> Kept:
        module, adapter = self._objective.module, self._objective.adapter
        bases = [] if adapter is None else [*adapter.bases.values()]
        frozen = [] if adapter is None else [one for pair in adapter.layers.values() for one in pair]
        held = [*bases, *(one.frozen for one in frozen)]
        return Kept(vocabulary=self._vocabulary, known=[*module.parameters(), *module.buffers(), *held])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)

    def __call__(self, params: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """The scalar loss and the outputs."""
        self.kept = self._anew()
        with self.kept.watching():
            loss, outputs = self._objective(params, batch)
        self.kept.note(outputs)
        return loss, outputs


def bounded(base: Any, plan: Plan) -> Learner:
    """A learner by `ogp_lora` of a base, with bases and frozen blocks at their bounds.

    Bases are drawn at random: as large as they ever become, and the same to the allocator.

    Raises:
        ConfigError: its adapter is given in another form than a learner's.
    """
    model = LanguageModel(adapted(base, plan), checkpointing=plan.checkpointing)
    config = OnlineLearnerConfig(
        task="language",
        optimizer="adamw",
        memory_size=plan.memory,
        batch_size=plan.rows,
        boundaries="none",
        precision=plan.precision,
    )
    options: dict[str, Any] = {
        "directions": plan.directions,
        "tokens": plan.sketched,
        "rank": plan.frozen,
        "general": 0,
    }
    options |= {"experts": plan.experts, "active": plan.active, "ratio": 0.0, "revise": False}
    learner = Learner(model, config, method="ogp_lora", options=options)
    adapter = learner.body.adapter
    if adapter is None:
        raise ConfigError("the learner has no adapter in blocks")
    state, draws = adapter.state(), torch.Generator().manual_seed(0)
    for site, held in state["bases"].items():
        drawn = torch.randn(held.shape[0], min(plan.directions, held.shape[0]), generator=draws)
        state["bases"][site] = torch.linalg.qr(drawn)[0].to(held)
    for pair in state["frozen"].values():
        pair[0] = pair[0].new_zeros(plan.frozen, pair[0].shape[1])
        pair[1] = pair[1].new_zeros(pair[1].shape[0], plan.frozen)
    adapter.load_state(state)
    return learner


def terms(learner: Learner, kept: Kept) -> dict[str, int]:
    """The learner's tensors, and what its last forward kept."""
    adapters = sum(one.nbytes for one in learner.body.params.values())
    optimizer: Any = learner.optimizer.state()
    moments = sum(one.nbytes for part in ("mean", "square") for one in optimizer[part].values())
    anchors, memory, wide = learner.recipe.anchors, learner.memory, sum(kept.wide.values())
    return {
        "adapters": adapters,
        "Adam's moments": moments,
        "the next moments beside them": moments,
        "proposed update": adapters,
        "gradients": adapters,
        **_protected(learner),
        "memory": 0 if memory is None else sum(one.nbytes for one in memory.table.columns.values()),
        "anchors": 0 if anchors is None else sum(one.nbytes for one in anchors.columns.values()),
        "activations kept for the backward": sum(kept.narrow.values()),
        "logits": wide,
        "their gradient": wide,
    }


def _protected(learner: Learner) -> dict[str, int]:
    """What the method of null-space blocks holds beside the adapters."""
    adapter: Any = learner.body.adapter
    if adapter is None or learner.recipe.protection is None:
        return {}
    held: Any = learner.recipe.protection.state()["sketching"]
    bases = {storage(one): one.nbytes for one in adapter.bases.values()}
    return {
        "frozen blocks": sum(one.frozen.nbytes for pair in adapter.layers.values() for one in pair),
        "bases": sum(bases.values()),
        "inputs that wait for the sketches": sum(
            one.nbytes for part in ("last", "waiting") for one in held[part].values()
        ),
        "sketches": sum(one["buffer"].nbytes for one in held["sketches"].values()),
    }


def rows(first: int, count: int, tokens: int, vocabulary: int, told: int) -> Batch:
    """Rows drawn under their numbers: `tokens` tokens, the last `told` of them the answer."""
    made = []
    for number in range(first, first + count):
        drawn = np.random.default_rng(number).integers(3, vocabulary, tokens).tolist()
        coded = code([(drawn[:-told], False), (drawn[-told:], True)], tokens)
        made.append(OnlineExample(input=coded, target=answer(coded, told)))
    return stack(made)
