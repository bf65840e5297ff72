"""The memory ledger: what learning takes beyond the frozen weights, by terms, and the allocator's peak."""

from tenuto.studies.ledger.count import count
from tenuto.studies.ledger.measure import Account, account, bounded
from tenuto.studies.ledger.plan import Ledger, Plan, Term
from tenuto.studies.ledger.shape import configured, shaped

__all__ = ["Account", "Ledger", "Plan", "Term", "account", "bounded", "configured", "count", "shaped"]
