"""A rollout to turn in the browser: positions captured while it runs, replayed by Meshcat into one HTML page.

Meshcat's own page is turned by a mouse alone; `recording.html` adds a bar to play, stop and slide, and the keys.
"""

import gc
import logging
from pathlib import Path

import numpy as np
from pydrake.geometry import Meshcat

from geo4d_lite.simulation.scene import build_scene
from geo4d_lite.simulation.station import Station

CONTROLS = Path(__file__).with_suffix(".html")
EYE_W, TARGET_W = (1.0, -0.6, 0.9), (0.0, 0.0, 0.1)


class Recording:
    """Captures a station's positions, frame by frame; `save_html` makes them a page that needs no network."""

    def __init__(self, station: Station):
        self.station = station
        self.times_s: list[float] = []
        self.positions: list[np.ndarray] = []

    def capture(self) -> None:
        """Take the present moment into the recording."""
        self.times_s.append(self.station.time_s)
        self.positions.append(self.station.positions())

    def save_html(self, path: str | Path) -> Path:
        """Write the recording as one self-contained page (about 2.3 MB) with a slider for time; returns its path.

        Raises ValueError if nothing was captured.
        """
        if not self.times_s:
            raise ValueError("the recording is empty; call capture() while the station runs")
        page = self._page()
        gc.collect()  # Meshcat aborts the program if it is destroyed in another thread, as a later collection may do
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page)
        return path

    def _page(self) -> str:
        """Replay the recording into a Meshcat of its own and take that as HTML."""
        logging.getLogger("drake").setLevel(logging.WARNING)  # Meshcat announces a server nobody needs here
        meshcat = Meshcat()
        scene = build_scene(self.station.task, meshcat)
        root = scene.diagram.CreateDefaultContext()
        context = scene.plant.GetMyMutableContextFromRoot(root)
        meshcat.SetCameraPose(EYE_W, TARGET_W)
        meshcat.StartRecording(set_visualizations_while_recording=False)
        for time_s, positions in zip(self.times_s, self.positions, strict=True):
            root.SetTime(time_s - self.times_s[0])
            scene.plant.SetPositions(context, positions)
            scene.diagram.ForcedPublish(root)
        meshcat.StopRecording()
        meshcat.PublishRecording()
        return with_controls(meshcat.StaticHtml())


def with_controls(page: str) -> str:
    """Meshcat's page with the bar and the keys of `recording.html` at the end of its body."""
    before, after = page.rsplit("</body>", 1)
    return before.replace("<html>", '<html lang="en">', 1) + CONTROLS.read_text(encoding="utf-8") + "</body>" + after
