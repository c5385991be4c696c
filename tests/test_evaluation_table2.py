"""Table 2 says what the recorded rollouts say: rates, their average, and differences of the same episodes only."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from geo4d_lite.evaluation.claims import rollout_claims, word_claim
from geo4d_lite.evaluation.comparison import TASKS
from geo4d_lite.evaluation.results import read_json
from geo4d_lite.evaluation.statistics import wilson_interval
from geo4d_lite.evaluation.table2 import POLICIES, average_rate, difference, rollout_name, rollout_results, table2

PAPER = read_json(Path(__file__).resolve().parents[1] / "book" / "results" / "paper.json")


def write_result(folder: Path, policy: str, task: str, successes: list[bool], first_seed: int = 0) -> None:
    rollouts = [{"seed": first_seed + i, "success": success} for i, success in enumerate(successes)]
    n, count = len(successes), sum(successes)
    result = {"value": count / n, "interval": list(wilson_interval(count, n)), "successes": count, "n": n}
    (folder / f"{rollout_name(policy, task)}.json").write_text(json.dumps(result | {"rollouts": rollouts}))


def row(table: str, policy: str) -> list[str]:
    title = POLICIES[policy][0]
    (line,) = (line for line in table.splitlines() if line.startswith((f"| {title} |", f"| {title}: *not measured")))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_every_policy_of_the_papers_table_has_a_row():
    assert {in_paper for _, in_paper in POLICIES.values() if in_paper} == set(PAPER["rollouts"])


def test_a_row_holds_the_rates_their_average_and_the_papers(tmp_path):
    for task, count in zip(TASKS, (3, 6, 9), strict=True):
        write_result(tmp_path, "video", task, [i < count for i in range(10)])
    cells = row(table2(tmp_path, PAPER["rollouts"]), "video")
    assert [cell.split()[0] for cell in cells[:4]] == ["0.30", "0.60", "0.90", "0.60"]
    each = [binomtest(count, 10).proportion_ci(method="wilson") for count in (3, 6, 9)]
    below = np.hypot.reduce([rate - one.low for rate, one in zip((0.3, 0.6, 0.9), each, strict=True)]) / 3
    above = np.hypot.reduce([one.high - rate for rate, one in zip((0.3, 0.6, 0.9), each, strict=True)]) / 3
    assert cells[3] == f"0.60 [{0.6 - below:.2f}, {0.6 + above:.2f}]"
    assert cells[-1] == "0.73 / 0.67 / 0.53"


def test_without_all_three_tasks_there_is_no_average(tmp_path):
    write_result(tmp_path, "video", "apple", [True] * 5)
    assert average_rate(rollout_results(tmp_path, "video")) is None
    table = table2(tmp_path, PAPER["rollouts"])
    assert row(table, "video")[3] == "–" and row(table, "dp3") == ["–"] * 6 + ["0.23 / 0.27 / 0.00"]


def test_a_difference_counts_only_the_episodes_that_both_have_done(tmp_path):
    write_result(tmp_path, "video", "apple", [True] * 10, first_seed=0)
    write_result(tmp_path, "dp3", "apple", [False] * 5 + [True] * 5, first_seed=5)
    ours, theirs = (rollout_results(tmp_path, policy) for policy in ("video", "dp3"))
    assert difference(theirs, ours) == "-1.00 in each", "seeds 5 to 9, which ours solved and DP3 did not"
    write_result(tmp_path, "dp3", "apple", [True] * 5, first_seed=100)
    assert difference(rollout_results(tmp_path, "dp3"), ours) == "–"


def test_a_claim_about_policies_follows_from_their_rates(tmp_path):
    claim = {"says": "x", "paper": "y", "scale": "lite", "shown_in": "chapter 8", "metric": "success"}
    claim |= {"better": "dp3_seen", "worse": "dp3"}
    for task in TASKS:
        assert word_claim(tmp_path, claim).status == "not measured yet"
        write_result(tmp_path, "dp3_seen", task, [True] * 10)
        write_result(tmp_path, "dp3", task, [True] * 5 + [False] * 25)
    found = word_claim(tmp_path, claim)
    assert found.status == "ordering reproduced" and found.ours.startswith("1.00 [") and " and 0.17 [" in found.ours
    for task in TASKS:
        write_result(tmp_path, "dp3", task, [True] * 28 + [False] * 2)
    assert word_claim(tmp_path, claim).status == "not reproduced"


def test_every_task_counts_alike_in_a_difference_however_often_it_was_tried(tmp_path):
    """By hand: +1 in ten rollouts of one task and 0 in thirty of another are +0.5, not +0.25."""
    for policy, first in (("video", False), ("dp3", True)):
        write_result(tmp_path, policy, "apple", [first] * 10)
        write_result(tmp_path, policy, "spatula", [True] * 30)
    ours, theirs = (rollout_results(tmp_path, policy) for policy in ("video", "dp3"))
    assert difference(theirs, ours) == "+0.50 [+0.50, +0.50]"


def test_a_shared_difficulty_cancels_in_the_difference(tmp_path):
    solvable = np.random.default_rng(0).random(40) < 0.5
    for policy in ("video", "dp3"):
        write_result(tmp_path, policy, "apple", solvable.tolist())
    ours, theirs = (rollout_results(tmp_path, policy) for policy in ("video", "dp3"))
    assert difference(theirs, ours) == "+0.00 in each", "an interval without width would claim too much"


@pytest.mark.parametrize(("rival", "status"), [(0, "ordering reproduced"), (25, "not reproduced")])
def test_ours_is_above_a_rival_only_where_the_intervals_lie_apart(tmp_path, rival, status):
    for task in TASKS:
        write_result(tmp_path, "video", task, [True] * 27 + [False] * 3)
        write_result(tmp_path, "dp3", task, [True] * rival + [False] * (30 - rival))
    claims = {claim.says: claim for claim in rollout_claims(tmp_path, PAPER)}
    assert claims["success, average of the tasks: ours above DP3"].status == status
    assert claims["success, average of the tasks: ours above Dreamitate"].status == "not measured yet"
