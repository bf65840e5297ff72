"""Learning episodes: what waits is collected, assessed, learned, measured, and kept as a candidate."""

from tenuto.session.episodes.assessment import Assess, quality
from tenuto.session.episodes.reports import EpisodeReport, Measures, Stage
from tenuto.session.episodes.triggers import Episodes, scheduler
from tenuto.session.episodes.verifier import Consistency, Flag, Verifier

__all__ = [
    "Assess",
    "Consistency",
    "EpisodeReport",
    "Episodes",
    "Flag",
    "Measures",
    "Stage",
    "Verifier",
    "quality",
    "scheduler",
]
