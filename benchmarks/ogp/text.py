"""What a domain of real text loses while another is learned, by how much of it is protected, and where.

SmolLM2-135M, its base in bfloat16, an adapter of rank 8, AdamW. Python's own docstrings are protected while
CLINC150's requests are learned: rows of 64 tokens, others for the bases, for learning and for asking, dealt
out by the seed. Nothing of the protected domain is learned or replayed: `SEEDING` of its rows seed the bases.
Energy is the share of what held-out rows give the sites that the bases capture. The rate of each kind of line
is the one of `RATES` with which the new domain's held-out rows were learned best on seed 100, with 64
directions where there are any.

A difference between the narrowest bases and plain LoRA is smaller than three seeds tell: `closer` chooses the
rate of each line on three seeds, with its own directions, and asks ten others.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.ogp import prose
from benchmarks.runs import Runs
from benchmarks.timing import table
from tenuto import Learner, OnlineExample, OnlineLearnerConfig, subspace
from tenuto.adapters.lora import adapt
from tenuto.evaluation import Curve, Interval, Report, Run, interval, save_png
from tenuto.methods.shared.site_inputs import inputs
from tenuto.models.bases import load
from tenuto.models.inputs import stack
from tenuto.models.language import LanguageModel
from tenuto.tasks import Language

SEEDING, HELD, LEARNED, AT_ONCE = 64, 16, 64, 2
RATES = {"q, v": (1e-3, 2e-3, 4e-3, 8e-3), "all": (5e-4, 1e-3, 2e-3, 4e-3)}
TUNED_ON, TUNED_AT = 100, 64
ATTENTION, MLP = ("q_proj", "v_proj"), ("gate_proj", "up_proj", "down_proj")
SITES = {"all": ("q_proj", "k_proj", "v_proj", "o_proj", *MLP), "q, v": ATTENTION, "MLP": MLP}
WIDTHS = {"all": (0, 16, 64, 256), "q, v": (0, 64, 128, 256, 384), "MLP": (64, 128, 256, 384)}
"""Directions of a basis, by what is adapted; 0: plain LoRA."""
CLOSER = ("all", (0, 8, 16), range(10, 20))
"""Sites, directions and seeds of the closer look."""
CHOSEN_ON = range(100, 103)
"""Where its rates are chosen."""
HEAD = ("", "adapted", "rate", "lost", "new before", "after", "behind plain LoRA", "energy captured, %")
TUNED = {"q, v": "q, v", "MLP": "all", "all": "all"}
"""By what is adapted, where the rate is chosen."""
Rows = list[OnlineExample]


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run.

    Args:
        sites: what is adapted, by its name in `SITES`.
        width: directions of a basis; 0: plain LoRA.
        rate: AdamW's.
        seed: key of the rows and of the adapter.
    """

    sites: str
    width: int
    rate: float
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What a run gave, in nats per token of held-out rows, and the share of energy captured at the sites.

    Args:
        lost: the protected domain's loss, risen by so much.
        new: the new domain's loss after, and before.
        energy: by site's kind, the mean over blocks.
    """

    lost: float
    new: tuple[float, float]
    energy: dict[str, float]


def run(job: Job) -> Found:
    """Protect one domain, learn the other."""
    base = load("smollm2", dtype="bfloat16")
    held, old = prose.dealt("docstrings", base.tokenizer, job.seed, SEEDING, HELD)
    rows, new = prose.dealt("requests", base.tokenizer, job.seed, LEARNED, HELD)
    config = OnlineLearnerConfig(
        task="language",
        optimizer="adamw",
        learning_rate=job.rate,
        batch_size=AT_ONCE,
        boundaries="none",
        seed=job.seed,
    )
    options = {"directions": job.width, "general": job.width, "threshold": 1.0, "ratio": 0.0}
    protected = {"method": "ogp_lora", "options": options} if job.width else {}
    model = LanguageModel(adapt(base.model, targets=SITES[job.sites], seed=job.seed))
    learner = Learner(model, config, **protected)
    energy = {}
    if job.width:
        learner.anchor(stack(held))
        energy = captured(learner, old)
    before = losses(learner, old), losses(learner, new)
    for at in range(0, len(rows), AT_ONCE):
        learner.learn_batch(stack(rows[at : at + AT_ONCE]))
    after = losses(learner, old), losses(learner, new)
    return Found(lost=after[0] - before[0], new=(after[1], before[1]), energy=energy)


def losses(learner: Learner, rows: Rows) -> float:
    """The mean loss of rows, in nats per token."""
    task, found = Language(), []
    for at in range(0, len(rows), 4):
        batch = stack(rows[at : at + 4])
        found.append(task.losses(learner.outputs(batch.inputs).float(), task.encode(batch.targets)))
    return float(torch.cat(found).double().mean())


def captured(learner: Learner, rows: Rows) -> dict[str, float]:
    """By kind of site, the share of what rows give that the bases capture: the mean over blocks."""
    adapter: Any = learner.body.adapter
    shares: dict[str, list[float]] = {}
    for site, found in inputs(adapter, learner._objective, stack(rows)):
        shares.setdefault(site.rpartition(".")[2], []).append(subspace.captured(found, adapter.bases[site]))
    return {kind: sum(some) / len(some) for kind, some in shares.items()}


def measure(runs: Runs, sites: str, width: int, rate: float, seed: int) -> Found:
    """A run that is there, or is made."""
    job = Job(sites=sites, width=width, rate=rate, seed=seed)
    return Found(**runs.get({"what": "text", **asdict(job)}, lambda: asdict(run(job))))


def best(runs: Runs, sites: str, width: int, seeds: Sequence[int]) -> float:
    """The rate with which the new domain is learned best on seeds of its own."""
    tried = {
        rate: statistics.fmean(measure(runs, sites, width, rate, seed).new[0] for seed in seeds)
        for rate in RATES[sites]
    }
    return min(tried, key=lambda rate: tried[rate])


def closer(_seeds: Sequence[int], out: Path) -> None:
    """Measure and print the closer look, on seeds of its own."""
    runs, (sites, widths, seeds) = Runs(out / "runs.jsonl"), CLOSER
    print(f"Real text, a closer look: seeds {', '.join(map(str, seeds))}, nats per token")
    compared(runs, sites, {width: best(runs, sites, width, CHOSEN_ON) for width in widths}, seeds)


def compared(
    runs: Runs, sites: str, rates: Mapping[int, float], seeds: Sequence[int]
) -> dict[int, list[Found]]:
    """Measure and print bases by their widths and rates, each beside plain LoRA where there is one."""
    found = {
        width: [measure(runs, sites, width, rate, seed) for seed in seeds] for width, rate in rates.items()
    }
    lines = [line(sites, width, rates[width], some, found.get(0)) for width, some in found.items()]
    print(table(HEAD, lines), flush=True)
    return found


def show(seeds: Sequence[int], out: Path) -> None:
    """Measure, print and draw."""
    runs, drawn = Runs(out / "runs.jsonl"), []
    print(f"Real text: {LEARNED // AT_ONCE} updates, seeds {', '.join(map(str, seeds))}, nats per token")
    for sites in SITES:
        rates = {n: best(runs, TUNED[sites], TUNED_AT if n else 0, (TUNED_ON,)) for n in WIDTHS[sites]}
        found = compared(runs, sites, rates, seeds)
        drawn += curves(sites, seeds, {width: some for width, some in found.items() if width})
    report = Report(title="What docstrings lose while requests are learned", runs=tuple(drawn))
    save_png(report, out / "text.png")
    print(f"drawn: {out / 'text.png'}")


def line(
    sites: str, width: int, rate: float, found: Sequence[Found], plain: Sequence[Found] | None
) -> list[str]:
    """A row of the table; the new domain's loss also less that of plain LoRA, seed by seed."""
    lost = interval([one.lost for one in found])
    before, after = (interval([one.new[n] for one in found]) for n in (1, 0))
    told = ", ".join(f"{kind} {100 * share:.1f}" for kind, share in energies(found).items())
    behind = ""
    if width and plain:
        behind = spell(interval([one.new[0] - other.new[0] for one, other in zip(found, plain, strict=True)]))
    name = f"m = {width}" if width else "plain LoRA"
    return [name, sites, f"{rate:g}", spell(lost), f"{before.mean:.3f}", spell(after), behind, told]


def energies(found: Sequence[Found]) -> dict[str, float]:
    """By kind of site, the share of energy captured: the mean over seeds."""
    return {kind: sum(one.energy[kind] for one in found) / len(found) for kind in found[0].energy}


def curves(sites: str, seeds: Sequence[int], found: Mapping[int, Sequence[Found]]) -> list[Run]:
    """What was lost against the energy captured, a run for each seed."""
    shares = {width: 100 * statistics.fmean(energies(some).values()) for width, some in found.items()}
    widths = sorted(shares, key=lambda width: shares[width])
    told = {"x_label": "energy captured, %, mean of sites", "y_label": "nats per token lost"}
    return [
        Run(
            method=sites,
            seed=seed,
            curves={
                "Lost by energy captured": Curve(
                    x=tuple(shares[width] for width in widths),
                    y=tuple(found[width][number].lost for width in widths),
                    **told,
                )
            },
        )
        for number, seed in enumerate(seeds)
    ]


def spell(found: Interval) -> str:
    """A mean with its 95 % interval over seeds."""
    return f"{found.mean:.4f}" + ("" if found.half_width is None else f" ± {found.half_width:.4f}")
