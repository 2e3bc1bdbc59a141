"""Charts are geometry that can be checked: where points lie, and where lines are interrupted."""

import pytest

from cnntrain.report.charts import Chart, Line, ticks


def test_points_lie_where_the_axes_say():
    chart = Chart("loss", "epoch", [Line("training", [(1, 0.0), (3, 2.0)])])
    ((name, path),) = chart.paths()
    assert (name, path) == ("training", f"M{chart.left:.1f} {chart.bottom:.1f}L{chart.right:.1f} {chart.top:.1f}")
    assert [text for _, text in chart.x_ticks()] == ["1", "2", "3"]  # no half epochs
    assert [text for _, text in chart.y_ticks()] == ["0", "0.5", "1", "1.5", "2"]


def test_a_missing_value_interrupts_a_line():
    chart = Chart("loss", "epoch", [Line("validation", [(1, 0.0), (2, None), (3, 2.0), (4, 1.0)])])
    ((_, path),) = chart.paths()
    assert path.count("M") == 2
    assert path.count("L") == 1


def test_learning_rates_are_drawn_by_powers_of_ten():
    chart = Chart("rate", "epoch", [Line("rate", [(1, 1e-1), (2, 1e-2), (3, 1e-3), (4, 0)])], logarithmic=True)
    places = {text: place for place, text in chart.y_ticks()}
    assert list(places) == ["0.001", "0.01", "0.1"]
    assert places["0.01"] == pytest.approx((places["0.1"] + places["0.001"]) / 2, abs=0.2)
    assert chart.paths()[0][1].count("L") == 2  # none for a rate of 0


@pytest.mark.parametrize("values", [[(1, 0.5)], [(1, 0.0), (2, 0.0)], [(1, None)]])
def test_one_point_or_none_is_no_error(values):
    chart = Chart("accuracy", "epoch", [Line("training", values)])
    assert chart.x_ticks() and chart.y_ticks()
    assert len(chart.circles()) == sum(value is not None for _, value in values)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.91, 0.93, [0.91, 0.915, 0.92, 0.925, 0.93]), (1, 42, [10, 20, 30, 40])],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)
