import json

import pytest

from tenuto.errors import ConfigError
from tenuto.evaluation import AccuracyMatrix, Curve, Listing, Report, Run, from_plain, to_plain


def curve(**changed) -> Curve:
    return Curve(**({"x": (0, 1), "y": (1.0, 2.0), "x_label": "rows", "y_label": "nats"} | changed))


def test_a_report_returns_through_json(report):
    assert from_plain(json.loads(json.dumps(to_plain(report), allow_nan=False))) == report


def test_an_empty_report_returns_too():
    assert from_plain(to_plain(Report(title="t"))) == Report(title="t")


def test_plain_data_is_not_the_reports_own(report):
    to_plain(report)["facts"]["python"] = "2"
    assert report.facts["python"] == "3.11"


@pytest.mark.parametrize(
    "at",
    [(), ("runs", 0), ("runs", 0, "curves", "Loss"), ("proofs", 0), ("listings", 0), ("runs", 0, "matrix")],
)
def test_a_missing_key_a_foreign_key_and_what_is_no_object_are_refused_wherever_they_are(report, at):
    for spoil in (lambda held: held.popitem(), lambda held: held.update(foreign=1)):
        plain = to_plain(report)
        inner = plain
        for step in at:
            inner = inner[step]
        spoil(inner)
        with pytest.raises(ConfigError, match="keys"):
            from_plain(plain)
    with pytest.raises(ConfigError, match="object"):
        from_plain({**to_plain(report), "proofs": ["it held"]})


def test_a_report_written_before_curves_had_marks_has_none(report):
    plain = to_plain(report)
    for run in plain["runs"]:
        del run["curves"]["Loss"]["marks"]
    assert from_plain(plain) == report


def test_a_nan_in_a_curve_is_a_gap():
    assert curve(y=(float("nan"), 1)).y == (None, 1.0)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"x": (0,)}, "1 x and 2 y"),
        ({"x": (), "y": ()}, "at least 1"),
        ({"x": (1, 0)}, "ascend"),
        ({"x": (0, float("nan"))}, "finite"),
        ({"boundaries": (float("inf"),)}, "finite"),
        ({"marks": (float("nan"),)}, "finite"),
        ({"y": (1.0, float("inf"))}, "infinite"),
    ],
)
def test_what_is_no_curve_is_refused(changed, told):
    with pytest.raises(ConfigError, match=told):
        curve(**changed)


def test_a_runs_measures_are_finite_its_own_and_said_once():
    matrix = AccuracyMatrix(values=[[0.5]])
    with pytest.raises(ConfigError, match=r"'er', seed 3.*speed is nan"):
        Run(method="er", seed=3, measures={"speed": float("nan")})
    with pytest.raises(ConfigError, match="forgetting is given by the matrix"):
        Run(method="er", seed=3, matrix=matrix, measures={"forgetting": 0.1})
    with pytest.raises(ConfigError, match="called seeds"):
        Run(method="er", seed=3, measures={"seeds": 0.1})
    assert Run(method="er", seed=3, measures={"forgetting": 0.1}).figures == {"forgetting": 0.1}
    assert Run(method="er", seed=3, matrix=matrix).figures == {"average_accuracy": 0.5}


def test_a_report_refuses_runs_that_do_not_fit_together():
    one, two = AccuracyMatrix(values=[[0.5]]), AccuracyMatrix(values=[[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(ConfigError, match="'er', seed 0 is there twice"):
        Report(title="t", runs=(Run(method="er", seed=0), Run(method="er", seed=0)))
    with pytest.raises(ConfigError, match=r"seed 1 has a matrix \(2, 2\) beside \(1, 1\)"):
        Report(title="t", runs=(Run(method="er", seed=0, matrix=one), Run(method="er", seed=1, matrix=two)))
    with pytest.raises(ConfigError, match="1 contexts beside 2 names"):
        Report(title="t", runs=(Run(method="er", seed=0, matrix=one),), context_names=("a", "b"))
    for joint in ((), (1.2,), (float("nan"),)):
        with pytest.raises(ConfigError, match="joint"):
            Report(title="t", joint=joint)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"rows": (("a",),)}, "2 columns"),
        ({"shares": (0.5, 0.5)}, "1 rows"),
        ({"shares": (1.5,)}, "lie in"),
    ],
)
def test_what_is_no_listing_is_refused(changed, told):
    with pytest.raises(ConfigError, match=told):
        Listing(**({"title": "Kept", "head": ("class", "rows"), "rows": (("a", "1"),)} | changed))
