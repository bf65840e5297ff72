"""What a learner of a language model takes beyond the frozen weights: its terms, and the allocator's peak.

One update of `--rows` fresh rows of `--tokens` tokens. `--method anchored` learns as a home by name does:
three rows replayed for each fresh one, and four anchors, all of that length. `--method ogp_lora` learns
queries and values, alone, with its bases and frozen blocks at their bounds. The terms are counted: of
`anchored` bytes of the learner's own tensors, and of the storages that the forward keeps for the backward,
those as wide as the vocabulary apart; of `ogp_lora` as `tenuto adapters ledger` counts them, from the base's
shape. The peak is measured (`tenuto.studies.ledger`). Not all terms are there at once, and each operation has
tensors of its own that no term counts, so that the sum is near the peak and not the peak.

    python -m benchmarks.memory_beyond [--model smollm2|FOLDER] [--method ogp_lora] [--tokens 64] [--rows 1]
        [--checkpointing]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks.common import settle
from benchmarks.timing import table
from tenuto import Learner, OnlineLearnerConfig
from tenuto.adapters.lora import adapt, middle
from tenuto.config import PRECISIONS
from tenuto.models import bases
from tenuto.models.language import LanguageModel
from tenuto.session.spoken import SETTINGS
from tenuto.store.database import CACHE_KIB
from tenuto.studies import ledger
from tenuto.studies.ledger import Account, Plan, bounded

HELD = 64
"""Anchors that are held; a step reads four of them."""
METHODS = ("anchored", "ogp_lora")
MIB = 2**20


def account(
    name: str,
    *,
    tokens: int = 64,
    fresh: int = 1,
    precision: str = "float32",
    checkpointing: bool = False,
    device: str = "cpu",
    method: str = "anchored",
) -> Account:
    """Count and measure one update on a base."""
    base: Any = bases.load(name, dtype=precision).model.to(device)
    fused = precision == "float32" or device != "cpu"
    plan = Plan(tokens=tokens, rows=fresh, precision=precision, checkpointing=checkpointing, fused=fused)
    sizes: dict[str, Any] = {"tokens": tokens, "fresh": fresh, "device": device}
    if method == "anchored":
        return ledger.account(base, partial(made, plan), anchors=HELD, **sizes)
    found = ledger.account(base, partial(bounded, plan=plan), **sizes)
    counted = ledger.count(ledger.configured(name), plan).terms
    return replace(
        found, terms={one.name: one.bytes for one in counted if device == "cpu" or one.place == "device"}
    )


def made(plan: Plan, base: nn.Module) -> Learner:
    """A learner as a home makes it, of one update per batch."""
    targets, layers = middle(base)
    model = LanguageModel(adapt(base, targets=targets, layers=layers), checkpointing=plan.checkpointing)
    config = OnlineLearnerConfig.of({**SETTINGS, "passes": 1, "stop_loss": None, "precision": plan.precision})
    return Learner(model, config, method="anchored")


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
    parser.add_argument("--method", choices=METHODS, default="anchored")
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
        method=asked.method,
    )
    again = ", blocks computed again" if asked.checkpointing else ""
    update = f"{asked.method}, {asked.rows} x {asked.tokens} tokens, {asked.precision}"
    print(f"{asked.model}, {update}, {device}{again}")
    print(told(found))


if __name__ == "__main__":
    main()
