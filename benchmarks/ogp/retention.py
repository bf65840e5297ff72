"""How far 200 further updates move what was protected, and how well the new rows are learned meanwhile.

Three rows are learned and protected, two others follow, AdamW with weight decay 0.1 throughout. Beside plain
LoRA: the same null-space block, where the gradient is projected before AdamW and the step is not; and PEFT's
OSF on the merged weights. The rate of each is the best of `RATES` for the new rows on seed 100.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.ogp import tiny
from benchmarks.timing import table
from tenuto import Learner, OnlineLearnerConfig, subspace
from tenuto.adapters.layers import Down
from tenuto.models.inputs import stack
from tenuto.tasks import Language
from tenuto.types import OnlineExample

UPDATES, KEPT, NEW, DECAY = 200, 3, 2, 0.1
RATES = (2e-3, 5e-3, 1e-2)
TUNED_ON = 100
Rows = list[OnlineExample]
Found = tuple[float, float]
"""The largest change of a protected logit, and the mean loss of the new rows."""


def taught(targets: tuple[str, ...], seed: int, method: str) -> tuple[Learner, Rows, Rows]:
    """A learner that knows the first rows, protected where the method protects; these, and the others."""
    config = OnlineLearnerConfig(
        task="language",
        optimizer="adamw",
        learning_rate=5e-3,
        weight_decay=DECAY,
        batch_size=NEW,
        boundaries="none",
        seed=seed,
    )
    options = {"threshold": 1.0, "ratio": 0.0} if method == "ogp_lora" else {}
    learner = Learner(tiny.model(targets, seed), config, method=method, options=options)
    rows = [tiny.row(*fact) for fact in tiny.dealt(seed, KEPT + NEW)]
    for _ in range(60):
        learner.learn_batch(stack(rows[:KEPT]))
    learner.consolidate()
    return learner, rows[:KEPT], rows[KEPT:]


def ours(targets: tuple[str, ...], seed: int, rate: float, method: str = "ogp_lora") -> Found:
    """The learner itself."""
    learner, kept, new = taught(targets, seed, method)
    before = learner.outputs(tiny.inputs(kept))
    learner.configure({"learning_rate": rate})
    for _ in range(UPDATES):
        learner.learn_batch(stack(new))
    moved = (learner.outputs(tiny.inputs(kept)) - before).abs().max()
    return float(moved), float(tiny.losses(learner, new).mean())


def plain(targets: tuple[str, ...], seed: int, rate: float) -> Found:
    """LoRA, on and on."""
    return ours(targets, seed, rate, "naive")


def before_adam(targets: tuple[str, ...], seed: int, rate: float) -> Found:
    """The same block, its gradient projected, and then AdamW."""
    learner, kept, new = taught(targets, seed, "ogp_lora")
    model = learner.model
    held: dict[nn.Parameter, Tensor] = {}
    for layer in model.modules():
        if isinstance(layer, Down):
            held[layer.free] = layer.basis
            layer.basis = layer.basis[:, :0]

    def project() -> None:
        for free, basis in held.items():
            if free.grad is not None:
                free.grad = subspace.remove(free.grad, basis)

    return _trained(model, kept, new, rate, project)


def osf(targets: tuple[str, ...], seed: int, rate: float) -> Found:
    """PEFT's Orthogonal Subspace Fine-tuning on the merged weights; it projects gradients too."""
    from peft import OSFConfig, get_peft_model

    learner, kept, new = taught(targets, seed, "naive")
    model: Any = learner.model
    merged = model.base.merge_and_unload()
    model.base = get_peft_model(merged, OSFConfig(target_modules=list(targets)))
    return _trained(model, kept, new, rate, lambda: None)


def _trained(model: nn.Module, kept: Rows, new: Rows, rate: float, project: Callable[[], None]) -> Found:
    task, batch = Language(), stack(new)
    targets = task.encode(batch.targets)
    with torch.no_grad():
        before = model(tiny.inputs(kept))
    free = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(free, lr=rate, weight_decay=DECAY)
    for _ in range(UPDATES):
        optimizer.zero_grad()
        task.loss(model(batch.inputs), targets).backward()
        project()
        optimizer.step()
    with torch.no_grad():
        moved = (model(tiny.inputs(kept)) - before).abs().max()
        return float(moved), float(task.loss(model(batch.inputs), targets))


METHODS: dict[str, Callable[[tuple[str, ...], int, float], Found]] = {
    "ogp_lora": ours,
    "plain LoRA": plain,
    "gradient projected, then AdamW": before_adam,
    "PEFT's OSF": osf,
}


def show(seeds: Sequence[int]) -> None:
    """Measure and print."""
    lines = []
    for name, targets in tiny.TARGETS.items():
        for method, measure in METHODS.items():
            tried = {rate: measure(targets, TUNED_ON, rate)[1] for rate in RATES}
            rate = min(tried, key=lambda one: tried[one])
            found = [measure(targets, seed, rate) for seed in seeds]
            moved, loss = max(one[0] for one in found), [one[1] for one in found]
            lines.append([method, name, f"{rate:g}", f"{moved:.1e}", f"{sum(loss) / len(loss):.4f}"])
    print(f"Retention: {UPDATES} updates on other rows, seeds {', '.join(map(str, seeds))}")
    print(table(["", "adapted", "rate", "max |d logit|", "new loss"], lines))
