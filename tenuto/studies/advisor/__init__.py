"""The advisor: which method fits a stream, why, and with which settings; on request, a measured trial.

First a decision tree over what is known of the stream (`tree`), then, where its head is at hand, the
choice and its rivals learn that head and are measured (`trial`).
"""

from __future__ import annotations

from tenuto.studies.advisor.profile import Profile
from tenuto.studies.advisor.tree import Advice, advise
from tenuto.studies.advisor.trial import Score, compare, measured

__all__ = ["Advice", "Profile", "Score", "advise", "compare", "measured"]
