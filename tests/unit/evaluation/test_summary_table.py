import json

import pytest
from scipy import stats

from tenuto.evaluation import Report, Run, columns, spell, summarise


def test_rows_are_methods_in_order_and_the_bound_last(report):
    rows = summarise(report)
    assert [(row["method"], row["bound"], row["seeds"]) for row in rows] == [
        ("naive", False, 2),
        ("er", False, 2),
        ("joint training", True, 2),
    ]


def test_every_row_has_every_column_and_is_json(report):
    rows = json.loads(json.dumps(summarise(report), allow_nan=False))
    names = [m.name for m in columns(report)]
    assert names == [
        "average_accuracy",
        "forgetting",
        "backward_transfer",
        "forward_transfer",
        "progressive_accuracy",
        "retention_bits",
        "energy",
    ]
    for row in rows:
        assert set(row) == {"method", "bound", "seeds", *names, *(f"{name}_half_width" for name in names)}


def test_a_cell_is_the_mean_over_seeds_with_its_t_interval(report):
    row = summarise(report)[1]
    seeds = [run.matrix.average_accuracy for run in report.runs_of("er")]
    assert row["average_accuracy"] == pytest.approx(sum(seeds) / 2)
    assert row["average_accuracy_half_width"] == pytest.approx(stats.t.ppf(0.975, 1) * stats.sem(seeds))


def test_the_bound_knows_its_accuracy_only(report):
    bound = summarise(report)[-1]
    assert bound["average_accuracy"] == pytest.approx(0.94)
    assert bound["forgetting"] is None


def test_a_measure_some_seeds_lack_is_averaged_over_those_that_have_it():
    runs = Run(method="er", seed=0, measures={"retention_bits": 2.0}), Run(method="er", seed=1)
    row = summarise(Report(title="t", runs=runs))[0]
    assert (row["retention_bits"], row["retention_bits_half_width"], row["seeds"]) == (2.0, None, 2)


def test_an_empty_report_has_no_rows():
    assert summarise(Report(title="t")) == []
    assert columns(Report(title="t")) == ()


@pytest.mark.parametrize(
    ("name", "mean", "half", "spelled"),
    [
        ("average_accuracy", 0.9126, 0.0042, ("91.3", "0.4")),
        ("average_accuracy", 1.0, None, ("100.0", "")),
        ("backward_transfer", -0.034, 0.01, ("−3.4", "1.0")),
        ("backward_transfer", 0.034, 0.01, ("+3.4", "1.0")),
        ("backward_transfer", 0.0001, 0.0, ("0.0", "0.0")),
        ("backward_transfer", -0.0001, 0.0, ("0.0", "0.0")),
        ("forgetting", -0.02, None, ("−2.0", "")),
        ("retention_bits", 2.125, 0.05, ("2.12", "0.05")),
        ("energy", 2.0, None, ("2.000", "")),
        ("forgetting", None, None, ("", "")),
    ],
)
def test_figures_are_spelled_for_a_person(report, name, mean, half, spelled):
    measure = next(m for m in columns(report) if m.name == name)
    assert spell({name: mean, f"{name}_half_width": half}, measure) == spelled
