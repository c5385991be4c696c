"""What each pixel of a label image shows. One list for simulation, data, perception and evaluation."""

from enum import IntEnum


class Label(IntEnum):
    """Semantic label of a pixel, stored as uint8."""

    BACKGROUND = 0
    TABLE = 1
    ARM_LEFT = 2
    ARM_RIGHT = 3
    HAND_LEFT = 4
    HAND_RIGHT = 5
    LEFT_ARM_FINGER_LEFT = 6
    LEFT_ARM_FINGER_RIGHT = 7
    RIGHT_ARM_FINGER_LEFT = 8
    RIGHT_ARM_FINGER_RIGHT = 9
    OBJECT = 10
    FIXTURE = 11


ARMS = ("left", "right")  # the order of every array with an arm axis

HANDS = (Label.HAND_LEFT, Label.HAND_RIGHT)
FINGERS = (
    (Label.LEFT_ARM_FINGER_LEFT, Label.LEFT_ARM_FINGER_RIGHT),
    (Label.RIGHT_ARM_FINGER_LEFT, Label.RIGHT_ARM_FINGER_RIGHT),
)


def gripper_labels(arm: int) -> tuple[Label, Label, Label]:
    """Hand, left finger and right finger of one arm (0 left, 1 right)."""
    return (HANDS[arm], *FINGERS[arm])


GRIPPER = gripper_labels(0) + gripper_labels(1)
