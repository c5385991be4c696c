"""The ledger and Table 1 say what the results say: a status follows from numbers and intervals."""

import json
from pathlib import Path

import pytest

from geo4d_lite.evaluation.claims import STATUSES, agreement_claims, compared, ledger, near, ordered, word_claim
from geo4d_lite.evaluation.comparison import OF_STEPS, comparison_page, held_out_name
from geo4d_lite.evaluation.results import read_json

BOOK = Path(__file__).resolve().parents[1] / "book"


def measured(value: float, spread: float = 0.02) -> dict:
    return {"value": value, "interval": [value - spread, value + spread], "n": 60}


def write_result(folder: Path, method: str, task: str, windows: int = 100, **metrics: dict) -> None:
    result = {
        "windows": [{}] * windows,
        "command": "geo4d evaluate",
        "commit": "abc",
        "device": "a machine",
        "seed": 0,
        "features": "lite features",
    }
    video = {"model": metrics, "repeat": metrics, "truth": metrics | {"fvd_floor": measured(0.4, 0.2)}}
    (folder / f"{held_out_name(method, task)}.json").write_text(json.dumps(result | {"metrics": video}))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "paper.json").write_text((BOOK / "results" / "paper.json").read_text())
    return tmp_path


def test_the_book_shows_the_ledger_of_the_recorded_results():
    page = (BOOK / "claims.md").read_text()
    assert page == ledger(BOOK / "results", BOOK / "claims.json"), "run `geo4d tables` after new results"


def test_a_number_is_reproduced_within_its_tolerance():
    assert near(measured(0.68), 0.70, 0.05) == "reproduced"
    assert near(measured(0.60), 0.70, 0.05) == "not reproduced"
    assert near(None, 0.70, 0.05) == near({"value": None}, 0.70, 0.05) == "not measured yet"


def test_an_order_needs_intervals_that_lie_apart():
    assert ordered(measured(0.5), measured(0.4)) == "ordering reproduced"
    assert ordered(measured(0.5), measured(0.47)) == "not reproduced"
    assert ordered(measured(0.4), measured(0.5)) == "not reproduced"
    assert ordered(measured(0.4), measured(0.5), higher=False) == "ordering reproduced"
    assert ordered(measured(0.4), None) == "not measured yet"


def compare_depth(folder: Path, ours: list[float], theirs: list[float], of: tuple[list, list]) -> tuple[str, str, bool]:
    """AbsRel of two methods, film by film, of windows of the episodes `of`."""
    for method, values, episodes in zip(("plain", "plain_alone"), (ours, theirs), of, strict=True):
        write_result(folder, method, "apple", abs_rel_n=measured(sum(values) / len(values), spread=0.2))
        path = folder / f"{held_out_name(method, 'apple')}.json"
        rows = [{"episode": name, "abs_rel_n": value} for name, value in zip(episodes, values, strict=True)]
        path.write_text(json.dumps(read_json(path) | {"windows": rows}))
    names = (held_out_name(method, "apple") for method in ("plain", "plain_alone"))
    return compared(folder, *names, "abs_rel_n", higher=False)


def test_pairs_show_what_intervals_hide(folder):
    ours, of = [0.1, 0.5, 0.3, 0.7], list("abcd")
    both, status, finer = compare_depth(folder, ours, [value + 0.01 for value in ours], (of, of))
    assert both == "0.400 [0.200, 0.600] and 0.410 [0.210, 0.610], in pairs -0.0100 [-0.0100, -0.0100]"
    assert (status, finer) == ("not reproduced", True)
    assert not compare_depth(folder, ours, [value - 0.01 for value in ours], (of, of))[2], "the other way round"


def test_methods_asked_about_other_windows_are_not_compared(folder):
    both, status, finer = compare_depth(folder, [0.1, 0.2], [0.8, 0.9], (["a", "b"], ["a", "c"]))
    assert both.endswith(", on other windows") and (status, finer) == ("not measured yet", False)


def test_the_header_counts_what_it_speaks_of():
    page = ledger(BOOK / "results", BOOK / "claims.json")
    rows = [line for line in page.splitlines() if "**reproduced**" in line]
    outcomes = sum(row.split("|")[4].split(",")[0].strip() == "lite" for row in rows)
    assert f"Of the {len(rows)} that are reproduced, {outcomes} are outcomes of training" in page.replace("\n", " ")


def test_the_agreement_of_views_is_judged_task_by_task(folder):
    paper = read_json(folder / "paper.json")
    write_result(folder, "plain", "apple", cross_view_iou=measured(0.65))
    write_result(folder, "plain_alone", "apple", cross_view_iou=measured(0.50))
    claims = {claim.says: claim for claim in agreement_claims(folder, paper)}
    assert claims["mIoU, apple, ours"].status == "reproduced"
    assert claims["mIoU, apple, ours"].ours == "0.65 [0.63, 0.67]"
    assert claims["mIoU, apple, ours without attention"].status == "not reproduced"
    assert claims["mIoU, apple: ours above without attention"].status == "ordering reproduced"
    assert claims["mIoU, apple: ours above 4D Gaussians"].status == "not measured yet"
    assert claims["mIoU, spatula, ours"].status == "not measured yet"


def test_a_claim_in_words_has_one_of_five_statuses(folder):
    claim = {"says": "x", "paper": "y", "ours": "z", "scale": "–", "status": "surely", "shown_in": "chapter 1"}
    with pytest.raises(ValueError, match="'surely'; expected one of"):
        word_claim(folder, claim)
    assert word_claim(folder, claim | {"status": "not testable here"}).status in STATUSES


def test_table_1_shows_every_method_and_what_is_missing(folder):
    write_result(
        folder, "", "spatula", abs_rel_n=measured(0.05), fvd_n=measured(3.0, 0.5), cross_view_iou=measured(0.4)
    )
    write_result(
        folder, "rgb", "spatula", fvd_n=measured(4.0, 0.5), abs_rel_n={"value": None, "interval": [None, None]}
    )
    write_result(folder, "plain", "spatula", windows=40, fvd_n=measured(6.0, 0.5))
    page = comparison_page(folder)
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("| ")}
    assert "3.0 [2.5, 3.5]" in rows["ours, best recipe"] and "0.050 [0.030, 0.070]" in rows["ours, best recipe"]
    assert rows["ours, best recipe"].endswith("| 0.69 |")
    assert "4.0 [3.5, 4.5] | – | – |" in rows["SVD, colours only"]
    assert rows["4D Gaussians: *not measured yet*"] == "| 4D Gaussians: *not measured yet* |" + " – |" * 8 + " 0.46 |"
    assert "cereal box" not in page, "a task of which nothing is known has no table"
    assert "| ours, plain recipe (40 windows) | 6.0 [5.5, 6.5] |" in page, "fewer windows than the others have"
    assert "Rows of fewer windows are of other windows" in page
    assert "FVD with lite features, over as many clips as windows: compare it within this table only" in page
    assert "True films of n and of m are 0.4 [0.2, 0.6] apart." in page


def test_few_sampler_steps_stand_below_many(folder):
    for steps in (4, 25, 10):
        result = {"sampler_steps": steps, "seconds_per_video": steps / 10, "command": "c", "commit": "a", "device": "d"}
        result |= {"task": "PutSpatulaOnTable", "seed": 0}
        result["metrics"] = {"model": {name: measured(steps / 100) for name in OF_STEPS}}
        (folder / f"sampler_steps_{steps}.json").write_text(json.dumps(result))
    rows = [line for line in comparison_page(folder).splitlines() if line[:3] in ("| 2", "| 1", "| 4")]
    assert [row.split(" | ")[:2] for row in rows] == [["| 25", "2.50"], ["| 10", "1.00"], ["| 4", "0.40"]]
    assert "0.250 [0.230, 0.270]" in rows[0] and "25 [23, 27]" in rows[0], "a share is shown in percent"


def test_costs_stand_beside_the_papers(folder):
    cost = {"parameters": 6_123_456, "seconds": 3.0, "seconds_few": 0.6, "seconds_per_step": 1.2, "peak_memory_gb": 2.0}
    large = {"parameters": 2_398_792_063, "card_gb": 12.2, "processor_gb": 38.4}
    run = {"batch": 4, "sampler_steps": 25, "few_steps": 4, "command": "c", "commit": "abc", "device": "d"}
    methods = {"plain": cost | {"paper_scale": large}, "gaussians": cost | {"parameters": 318_474}}
    (folder / "resources.json").write_text(json.dumps(run | {"methods": methods}))
    page = comparison_page(folder)
    measured_here = "| ours, plain recipe | 3.0 s | 0.6 s | 1.20 s | 2.0 GB | 6.123 M |"
    assert f"{measured_here} 2.399 B | 12 + 38 GB | 30 s | 47 GB | 2.4 B |" in page
    assert "| 4D Gaussians | 3.0 s | 0.6 s | 1.20 s | 2.0 GB | 318,474 | – | – | 2 s | 2.8 GB | 856,774 |" in page
