"""Convert episodes of TRI's LBM Eval simulation (ToyotaResearchInstitute/lbm_eval) into a data set of this project.

    python -m data_scripts.convert_lbm --source tasks/BimanualPutSpatulaOnTableFromUtensilCrock --root data/lbm

The source are the published teleoperated episodes, unpacked; lbm_eval's own `evaluate` records no images (it passes a
recorder that drops them), so its rollouts cannot be converted. An episode has two cameras that stand still
(`scene_left_0`, `scene_right_0`) and two or four on the wrists, which are left out, as the store holds fixed cameras.
Two cameras make one pair: episodes can be held out, cameras cannot, and `geo4d demos --check` says so if both splits
share their places. Run it from the root of the repository.

Label numbers differ between the simulation's scenarios and are not documented: name those you know with --labels.
What else could not be checked against original files stands in `data_scripts/spartan.py`.
"""

from dataclasses import dataclass

from data_scripts.command_line import run
from data_scripts.spartan import SpartanOptions, convert


@dataclass(frozen=True)
class ConvertLBM(SpartanOptions):
    """Convert the published episodes of TRI's lbm_eval into a data set."""


def main(options: ConvertLBM) -> None:
    """Convert and print where the data set is."""
    convert(options)


if __name__ == "__main__":
    run(main)
