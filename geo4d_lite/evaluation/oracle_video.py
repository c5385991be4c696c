"""The oracle video: the true future in place of a generated one. It proves everything behind the model."""

from collections.abc import Iterator

import numpy as np

from geo4d_lite.geometry import RGBD, Intrinsics, invert, relative_pose, transform, unproject
from geo4d_lite.models import Video4D
from geo4d_lite.policies import path_of_poses
from geo4d_lite.simulation import ScriptedDemonstration
from geo4d_lite.simulation.station import Station


class OracleVideo:
    """A video model that looks into the future of a simulated station.

    Each call copies the station as it is now, lets the scripted demonstration go on in the copy and renders it at 2 Hz
    in both views. Only images come out, of the same form as generated ones; poses, widths and labels stay inside.
    """

    def __init__(self, station: Station, X_WC: np.ndarray, K: Intrinsics, frames: int = 10, step_s: float = 0.5):
        """X_WC (2, 4, 4): the poses of cameras n and m, with intrinsics K both."""
        self.station, self.X_WC, self.K = station, X_WC, K
        self.frames, self.step_s = frames, step_s

    def __call__(self, view_n: RGBD, view_m: RGBD) -> Video4D:
        """The next `frames` frames. The views given are not looked at: the station itself knows what comes."""
        rgb, points, valid = [], [], []
        for future in self._future():
            shots = [future.render(X_WC, self.K) for X_WC in self.X_WC]
            maps = [unproject(shot.depth_m, self.K.matrix) for shot in shots]
            rgb.append([shot.rgb for shot in shots])
            points.append([maps[0][0], transform(relative_pose(*self.X_WC), maps[1][0])])
            valid.append([seen for _, seen in maps])
        rgb, points, valid = (np.swapaxes(np.array(stack), 0, 1) for stack in (rgb, points, valid))
        return Video4D(rgb, np.where(valid[..., None], points, 0.0).astype(np.float32), valid)

    def path(self) -> np.ndarray:
        """Both grippers in the frame of n in those frames (T, 2, 10), see `policies.poses_of_path`."""
        states = [(future.X_WG(), future.width_m()) for future in self._future()]
        X_WG, width_m = (np.stack(parts) for parts in zip(*states, strict=True))
        return path_of_poses(invert(self.X_WC[0]) @ X_WG, width_m)

    def _future(self) -> Iterator[Station]:
        """A copy of the station as it will stand in each frame; the same object, carried on."""
        future = self.station.copy()
        demonstration = ScriptedDemonstration(future)
        for _ in range(self.frames):
            for _ in range(5):
                demonstration.step(self.step_s / 5)
            yield future
