"""What a learner of a language model takes beyond the frozen weights: term by term, and the allocator's peak.

One update of a home's kind: `--rows` fresh rows of `--tokens` tokens, three replayed for each of them, and
four anchors, all of that length. The terms are counted: bytes of the learner's own tensors, and of the
storages that the forward keeps for the backward, those as wide as the vocabulary apart. The peak is measured:
on a CPU the running sum of all that torch allocates and frees from the first adapter on, its highest within
the update; on CUDA the device's own count. Not all terms are there at once, and each operation has tensors of
its own that no term counts, so that the sum is near the peak and not the peak.

    python -m benchmarks.memory_beyond [--model smollm2|FOLDER] [--tokens 64] [--rows 1] [--checkpointing]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.common import settle
from benchmarks.timing import table
from tenuto import Batch, Learner, OnlineExample, OnlineLearnerConfig
from tenuto.adapters.lora import adapt, middle
from tenuto.config import PRECISIONS
from tenuto.models import bases
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel, answer, code
from tenuto.session.spoken import SETTINGS
from tenuto.store.database import CACHE_KIB

HELD = 64
"""Anchors that are held; a step reads four of them."""
WARM = 3
"""Updates before the one that is measured, so that memory has enough to replay."""
MIB = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What an update took, in bytes.

    Args:
        terms: counted, by name.
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


class Saved:
    """An objective whose forward is watched: which storages it keeps for the backward.

    Args:
        objective: the learner's.
        vocabulary: how wide logits are.
    """

    def __init__(self, objective: Any, vocabulary: int) -> None:
        self._objective = objective
        self._vocabulary = vocabulary
        self._own = {storage(one) for one in (*objective.module.parameters(), *objective.module.buffers())}
        self.wide: dict[int, int] = {}
        self.narrow: dict[int, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._objective, name)

    def __call__(self, params: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """The scalar loss and the outputs."""
        with torch.autograd.graph.saved_tensors_hooks(self._note, lambda kept: kept):
            loss, outputs = self._objective(params, batch)
        self._note(outputs)
        return loss, outputs

    def _note(self, kept: Tensor) -> Tensor:
        if storage(kept) not in self._own:
            wide = kept.dim() > 1 and kept.shape[-1] == self._vocabulary
            found = self.wide if wide else self.narrow
            found[storage(kept)] = kept.untyped_storage().nbytes()
        return kept.detach()


def storage(tensor: Tensor) -> int:
    """What names a tensor's storage."""
    return tensor.untyped_storage().data_ptr()


def rows(first: int, count: int, tokens: int, vocabulary: int) -> Batch:
    """Rows drawn under their numbers: `tokens` tokens, the last three in eight of them the answer."""
    told, made = max(tokens * 3 // 8, 1), []
    for number in range(first, first + count):
        drawn = np.random.default_rng(number).integers(3, vocabulary, tokens).tolist()
        coded = code([(drawn[:-told], False), (drawn[-told:], True)], tokens)
        made.append(OnlineExample(input=coded, target=answer(coded, told)))
    return stack(made)


def account(
    name: str,
    *,
    tokens: int = 64,
    fresh: int = 1,
    precision: str = "float32",
    checkpointing: bool = False,
    device: str = "cpu",
) -> Account:
    """Count and measure one update on a base."""
    base: Any = bases.load(name, dtype=precision).model.to(device)
    vocabulary = int(base.config.vocab_size)
    batches = [rows(n * fresh, fresh, tokens, vocabulary) for n in range(WARM + 2)]
    weights = sum(one.nbytes for one in base.parameters())
    with measuring(device) as found:
        learner = made(base, precision, checkpointing)
        learner.anchor(rows(10_000, HELD, tokens, vocabulary))
        for batch in batches[:WARM]:
            learner.learn_batch(batch)
        with found.update():
            learner.learn_batch(batches[WARM])
    saved = Saved(learner._objective, vocabulary)
    learner._objective = saved  # type: ignore[assignment]
    learner.learn_batch(batches[WARM + 1])
    return Account(terms=terms(learner, saved), peak=found.peak, weights=weights)


def made(base: nn.Module, precision: str, checkpointing: bool) -> Learner:
    """A learner as a home makes it, of one update per batch."""
    targets, layers = middle(base)
    model = LanguageModel(adapt(base, targets=targets, layers=layers), checkpointing=checkpointing)
    config = OnlineLearnerConfig.of({**SETTINGS, "passes": 1, "stop_loss": None, "precision": precision})
    return Learner(model, config, method="anchored")


def terms(learner: Learner, saved: Saved) -> dict[str, int]:
    """The learner's tensors, and what its last forward kept."""
    adapters = sum(one.nbytes for one in learner.body.params.values())
    optimizer: Any = learner.optimizer.state()
    moments = sum(one.nbytes for part in ("mean", "square") for one in optimizer[part].values())
    anchors, memory = learner.recipe.anchors, learner.memory
    wide = sum(saved.wide.values())
    return {
        "adapters": adapters,
        "Adam's moments": moments,
        "the next moments beside them": moments,
        "proposed update": adapters,
        "gradients": adapters,
        "memory": 0 if memory is None else sum(one.nbytes for one in memory.table.columns.values()),
        "anchors": 0 if anchors is None else sum(one.nbytes for one in anchors.columns.values()),
        "activations kept for the backward": sum(saved.narrow.values()),
        "logits": wide,
        "their gradient": wide,
    }


class Peak:
    """The highest of what was allocated within an update."""

    def __init__(self) -> None:
        self.peak = 0

    @contextmanager
    def update(self) -> Iterator[None]:
        """The update that counts."""
        with torch.profiler.record_function("update"):
            yield


class DevicePeak(Peak):
    """The same, as a device counts it."""

    def __init__(self) -> None:
        super().__init__()
        self._before = torch.cuda.memory_allocated()

    @contextmanager
    def update(self) -> Iterator[None]:
        """The update that counts."""
        torch.cuda.reset_peak_memory_stats()
        yield
        self.peak = torch.cuda.max_memory_allocated() - self._before


@contextmanager
def measuring(device: str) -> Iterator[Peak]:
    """Measure all that is allocated inside beyond what there is."""
    if device != "cpu":
        yield DevicePeak()
        return
    found = Peak()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profile:
        yield found
    events: Any = profile.profiler.kineto_results.events()  # type: ignore[union-attr]
    (step,) = (event for event in events if event.name() == "update")
    moves = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    held = zip((when for when, _ in moves), accumulate(size for _, size in moves), strict=True)
    start, end = step.start_ns(), step.start_ns() + step.duration_ns()
    found.peak = max(size for when, size in held if start <= when <= end)


def told(account: Account) -> str:
    """The terms, their sum, the peak and the gap, in MiB."""
    lines = [[name, f"{size / MIB:.2f}"] for name, size in account.terms.items()]
    whole = sum(account.terms.values())
    lines += [
        ["sum of the terms", f"{whole / MIB:.2f}"],
        ["the allocator's peak", f"{account.peak / MIB:.2f}"],
    ]
    lines += [["gap", f"{account.gap:+.1%}"], ["frozen weights, in none", f"{account.weights / MIB:.2f}"]]
    journal = (
        f"the journal's caches are SQLite's own: at most {2 * CACHE_KIB // 1024} MiB in its two databases"
    )
    return f"{table(['beyond the frozen weights', 'MiB'], lines)}\n{journal}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="smollm2", help="smollm2, or a folder")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rows", type=int, default=1, help="fresh ones")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32")
    parser.add_argument("--checkpointing", action="store_true", help="compute blocks again in the backward")
    asked = parser.parse_args()
    settle(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = account(
        asked.model,
        tokens=asked.tokens,
        fresh=asked.rows,
        precision=asked.precision,
        checkpointing=asked.checkpointing,
        device=device,
    )
    again = ", blocks computed again" if asked.checkpointing else ""
    print(f"{asked.model}, {asked.rows} x {asked.tokens} tokens, {asked.precision}, {device}{again}")
    print(told(found))


if __name__ == "__main__":
    main()
