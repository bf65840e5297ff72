"""River's classifiers on a stream, row by row, as they come; River is imported when one is asked for.

Montiel et al., River: machine learning for streaming data in Python (2021).
"""

from __future__ import annotations

import importlib
import importlib.util
import time
from typing import Any

import numpy as np

from tenuto.errors import ConfigError
from tenuto.studies.streams.measuring import Walk
from tenuto.studies.streams.moving import Moving

CLASSIFIERS = {
    "River NoChange": ("river.dummy", "NoChangeClassifier"),
    "River HoeffdingAdaptiveTree": ("river.tree", "HoeffdingAdaptiveTreeClassifier"),
    "River ARF": ("river.forest", "ARFClassifier"),
}
"""By name: the module and the class. NoChange answers with the label before; it alone takes no seed."""


def installed() -> bool:
    """Is River there?"""
    return importlib.util.find_spec("river") is not None


def walk(name: str, stream: Moving, seed: int) -> Walk:
    """Answer and learn every row.

    Raises:
        ConfigError: River is not installed.
    """
    if not installed():
        raise ConfigError(f"{name} needs River: pip install river")
    module, kind = CLASSIFIERS[name]
    made: Any = getattr(importlib.import_module(module), kind)
    model = made() if kind == "NoChangeClassifier" else made(seed=seed)
    began = time.process_time()
    hits = []
    for inputs, targets in stream.batches:
        for values, target in zip(inputs.tolist(), targets.tolist(), strict=True):
            row = dict(enumerate(values))
            hits.append(model.predict_one(row) == target)
            model.learn_one(row, target)
    seconds = time.process_time() - began
    return Walk(hits=np.array(hits, dtype=np.bool_), changes=stream.changes, seconds=seconds)
