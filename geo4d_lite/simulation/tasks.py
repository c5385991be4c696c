"""The tasks: what is asked, and how each seed lays out the scene."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Task:
    """A task of the paper: the finger-centre distance below which a gripper counts as closed, time limit, words."""

    name: str
    gripper_threshold_m: float
    time_limit_s: float
    instruction: str


TASKS = {
    task.name: task
    for task in (Task("PutSpatulaOnTable", 0.06, 20.0, "Take the spatula out of the crock and lay it on the table."),)
}


def get_task(name: str) -> Task:
    """The task called `name`; ValueError lists the known ones."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; known tasks: {', '.join(TASKS)}")
    return TASKS[name]
