"""The tasks, one file each: what stands on the table, how a seed lays it out, what to do next, when it is solved."""

from geo4d_lite.simulation.tasks.apple import PLACE_APPLE
from geo4d_lite.simulation.tasks.cereal_box import STORE_CEREAL_BOX
from geo4d_lite.simulation.tasks.spatula import PUT_SPATULA
from geo4d_lite.simulation.tasks.task import ArmCommand, Decision, Layout, Snapshot, Task

TASKS = {task.name: task for task in (STORE_CEREAL_BOX, PUT_SPATULA, PLACE_APPLE)}


def get_task(name: str) -> Task:
    """The task called `name`; ValueError lists the known ones."""
    if name not in TASKS:
        raise ValueError(f"unknown task {name!r}; known tasks: {', '.join(TASKS)}")
    return TASKS[name]


__all__ = ["TASKS", "ArmCommand", "Decision", "Layout", "Snapshot", "Task", "get_task"]
