"""Convert the episodes published with the paper (`Zeyi/4dgen-dataset` on the Hugging Face Hub) into a data set.

    python -m data_scripts.convert_4dgen --source BimanualPutSpatulaOnTableFromUtensilCrock --root data/4dgen

The episodes lie under `<task>/<session>/diffusion_spartan/episode_<number>/processed` in the layout of
`data_scripts/spartan.py`; their 16 cameras are called scene_1 to scene_16, and the paper's configuration trains on the
first 12. The defaults repeat that split and the release's 2 Hz.

From the release's data loader (lzylucy/4dgen, `dataset/spartan_video_dataset.py`): the keys, millimetres, camera-to-
world extrinsics a frame, images of 480 x 640, and that labels 29, 30, 31 and 33, 34, 35 are the two grippers. From a
third party who measured on the data (taeyang0505): 29 to 31 are the right arm's, and 44 is the apple in its task.
Assumed, as nobody says: that the three numbers of a gripper are hand, left finger and right finger in this order, that
the published demonstrations succeeded where `summary.npz` is not among their files, and what `spartan.py` lists.
Other than the release, depth is resized without inventing values, the principal point follows the pixels' centres, and
all but the grippers is BACKGROUND unless it is named: --labels 44 OBJECT.
"""

from dataclasses import dataclass, replace

from data_scripts.command_line import run
from data_scripts.spartan import SpartanOptions, convert
from geo4d_lite.geometry import Label

GRIPPER_LABELS = {
    29: Label.HAND_RIGHT,
    30: Label.RIGHT_ARM_FINGER_LEFT,
    31: Label.RIGHT_ARM_FINGER_RIGHT,
    33: Label.HAND_LEFT,
    34: Label.LEFT_ARM_FINGER_LEFT,
    35: Label.LEFT_ARM_FINGER_RIGHT,
}


@dataclass(frozen=True)
class Convert4DGen(SpartanOptions):
    """Convert the episodes published with the paper into a data set."""

    cameras: tuple[str, ...] = tuple(f"scene_{number}" for number in range(1, 17))
    """Cameras to keep; of 16 the last four are held out, as in the paper."""
    success: bool | None = True
    """Takes the place of summary.npz where an episode lacks it."""


def main(options: Convert4DGen) -> None:
    """Convert and print where the data set is."""
    convert(replace(options, labels=GRIPPER_LABELS | options.labels))


if __name__ == "__main__":
    run(main)
