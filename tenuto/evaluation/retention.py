"""Retention in bits: how much of a context's information the model still holds.

R_i(t) = (L_ref,i - L_i(t)) / ln 2 bits per example, where L_i(t) is the loss on context i at moment t in
nats and L_ref,i the loss of knowing nothing but how often each label occurs (or a base model's loss).
0 is that reference, below 0 the model is worse than it. Accuracy forgets in jumps; bits fade first.
"""

from __future__ import annotations

from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tenuto.errors import ConfigError

Floats = NDArray[np.float64]


def label_entropy(counts: ArrayLike) -> float:
    """The label-marginal loss in nats: the entropy of `counts`, how often each label occurs.

    >>> round(label_entropy([50, 50]), 4)
    0.6931
    """
    count = np.asarray(counts, dtype=np.float64)
    if count.ndim != 1 or not np.isfinite(count).all() or (count < 0).any() or not count.sum() > 0:
        raise ConfigError(f"counts is {count.tolist()}: give a count per label, not all zero")
    share = count[count > 0] / count.sum()
    return float(-(share * np.log(share)).sum()) + 0.0


def retention_bits(losses: ArrayLike, *, reference: ArrayLike) -> Floats:
    """(t, c) bits per example retained of context i at moment t.

    Args:
        losses: (t, c) mean loss per example in nats; NaN where not measured.
        reference: (c,) reference loss of each context in nats, as from `label_entropy`.

    >>> retention_bits([[0.0, 0.6931471805599453]], reference=[0.6931471805599453] * 2).tolist()
    [[1.0, 0.0]]
    """
    loss, known = np.asarray(losses, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if loss.ndim != 2 or known.shape != loss.shape[1:]:
        raise ConfigError(f"losses has shape {loss.shape} and reference {known.shape}: give (t, c) and (c,)")
    if np.isinf(loss).any() or not np.isfinite(known).all():
        raise ConfigError("losses and reference must be finite (a loss that was not measured is NaN)")
    return (known - loss) / log(2)


def information_forgetting(retention: ArrayLike) -> Floats:
    """(c,) bits per example lost: the most ever held at an earlier moment, less what is held at the last.

    Below zero where the last moment holds more than any before; NaN where a context was not measured at the
    last moment or at none before.

    >>> information_forgetting([[1.0, 0.0], [2.0, 0.5], [0.5, 1.5]]).tolist()
    [1.5, -1.0]
    """
    bits = np.asarray(retention, dtype=np.float64)
    if bits.ndim != 2 or len(bits) < 2:
        raise ConfigError(f"retention has shape {bits.shape}: give (t, c) with at least 2 moments")
    return np.asarray(np.fmax.reduce(bits[:-1], axis=0) - bits[-1])
