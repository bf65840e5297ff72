"""Pure measures of what a learner kept, and the report that shows them. No torch, no model, no clock.

Each name is loaded when it is first used (PEP 562): a page without a matrix is drawn without numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenuto.evaluation.calibration import Reliability, expected_calibration_error, reliability
    from tenuto.evaluation.intervals import Interval, interval, paired_interval
    from tenuto.evaluation.matrix import AccuracyMatrix
    from tenuto.evaluation.page import render
    from tenuto.evaluation.plain import from_plain, to_plain
    from tenuto.evaluation.png import save_png
    from tenuto.evaluation.progressive import (
        anytime_average,
        cumulative_accuracy,
        fading_accuracy,
        windowed_accuracy,
    )
    from tenuto.evaluation.report import Curve, Listing, Proof, Report, Run
    from tenuto.evaluation.retention import information_forgetting, label_entropy, retention_bits
    from tenuto.evaluation.table import Measure, Row, columns, spell, summarise

_HOMES = {
    "AccuracyMatrix": "matrix",
    "Curve": "report",
    "Interval": "intervals",
    "Listing": "report",
    "Measure": "table",
    "Proof": "report",
    "Reliability": "calibration",
    "Report": "report",
    "Row": "table",
    "Run": "report",
    "anytime_average": "progressive",
    "columns": "table",
    "cumulative_accuracy": "progressive",
    "expected_calibration_error": "calibration",
    "fading_accuracy": "progressive",
    "from_plain": "plain",
    "information_forgetting": "retention",
    "interval": "intervals",
    "label_entropy": "retention",
    "paired_interval": "intervals",
    "reliability": "calibration",
    "render": "page",
    "retention_bits": "retention",
    "save_png": "png",
    "spell": "table",
    "summarise": "table",
    "to_plain": "plain",
    "windowed_accuracy": "progressive",
}

__all__ = [
    "AccuracyMatrix",
    "Curve",
    "Interval",
    "Listing",
    "Measure",
    "Proof",
    "Reliability",
    "Report",
    "Row",
    "Run",
    "anytime_average",
    "columns",
    "cumulative_accuracy",
    "expected_calibration_error",
    "fading_accuracy",
    "from_plain",
    "information_forgetting",
    "interval",
    "label_entropy",
    "paired_interval",
    "reliability",
    "render",
    "retention_bits",
    "save_png",
    "spell",
    "summarise",
    "to_plain",
    "windowed_accuracy",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tenuto.evaluation' has no attribute {name!r}")
    return getattr(importlib.import_module(f"tenuto.evaluation.{_HOMES[name]}"), name)
