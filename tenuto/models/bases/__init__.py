"""Base models: frozen language models and encoders, loaded from what lies on this machine or from the hub."""

from tenuto.models.bases.base import Base, load

__all__ = ["Base", "load"]
