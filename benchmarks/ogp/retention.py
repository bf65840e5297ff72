"""How far 200 further updates move what was protected, and how well the new rows are learned meanwhile.

Two or three rows are learned and protected, two others follow, AdamW with weight decay 0.1 throughout,
float32. The tiny Llama is 64 wide: three rows fill what q and v read in four of its five layers. Beside plain
LoRA: the same null-space block, where the gradient is projected before AdamW and the step is not; and PEFT's
OSF on the merged weights, which projects gradients too. The rates of the first two are the best of `RATES`
for the new rows on seed 100; the others have that of plain LoRA.

What moves in float32 is mostly the rounding of its forward passes: the same weights in float64 show how far
`ogp_lora` moved what they compute.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from warnings import catch_warnings, simplefilter

import torch
from torch import Tensor, nn

from benchmarks.ogp import smol, tiny
from benchmarks.ogp.double import doubled
from benchmarks.runs import Runs
from benchmarks.timing import table
from tenuto import Learner, OnlineLearnerConfig, subspace
from tenuto.adapters.layers import Down
from tenuto.models.inputs import stack
from tenuto.tasks import Language
from tenuto.types import OnlineExample

TAUGHT, UPDATES, NEW, DECAY = 60, 200, 2, 0.1
KEPT = {"260k": (2, 3), "SmolLM2-135M": (3,)}
SUBJECTS: dict[str, ModuleType] = {"260k": tiny, "SmolLM2-135M": smol}
RATES = {"260k": (5e-3, 1e-2, 2e-2, 4e-2), "SmolLM2-135M": (1e-3, 3e-3)}
TUNED_ON = 100
HEAD = ["", "base", "adapted", "kept", "rate", "max |d logit|", "in float64", "new loss before", "after"]
Rows = list[OnlineExample]


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What one run gave.

    Args:
        moved: the largest change of a protected logit.
        before, after: the mean loss of the new rows, in nats per token.
        exact: that change where before and after are computed in float64; None: not asked.
    """

    moved: float
    before: float
    after: float
    exact: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """One run.

    Args:
        subject: the base, by its name in `SUBJECTS`.
        sites: what is adapted, by its name in `tiny.TARGETS`.
        kept: rows that are protected.
        rate: of the further updates.
        seed: key of the facts and of the adapter.
    """

    subject: str
    sites: str
    kept: int
    rate: float
    seed: int

    @property
    def targets(self) -> tuple[str, ...]:
        """The layers that are adapted."""
        return tiny.TARGETS[self.sites]


def taught(job: Job, method: str) -> tuple[Learner, Rows, Rows]:
    """A learner that knows the first rows, protected where the method protects; these, and the others."""
    config = OnlineLearnerConfig(
        task="language",
        optimizer="adamw",
        learning_rate=5e-3,
        weight_decay=DECAY,
        batch_size=NEW,
        boundaries="none",
        seed=job.seed,
    )
    options = {"threshold": 1.0, "ratio": 0.0} if method == "ogp_lora" else {}
    subject: Any = SUBJECTS[job.subject]
    learner = Learner(subject.model(job.targets, job.seed), config, method=method, options=options)
    rows = [subject.row(*fact) for fact in tiny.dealt(job.seed, job.kept + NEW)]
    for _ in range(TAUGHT):
        learner.learn_batch(stack(rows[: job.kept]))
    learner.consolidate()
    return learner, rows[: job.kept], rows[job.kept :]


def ours(job: Job, method: str = "ogp_lora") -> Found:
    """The learner itself."""
    learner, kept, new = taught(job, method)
    asked, exact = tiny.inputs(kept), None
    before, first = learner.outputs(asked), float(tiny.losses(learner, new).mean())
    precise = doubled(learner.model, asked) if method == "ogp_lora" else None
    learner.configure({"learning_rate": job.rate})
    for _ in range(UPDATES):
        learner.learn_batch(stack(new))
    moved = (learner.outputs(asked) - before).abs().max()
    if precise is not None:
        exact = float((doubled(learner.model, asked) - precise).abs().max())
    after = float(tiny.losses(learner, new).mean())
    return Found(moved=float(moved), before=first, after=after, exact=exact)


def plain(job: Job) -> Found:
    """LoRA, on and on."""
    return ours(job, "naive")


def before_adam(job: Job) -> Found:
    """The same block, its gradient projected, and then AdamW."""
    learner, kept, new = taught(job, "ogp_lora")
    held: dict[nn.Parameter, Tensor] = {}
    for layer in learner.model.modules():
        if isinstance(layer, Down):
            held[layer.free] = layer.basis
            layer.basis = layer.basis[:, :0]

    def project() -> None:
        for free, basis in held.items():
            if free.grad is not None:
                free.grad = subspace.remove(free.grad, basis)

    return _trained(learner.model, kept, new, job.rate, project)


def osf(job: Job) -> Found:
    """PEFT's Orthogonal Subspace Fine-tuning on the merged weights."""
    from peft import OSFConfig, get_peft_model

    learner, kept, new = taught(job, "naive")
    model: Any = learner.model
    with catch_warnings():
        simplefilter("ignore", FutureWarning)
        merged = model.base.merge_and_unload()
        model.base = get_peft_model(merged, OSFConfig(target_modules=list(job.targets)))
    return _trained(model, kept, new, job.rate, lambda: None)


def _trained(model: nn.Module, kept: Rows, new: Rows, rate: float, project: Callable[[], None]) -> Found:
    task, batch = Language(), stack(new)
    targets = task.encode(batch.targets)
    with torch.no_grad():
        before, first = model(tiny.inputs(kept)), float(task.loss(model(batch.inputs), targets))
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=rate, weight_decay=DECAY)
    for _ in range(UPDATES):
        optimizer.zero_grad()
        task.loss(model(batch.inputs), targets).backward()
        project()
        optimizer.step()
    with torch.no_grad():
        moved = (model(tiny.inputs(kept)) - before).abs().max()
        return Found(moved=float(moved), before=first, after=float(task.loss(model(batch.inputs), targets)))


METHODS: dict[str, Callable[[Job], Found]] = {
    "ogp_lora": ours,
    "plain LoRA": plain,
    "gradient projected, then AdamW": before_adam,
    "PEFT's OSF": osf,
}


def line(subject: str, sites: str, kept: int, method: str, seeds: Sequence[int], runs: Runs) -> list[str]:
    """A row of the table."""

    def measure(method: str, rate: float, seed: int) -> Found:
        job = Job(subject=subject, sites=sites, kept=kept, rate=rate, seed=seed)
        about = {"what": "retention", "method": method, **asdict(job)}
        return Found(**runs.get(about, lambda: asdict(METHODS[method](job))))

    tuned = method if method == "ogp_lora" else "plain LoRA"
    tried = {rate: measure(tuned, rate, TUNED_ON).after for rate in RATES[subject]}
    rate = min(tried, key=lambda one: tried[one])
    found = [measure(method, rate, seed) for seed in seeds]
    before, after = (sum(getattr(one, what) for one in found) / len(found) for what in ("before", "after"))
    moved, exact = max(one.moved for one in found), [one.exact for one in found if one.exact is not None]
    told = [f"{moved:.1e}", f"{max(exact):.1e}" if exact else ""]
    return [method, subject, sites, str(kept), f"{rate:g}", *told, f"{before:.2f}", f"{after:.4f}"]


def show(seeds: Sequence[int], out: Path) -> None:
    """Measure and print."""
    runs = Runs(out / "runs.jsonl")
    print(f"Retention: {UPDATES} updates on other rows, seeds {', '.join(map(str, seeds))}")
    for subject in SUBJECTS:
        lines = [
            line(subject, sites, kept, method, seeds, runs)
            for sites in tiny.TARGETS
            for kept in KEPT[subject]
            for method in METHODS
        ]
        print(table(HEAD, lines), flush=True)
