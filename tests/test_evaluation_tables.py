"""The pages of results say what the recorded files say, and nothing else."""

from pathlib import Path

import pytest

from geo4d_lite.evaluation.pages import held_out_page, results_page
from geo4d_lite.evaluation.tables import in_one_line, shown

RECORDED = Path(__file__).resolve().parents[1] / "book" / "results"


def test_the_book_shows_the_recorded_results():
    for name, page in (("results", results_page(RECORDED)), ("held_out", held_out_page(RECORDED))):
        assert (RECORDED.parent / f"{name}.md").read_text() == page, "run `geo4d tables` after new results"
    for path in RECORDED.glob("held_out*.json"):
        assert f"`{path.stem}`" in page


def test_a_cell_shows_value_and_interval():
    assert shown({"value": 0.1234, "interval": [0.1, 0.2]}, 100, 1) == "12.3 [10.0, 20.0]"
    assert shown({"value": None, "interval": [None, None]}, 1, 2) == "–"
    assert shown({"value": 6.6, "interval": [None, None]}, 1, 1) == "6.6 [–, –]"  # one episode: nothing to draw


def test_an_interval_stays_in_one_line_of_a_page_and_nothing_else_changes():
    assert (
        in_one_line("| 1.0 [0.9, 1.1] | [+0.1, -2] |")
        == "| 1.0 [0.9,\N{NO-BREAK SPACE}1.1] | [+0.1,\N{NO-BREAK SPACE}-2] |"
    )
    assert in_one_line("[a, b](c), [1, 2, 3]") == "[a, b](c), [1, 2, 3]"


def test_an_empty_folder_is_an_error_with_the_mend(tmp_path):
    with pytest.raises(ValueError, match="run `geo4d evaluate`"):
        results_page(tmp_path)
