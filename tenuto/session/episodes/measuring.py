"""Measuring a language model around an episode: on its anchors, and on corrections that were approved."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from tenuto.evaluation.episodes import agreement, perplexity, share
from tenuto.learner import Learner
from tenuto.session.episodes.reports import Measures
from tenuto.store.records import Entry
from tenuto.streams.encoding import collate

TOGETHER = 4
"""Rows that are asked at once: each token's answer is as wide as the vocabulary."""


def measured(learner: Learner, entries: Sequence[Entry], *, anchors: int) -> Measures:
    """What a learner holds, on so many of its anchors and on these corrections; nothing changes."""
    right: list[bool] = []
    losses: list[float] = []
    for outputs, targets in _asked(learner, entries):
        right += learner.task.right(outputs, endless(targets)) or []
        losses += learner.task.losses(outputs, targets).tolist()
    seqs = [entry.seq for entry in entries]
    return Measures(
        retention=retained(learner, anchors),
        accumulation=share(right),
        perplexity=perplexity(losses),
        right=tuple(seq for seq, known in zip(seqs, right, strict=True) if known),
        wrong=tuple(seq for seq, known in zip(seqs, right, strict=True) if not known),
    )


def endless(targets: Tensor) -> Tensor:
    """Answers without their last token, which ends them: to go on after an answer is not to get it wrong.

    >>> endless(torch.tensor([[7, 8, 2, -1], [7, -1, -1, -1]])).tolist()
    [[7, 8, -1, -1], [7, -1, -1, -1]]
    """
    lengths = (targets >= 0).sum(1)
    last = torch.arange(targets.shape[1], device=targets.device) == (lengths - 1)[:, None]
    return targets.masked_fill(last & (lengths > 1)[:, None], -1)


def retained(learner: Learner, most: int) -> float | None:
    """The share of its anchors' tokens that it answers as it did first, of at most so many anchors, evenly
    spread; None where none are asked."""
    columns = {} if learner.recipe.anchors is None else learner.recipe.anchors.columns
    if not columns or not most:
        return None
    every = len(columns["targets"])
    chosen = torch.arange(min(most, every)) * every // min(most, every)
    columns = {name: column[chosen.to(column.device)] for name, column in columns.items()}
    first, targets = columns["likeliest"][..., 0], columns["targets"]
    now = []
    for part in torch.split(columns["inputs"], TOGETHER):
        said = learner.body.infer(part).argmax(-1)
        now.append(pad(said, (0, first.shape[1] - said.shape[1])))
    return agreement(first.cpu(), torch.cat(now).cpu(), counted=(targets >= 0).cpu())


def weights(learner: Learner) -> dict[str, Tensor]:
    """A copy of what is trained, on the host."""
    return {
        name: leaf.detach().to("cpu", torch.float32, copy=True) for name, leaf in learner.body.params.items()
    }


def _asked(learner: Learner, entries: Sequence[Entry]) -> Iterable[tuple[Tensor, Tensor]]:
    for start in range(0, len(entries), TOGETHER):
        rows = collate([entry.body or b"" for entry in entries[start : start + TOGETHER]], numbers=True)
        targets = learner.task.encode(rows.targets)
        if targets is not None:
            yield learner.body.infer(rows.inputs).float(), targets.to(learner.body.device)
