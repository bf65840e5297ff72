"""The terms of an update, counted from a base's shape alone.

Activations are those that the forward of a model without numbers keeps, operation by operation. With
checkpointing a block keeps its input, and the largest block is computed again. All else is arithmetic on the
adapted layers: r (d_in + d_out) numbers of each, d m of each site's basis, 2 m d of its sketch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from tenuto.adapters.blocks import Blocks
from tenuto.adapters.layers import Down
from tenuto.adapters.reads import ROWS
from tenuto.errors import ConfigError
from tenuto.likelihood import TOGETHER, log_likelihood
from tenuto.methods.shared import sketching
from tenuto.studies.ledger.kept import Kept, storage
from tenuto.studies.ledger.plan import Ledger, Plan, Term
from tenuto.studies.ledger.shape import bare, own

if TYPE_CHECKING:
    from transformers import PretrainedConfig

SINGLE = 4
"""Bytes of a float32."""


def count(config: PretrainedConfig, plan: Plan) -> Ledger:
    """The terms of a base of this configuration.

    Raises:
        ConfigError: the plan does not fit the base.

    >>> from tenuto.studies.ledger.shape import shaped
    >>> found = count(shaped("layers=2,width=64,vocabulary=100"), Plan(tokens=16, directions=8))
    >>> {term.name: term.bytes for term in found.terms}["bases"]
    4096
    """
    if not 1 <= plan.active <= plan.experts:
        raise ConfigError(f"{plan.active} of {plan.experts} experts cannot be active")
    with bare(config, plan) as (model, blocks):
        weights = sum(one.nbytes for one in model.parameters() if not one.requires_grad)
        kept, (held, told) = _ran(model, blocks, plan)
    passed = _passed(kept, held, told, config, plan)
    resting = _resting(blocks, plan, kept.vocabulary)
    return Ledger(terms=(*_learned(blocks, plan), *passed, *resting), weights=weights)


def _learned(blocks: Blocks, plan: Plan) -> tuple[Term, ...]:
    """What learns on the device, and what of the method lies there."""
    adapters, frozen = (SINGLE * rank * _sides(blocks) * plan.active for rank in (plan.rank, plan.frozen))
    each = [SINGLE * width * columns for width, columns in _sites(blocks)]
    bases = max(each) if plan.streamed else plan.active * sum(each)
    inputs = min(plan.sketched, plan.rows * plan.tokens) + sketching.TOGETHER
    waiting = plan.active * sum(SINGLE * width * inputs for width, _ in _sites(blocks))
    return (
        Term(name="adapters, float32 masters", bytes=adapters),
        Term(name="frozen blocks", bytes=frozen),
        Term(name="Adam's moments", bytes=2 * adapters),
        Term(name="the next moments beside them", bytes=2 * adapters),
        Term(name="gradients", bytes=adapters),
        Term(name="proposed update", bytes=adapters),
        Term(name="bases, one at a time" if plan.streamed else "bases", bytes=bases),
        Term(name="inputs that wait for the sketches, at most", bytes=waiting),
    )


def _passed(
    kept: Kept, held: dict[int, int], told: int, config: PretrainedConfig, plan: Plan
) -> tuple[Term, ...]:
    """What forward and backward leave on the device until the update is made."""
    by_block, wide = kept.blocks(), sum(kept.wide.values())
    outside = by_block.pop(-1, 0)
    passed: tuple[Term, ...]
    if plan.checkpointing:
        states = plan.rows * plan.tokens * config.hidden_size * getattr(torch, plan.precision).itemsize
        passed = (
            Term(name="inputs of blocks", bytes=len(by_block) * states),
            Term(name="activations outside of blocks", bytes=outside),
            Term(name="one block, computed again", bytes=max(by_block.values(), default=0)),
            Term(name="inputs held for the method", bytes=sum(held.values())),
        )
    else:
        beside = sum(size for name, size in held.items() if name not in kept.narrow)
        passed = (
            Term(name="activations kept for the backward", bytes=outside + sum(by_block.values())),
            Term(name="inputs held for the method beside them", bytes=beside),
        )
    chunk = SINGLE * min(TOGETHER, plan.rows * plan.answered) * kept.vocabulary
    return (
        *passed,
        Term(name="samples of gradients held for the method", bytes=told),
        Term(name="logits", bytes=wide),
        Term(name="their gradient", bytes=wide),
        Term(name="a chunk of them in float32", bytes=chunk),
    )


def _resting(blocks: Blocks, plan: Plan, vocabulary: int) -> tuple[Term, ...]:
    """What lies in host memory."""
    length = plan.tokens if plan.length is None else plan.length
    told = max(length * plan.answered // plan.tokens, 1)
    row = -(-length // 8) + (2 if vocabulary <= 65_535 else 4) * (length + told)
    sketch = plan.experts * sum(2 * SINGLE * width * columns for width, columns in _sites(blocks))
    terms = [Term(name="sketches, while bases are empty", bytes=sketch, place="host")]
    bases = SINGLE * sum(width * columns for width, columns in _sites(blocks))
    resting = plan.experts if plan.streamed else plan.experts - plan.active
    if plan.streamed:
        terms.append(Term(name="all bases", bytes=plan.experts * bases, place="host"))
    if idle := plan.experts - plan.active:
        ranks = 3 * plan.rank + plan.frozen
        beside = 0 if plan.streamed else resting * bases
        size = idle * SINGLE * ranks * _sides(blocks) + beside
        terms.append(Term(name="experts at rest, with their moments", bytes=size, place="host"))
    return (*terms, Term(name="replay ring", bytes=plan.memory * row, place="host"))


def _sides(blocks: Blocks) -> int:
    """d_in + d_out, summed over the adapted layers."""
    return sum(down.free.shape[1] + up.free.shape[0] for down, up in blocks.layers.values())


def _sites(blocks: Blocks) -> list[tuple[int, int]]:
    """Width and columns of each basis."""
    return [(basis.shape[0], basis.shape[1]) for basis in blocks.bases.values()]


def _ran(model: nn.Module, blocks: Blocks, plan: Plan) -> tuple[Kept, tuple[dict[int, int], int]]:
    """A forward without numbers: what it kept, the inputs that the method holds, and its gradients' bytes."""
    base: Any = model
    head = base.get_output_embeddings()
    kept = Kept(vocabulary=head.weight.shape[0], known=own(model))
    for number, block in enumerate(_stack(model)):
        block.register_forward_pre_hook(_Entered(kept, number))
        block.register_forward_hook(_Entered(kept, -1))
    head.register_forward_pre_hook(lambda _, args: args[0][:, : plan.answered])
    inputs: list[Tensor] = []
    for first, *_ in blocks.sites.values():
        blocks.layers[first][0].register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
    ids = torch.zeros(plan.rows, plan.tokens, dtype=torch.int64)
    with kept.watching():
        logits: Tensor = base(input_ids=ids, use_cache=False).logits
        chosen = torch.zeros(plan.rows, plan.answered, 1, dtype=torch.int64)
        log_likelihood(logits, chosen, None).sum()
    kept.note(logits)
    held = {storage(one): one.untyped_storage().nbytes() for one in inputs}
    widths = sum(down.free.shape[1] for down, _ in blocks.layers.values())
    return kept, (held, SINGLE * plan.rows * ROWS * widths * plan.active)


class _Entered:
    """A hook that says which block runs."""

    def __init__(self, kept: Kept, number: int) -> None:
        self._kept, self._number = kept, number

    def __call__(self, *_: Any) -> None:
        """A block is entered or left."""
        self._kept.block = self._number


def _stack(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model, in order."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    found: list[nn.Module] = [
        part for part in model.modules() if isinstance(part, GradientCheckpointingLayer)
    ]
    if not found or not any(isinstance(part, Down) for part in model.modules()):
        raise ConfigError("this base has no blocks to count by")
    return found
