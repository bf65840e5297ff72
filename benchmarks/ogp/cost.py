"""What protection costs beside the plain LoRA step: CPU time of whole updates of two learners, in turns.

One learns by replay alone (`er`), the other with OGP-LoRA-Stream at the same replay, one row of T tokens an
update, each row new, ROUND updates in each turn, so that sketches shrink and replay comes due as often as
they do. Bases are random: 256 directions at each site, which leaves a sketch no room, or 128 beside a sketch
of as many. The block is one layer of a Llama, d = 2048, with random weights and a head of 512 tokens.

Projection and basis are told apart from the whole method: what keeps A and its gradient outside the bases,
and what sketches inputs. The rest hears gradients and tells kappa, by which updates are held and bases give
way. Both are held to the bar.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ogp.tiny import EVERYTHING, FEW
from benchmarks.timing import Clock, interleave, table
from tenuto import Learner, OnlineExample, OnlineLearnerConfig
from tenuto.adapters import layers
from tenuto.adapters.lora import adapt
from tenuto.methods.shared.sketching import Sketching
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel, answer, code

RATIO, ROUND, ROUNDS, TOLD, VOCABULARY = 1 / 17, 16, 3, 24, 512
DIRECTIONS = 256
HELD = {"256": (256, 16), "128 + sketch": (128, 16), "128 + sketch, 8 tokens": (128, 8)}
"""Directions at each site, and inputs sketched of an update."""
BAR = 5.0
"""Per cent of the plain step."""
PART = "projection and basis"
PLACES = ((layers, "_outside"), (layers.Outside, "backward"), (Sketching, "note"))
"""Where they are computed."""


@dataclass(frozen=True, slots=True)
class Case:
    """One shape: how its base is made, how many tokens a row has, what is adapted."""

    name: str
    base: Callable[[], Any]
    tokens: int
    targets: tuple[str, ...]


def block(dtype: torch.dtype) -> Any:
    """One layer of a Llama of the shape of TinyLlama-1.1B."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=2048,
        intermediate_size=5632,
        num_hidden_layers=1,
        num_attention_heads=32,
        num_key_value_heads=4,
    )
    return LlamaForCausalLM(config).to(dtype).eval().requires_grad_(False)


def whole(dtype: str) -> Any:
    """SmolLM2-135M-Instruct."""
    from tenuto.models.bases import load

    return load("smollm2", dtype=dtype).model


CASES = [
    *(
        Case(f"block, {label}, T = {tokens}", lambda: block(torch.float32), tokens, targets)
        for label, targets in (("q, v", FEW), ("all sites", EVERYTHING))
        for tokens in (128, 512)
    ),
    *(
        Case(f"SmolLM2, {label}, {dtype}, T = 128", lambda dtype=dtype: whole(dtype), 128, targets)  # type: ignore[misc]
        for label, targets in (("q, v", FEW), ("all sites", EVERYTHING))
        for dtype in ("float32", "bfloat16")
    ),
]


def rows(tokens: int) -> Iterator[OnlineExample]:
    """Rows without end, of so many tokens, the last of them the answer."""
    for number in count():
        drawn = np.random.default_rng(number).integers(1, VOCABULARY, tokens).tolist()
        coded = code([(drawn[:-TOLD], False), (drawn[-TOLD:], True)], tokens)
        yield OnlineExample(input=coded, target=answer(coded, TOLD))


def learner(case: Case, method: str, held: int = 0, tokens: int = 16) -> Learner:
    """One that is to learn its first row, with random bases of `held` directions at its sites."""
    config = OnlineLearnerConfig(
        task="language",
        optimizer="adamw",
        learning_rate=1e-4,
        batch_size=1,
        boundaries="none",
        memory_size=64,
        replay_ratio=RATIO,
    )
    model = LanguageModel(adapt(case.base(), rank=8, targets=case.targets))
    options = {"ratio": RATIO, "directions": DIRECTIONS, "tokens": tokens} if method == "ogp_lora" else {}
    made = Learner(model, config, method=method, options=options)
    if method == "ogp_lora":
        made.anchor(stack([next(rows(case.tokens))]))
        draws = torch.Generator().manual_seed(1)
        made.body.adapter.commit(
            {
                site: torch.linalg.qr(torch.randn(len(basis), held, generator=draws))[0]
                for site, basis in made.body.adapter.bases.items()
            }
        )
    return made


def step(one: Learner, tokens: int) -> Callable[[], object]:
    """Learn one more row."""
    coming = rows(tokens)
    return lambda: one.learn_one(next(coming))


def measured(case: Case) -> list[list[str]]:
    """A line for each state of the bases."""
    made = {"plain": learner(case, "er")}
    made |= {name: learner(case, "ogp_lora", *state) for name, state in HELD.items()}
    clock, spent = Clock(), {name: list[float]() for name in made}

    def watched(name: str, make: Callable[[], object]) -> Callable[[], None]:
        def make_one() -> None:
            clock.spent = {}
            make()
            spent[name].append(clock.spent.get(PART, 0.0) * 1e6)

        return make_one

    steps = {name: watched(name, step(one, case.tokens)) for name, one in made.items()}
    with clock.over(PART, *PLACES):
        times = interleave(steps, rounds=ROUNDS, steps=ROUND, warm=1)
    lines, plain = [], times["plain"].median
    for name in HELD:
        part = 100 * statistics.fmean(spent[name]) / plain
        more, low, high = ((ratio - 1) * 100 for ratio in times[name].over(times["plain"]))
        whole = [f"{more:.1f}", f"{low:.1f} .. {high:.1f}"]
        met = ["met" if share <= BAR else "missed" for share in (part, more)]
        lines.append([case.name, name, f"{plain / 1e3:.0f}", f"{part:.1f}", met[0], *whole, met[1]])
    return lines


def show(_seeds: Sequence[int], _out: Path) -> None:
    """Measure and print, case by case; what is drawn does not hang on the seeds."""
    print(f"Cost: CPU time of an update, {ROUNDS} rounds of {ROUND} in turns, r = 8, one thread")
    bar = f"<= {BAR:g} %"
    head = ["", "directions", "plain, ms", f"{PART}, %", bar, "whole method, %", "quartiles", bar]
    for case in CASES:
        print(table(head, measured(case)), flush=True)
        gc.collect()
