"""Models by name: `mlp`, `mlp:400-400`, or `package.module:function` for one of yours."""

from __future__ import annotations

import importlib
import re

from torch import nn

from tenuto.config import OnlineLearnerConfig
from tenuto.errors import ConfigError

_MLP = re.compile(r"mlp(:\d+(-\d+)*)?")


def load(spec: str, config: OnlineLearnerConfig) -> tuple[nn.Module | None, OnlineLearnerConfig]:
    """The model a spec names and the config that goes with it; the default model is made at the first row.

    >>> load("mlp:32-16", OnlineLearnerConfig())[1].hidden
    (32, 16)
    """
    if _MLP.fullmatch(spec):
        widths = spec.partition(":")[2]
        return None, config.but({"hidden": [int(w) for w in widths.split("-")]}) if widths else config
    module, _, name = spec.partition(":")
    if not name:
        raise ConfigError(f"model {spec!r} is unknown; give mlp, mlp:400-400, or package.module:function")
    try:
        made = getattr(importlib.import_module(module), name)()
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"model {spec!r} cannot be made: {error}") from error
    if not isinstance(made, nn.Module):
        raise ConfigError(f"model {spec!r} made a {type(made).__name__}, not a torch.nn.Module")
    return made, config
