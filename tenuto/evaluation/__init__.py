"""Pure measures of what a learner kept, and the report that shows them. No torch, no model, no clock."""

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
