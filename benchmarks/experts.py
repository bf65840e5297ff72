"""How evenly a gate spreads questions over experts: the share of them that each expert answers.

Questions of the known-facts probe and sentences of CLINC150, as SmolLM2's frozen token vectors give them, go
to the `--active` of `--experts` experts whose keys are nearest, over `--seeds` draws of keys: as they are,
and less the mean of the ordinary sentences and questions that a home's anchors begin with.

    python -m benchmarks.experts [--experts 8] [--active 2] [--seeds 3]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
from itertools import product
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common import settle
from benchmarks.timing import table
from tenuto.adapters.experts import Gate
from tenuto.models import bases
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tenuto.models.speech import Speech
from tenuto.session.openings import QUESTIONS, SENTENCES
from tenuto.types import OnlineExample

ROWS = 400


def embedded(model: LanguageModel, speech: Speech, asked: list[str]) -> Tensor:
    """Questions as vectors (n, d)."""
    rows = [OnlineExample(input=speech.asking([("user", text)]), target=[0.0]) for text in asked]
    return model.embed(stack(rows).inputs)


def questions(folder: Path) -> dict[str, list[str]]:
    """The first rows of each set."""
    facts = json.loads((folder / "known_facts" / "known_1000.json").read_text())
    with gzip.open(folder / "clinc150" / "data_full.json.gz", "rt") as file:
        clinc = json.load(file)["train"]
    step = max(len(clinc) // ROWS, 1)
    return {
        "known facts": [one["prompt"] for one in facts[:ROWS]],
        "CLINC150": [text for text, _ in clinc[::step][:ROWS]],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--experts", type=int, default=8)
    parser.add_argument("--active", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    settle(1)
    base = bases.load("smollm2", dtype="bfloat16")
    model, speech = LanguageModel(base.model), Speech(base)
    lines, ordinary = [], embedded(model, speech, [*SENTENCES, *QUESTIONS])
    for name, texts in questions(Path(os.environ["TENUTO_DATA"])).items():
        vectors = embedded(model, speech, texts)
        for seed, centred in product(range(asked.seeds), (False, True)):
            gate = Gate(asked.experts, asked.active, seed=seed, embed=lambda rows: rows)
            if centred:
                gate.settle(ordinary)
            gate.choose(vectors)
            shares = gate.shares.mean(0).sort(descending=True).values
            told = [f"{100 * one:.0f}" for one in shares.tolist()]
            lines.append([name, "less the mean" if centred else "as they are", str(seed), *told])
    names = [f"{n + 1}." for n in range(asked.experts)]
    print(f"{ROWS} questions, % of them answered by each expert, the most asked first")
    print(table(["", "", "seed", *names], sorted(lines)))


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
