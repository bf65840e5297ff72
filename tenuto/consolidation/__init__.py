"""When to rest: the moments at which a learner should consolidate."""

from tenuto.consolidation.scheduler import ConsolidationScheduler, Reason, crosses

__all__ = ["ConsolidationScheduler", "Reason", "crosses"]
