"""The pages of results: the tables over all methods on one, every recorded evaluation in full on the other."""

from pathlib import Path

from geo4d_lite.evaluation.comparison import comparison_page
from geo4d_lite.evaluation.goals import goals_table
from geo4d_lite.evaluation.results import read_json
from geo4d_lite.evaluation.table2 import policy_title, table2
from geo4d_lite.evaluation.tables import in_one_line, rollout_table, video_table

HEADER = """---
html_theme.sidebar_secondary.remove: true
---
# Results

Everything on this page is *recorded*: `geo4d tables` wrote it from the JSON files in `book/results`, and below the
tables stand the commands that made them. Intervals are 95%: bootstrap over episodes for videos, Wilson for success
rates. Every evaluation with all its measures, also frame by frame, stands in {doc}`held_out`.

Where the best recipe's hands go is told by its own frame tokens (`hand_rays`, a path hint that the network gives
itself): that part of its films is decided by regression, and the diffusion draws it. The plain recipe has no such hint.
The two plain rows are an ablation pair after 25,600 window pairs, the best recipe has seen 144,720: compare plain with
plain only. The row without `hand_rays` is an earlier state of the best recipe, after 37,200 pairs and without
`views_agree` (each view's tokens learn from the other's): its tokens had learned the path of the grippers as well, but
nothing drew the hands along it.

Two rows of Table 2 are drawn along another path: the one that a path model reads from a point cloud of both views
(Table 1 has it too), and the one that the scripted demonstration will take, which no policy can know. They differ from
the first row in more than that: their films are tracked in both views, fused and smoothed, their fingers are decided
for the whole film at once, and each is drawn a second time, along the path corrected by what the first film showed; the
first row follows the more confident view only, as the paper does. So not all of the difference is the path's.
*That path acted without a film* is the path model's, and says what the film costs.

The commands name folders that are not shipped: below `runs/` lie trained weights, `data/cloud` holds forty
demonstrations a task. The {doc}`lab_notebook` says how each was made. Two evaluations of one data set need an `--out`
each.
"""

HELD_OUT_HEADER = """---
html_theme.sidebar_secondary.remove: true
---
# Results in full

Every recorded evaluation of films, with all measures; the tables that compare the methods stand in {doc}`results`.
All of it is *recorded*: `geo4d tables` wrote it from `book/results/held_out*.json`, and below each table stands the
command that made it. Intervals are 95%, by bootstrap over episodes.

*Repeat the last frame* shows the last observation ten times, view m moved into the frame of n by the true pose, *m
registered* by the pose found from the two images. *Autoencoders alone* is the true video, encoded and decoded. *In
pairs* is the mean of the differences on each window. FVD's interval is for very many clips and mostly lies below the
number itself ({doc}`../notebooks/09_video_evaluation`).
"""


def results_page(folder: Path) -> str:
    """The comparing tables and the closed loops in `folder` (`held_out*.json`, `rollout*.json`).

    Raises ValueError if there are none.
    """
    rollouts = sorted(folder.glob("rollout*.json"))
    if not rollouts and not any(folder.glob("held_out*.json")):
        raise ValueError(
            f"{folder} holds no held_out*.json and no rollout*.json; run `geo4d evaluate` or `geo4d rollout`"
        )
    parts = [HEADER, comparison_page(folder), goals_table(folder)]
    if (folder / "paper.json").exists():
        parts.append(table2(folder, read_json(folder / "paper.json")["rollouts"]))
    if rollouts:
        parts.append(rollout_table([read_json(path) for path in rollouts], [policy_title(path) for path in rollouts]))
    return in_one_line("\n".join(parts))


def held_out_page(folder: Path) -> str:
    """Every evaluation of films in `folder`, with all its measures."""
    tables = (video_table(path.stem, read_json(path)) for path in sorted(folder.glob("held_out*.json")))
    return in_one_line("\n".join([HELD_OUT_HEADER, *tables]))
