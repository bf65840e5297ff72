"""Gradient-norm sampling: rows that would move the model most are drawn more often.

    p_i ~ (|grad l_i| + eps)^alpha,   w_i = (N p_i)^-beta / max w

The draw of least variance is in proportion to the norms (Alain et al. 2015; Katharopoulos & Fleuret 2018);
the weights, which keep it honest, are those of prioritized sampling. A norm is of the row's own loss under
the model of the step that replayed it, and costs another pass over the replayed rows.
"""

from __future__ import annotations

from tenuto.memory.sampling.prioritized import Prioritized


def policy(seed: int) -> Prioritized:
    """Large gradients more often."""
    return Prioritized(seed, needs=frozenset({"gradient norms"}))
