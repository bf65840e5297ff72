"""When to rest, and what is done then: a scheduler, and the plan of a sleep."""

from tenuto.consolidation.pace import cosine, warmed
from tenuto.consolidation.plan import Plan, mixed, plan
from tenuto.consolidation.scheduler import ConsolidationScheduler, crosses
from tenuto.reports import Reason

__all__ = ["ConsolidationScheduler", "Plan", "Reason", "cosine", "crosses", "mixed", "plan", "warmed"]
