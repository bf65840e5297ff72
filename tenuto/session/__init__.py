"""The walk: streams -> journal -> learner -> ledger."""

from tenuto.session.reports import Forgotten, Progress
from tenuto.session.session import Session

__all__ = ["Forgotten", "Progress", "Session"]
