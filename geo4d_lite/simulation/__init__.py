"""The two-arm station in Drake: tasks, scripted demonstrations, cameras. Never imports torch."""

from geo4d_lite.simulation.demonstration import ScriptedDemonstration
from geo4d_lite.simulation.disturbance import disturb
from geo4d_lite.simulation.recording import Recording
from geo4d_lite.simulation.rendering import Frame
from geo4d_lite.simulation.station import Station, make_station
from geo4d_lite.simulation.tasks import TASKS, Task, get_task

__all__ = [
    "TASKS",
    "Frame",
    "Recording",
    "ScriptedDemonstration",
    "Station",
    "Task",
    "disturb",
    "get_task",
    "make_station",
]
