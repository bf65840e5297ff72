"""Models: the default one, any module as the learner holds it, and the head that grows."""

from tenuto.models.body import Body
from tenuto.models.mlp import MLP, Standardize, default
from tenuto.models.sites import sites

__all__ = ["MLP", "Body", "Standardize", "default", "sites"]
