import pytest

from instrux.errors import InputError
from instrux.evaluation.published_tk_instruct import published_scores, results_table
from instrux.evaluation.tk_instruct_scaling import ScalingPoint, published_points, scaling


def test_the_papers_points_by_axis():
    def pairs(axis):
        return [(point.value, point.rougeL) for point in published_points(axis)]

    # arXiv 2204.07705, figures on scaling
    assert pairs("tasks") == [(8, 43.7), (128, 48.4), (757, 54.3)]
    assert pairs("instances") == [(8, 48.5), (64, 54.7), (128, 53.7), (256, 53.2), (512, 53.7)]
    assert pairs("parameters") == [
        (60e6, 40.1),
        (220e6, 42.1),
        (770e6, 48.0),
        (3e9, 54.3),
        (11e9, 62.0),
    ]
    with pytest.raises(InputError, match="no scaling axis 'size'"):
        published_points("size")


def test_the_two_published_scores_of_the_11b_stand_side_by_side():
    rows = [row for row in results_table("default") if row.system == "Tk-Instruct 11B"]
    assert {row.source: row.value for row in rows} == {"README": 60.07, "paper": 62.0}
    assert all(0 < row.value < 100 for row in published_scores())


def test_the_drawing_tells_its_points():
    drawing = scaling("parameters", [ScalingPoint(60e6, 12.3)])
    assert drawing.png.startswith(b"\x89PNG")
    assert "60M: 12.3" in drawing.alt
    assert "parameters" in drawing.svg
