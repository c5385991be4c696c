"""Makes the round visual shapes of the simulation: `python data_scripts/make_meshes.py` writes assets/*.obj.

Each is a profile turned about z in a few flat steps, low-poly because every image of every data set draws it.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np

SIDES = 20
# Points (radius, height) in metres, outside first: from the middle below, up the outside, to the middle above.
PROFILES = {
    "bowl": [(0.0, 0.0), (0.045, 0.0), (0.045, 0.008), (0.07, 0.022), (0.1, 0.046), (0.095, 0.047)]
    + [(0.066, 0.026), (0.0, 0.026)],
    "tray": [(0.0, 0.0), (0.058, 0.0), (0.066, 0.008), (0.064, 0.014), (0.036, 0.0155), (0.03, 0.022), (0.025, 0.022)]
    + [(0.02, 0.012), (0.0, 0.012)],
    "apple": [(0.0, -0.033), (0.01, -0.037), (0.018, -0.0375), (0.029, -0.029), (0.0375, -0.012), (0.0405, 0.003)]
    + [(0.0385, 0.019), (0.031, 0.031), (0.02, 0.0365), (0.01, 0.035), (0.0, 0.028)],
}


def lathe(profile: list[tuple[float, float]], sides: int = SIDES) -> str:
    """The Wavefront OBJ text of the surface that `profile` sweeps about z, in `sides` steps, with flat faces."""
    turns = 2 * np.pi * np.arange(sides) / sides
    vertices = [(r * np.cos(t), r * np.sin(t), z) for r, z in profile for t in turns]
    faces = []
    for ring in range(len(profile) - 1):
        for side in range(sides):
            a, b = ring * sides + side, ring * sides + (side + 1) % sides
            low = [a, b] if profile[ring][0] > 0 else [a]  # on the axis a ring is one point
            high = [b + sides, a + sides] if profile[ring + 1][0] > 0 else [a + sides]
            faces.append(low + high)
    lines = [f"v {x:.5f} {y:.5f} {z:.5f}" for x, y, z in vertices]
    for number, face in enumerate(faces, start=1):
        p = np.array([vertices[v] for v in face[:3]])
        normal = np.cross(p[1] - p[0], p[2] - p[0])
        lines.append("vn {:.4f} {:.4f} {:.4f}".format(*normal / np.linalg.norm(normal)))
        lines.append("f " + " ".join(f"{v + 1}//{number}" for v in face))
    return "\n".join(lines) + "\n"


def main() -> None:
    assets = Path(str(files("geo4d_lite") / "assets"))
    for name, profile in PROFILES.items():
        (assets / f"{name}.obj").write_text(lathe(profile))


if __name__ == "__main__":
    main()
