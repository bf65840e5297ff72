"""The walk: streams -> journal -> learner -> ledger."""

from tenuto.session.session import Forgotten, Progress, Session

__all__ = ["Forgotten", "Progress", "Session"]
