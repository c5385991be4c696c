"""Draw the two figures of the notation page: where the frames are, and what a gripper's and a pixel's numbers mean.

Usage: python -m book.tools.draw_frames            writes frames.svg and gripper_and_pixels.svg to book/figures

Everything is projected by the package's own `look_at` and `project`, so the axes in the figures are those of the code.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geo4d_lite.figures.look import AXIS_COLOURS, INK, VIEW_COLOURS
from geo4d_lite.geometry import Intrinsics, invert, load_gripper, look_at, project, transform
from geo4d_lite.geometry.gripper_model import Box

FIGURES = Path(__file__).resolve().parents[1] / "figures"
WIDTH, HEIGHT = 980, 600
STYLE = """
    text { font: 15px system-ui, sans-serif; fill: #1d2733; paint-order: stroke; stroke: #fff; stroke-width: 4px }
    .small { font-size: 13px; fill: #44515e }
    .frame { font-weight: 700; font-size: 17px }
    .mono { font-family: ui-monospace, monospace; font-size: 14px }
    .middle { text-anchor: middle }
    .end { text-anchor: end }"""
X_WN, X_WM = look_at((0.58, -0.5, 0.72), (0, 0, 0.1)), look_at((0.3, 0.48, 0.95), (0, 0, 0.1))  # both in the dome
POINTING_DOWN = np.diag([1.0, -1.0, -1.0])
GRIPPERS_W = {"left": (-0.22, 0.3, 0.32), "right": (-0.05, -0.08, 0.2)}
BASES_W = {"left": (-0.62, 0.3, 0.0), "right": (-0.62, -0.3, 0.0)}
WIDTH_SHOWN_M = 0.12
TABLE_W = np.array([(-0.8, -0.75, 0), (0.45, -0.75, 0), (0.45, 0.75, 0), (-0.8, 0.75, 0)])
TIP, TIP_SIZE = "M0 0 L10 5 L0 10 z", 'markerWidth="6" markerHeight="6" orient="auto-start-reverse"'
IMAGE_PIXELS, IMAGE_CORNER, CELL = (5, 4), (560, 150), 66  # the tiny image: columns and rows, place, size of a pixel


class Drawing:
    """Lines and words of a scene seen by one camera; everything is given in the scene's own coordinates (metres)."""

    def __init__(self, eye: tuple, target: tuple, focal_px: float, centre: tuple[float, float]):
        """The eye looks from `eye` at `target`, which appears at the place `centre` (pixels) of the picture."""
        self.X_CS = invert(look_at(eye, target))
        self.K = Intrinsics(WIDTH, HEIGHT, focal_px, focal_px, *centre)
        self.parts: list[str] = []

    def at(self, points: np.ndarray | tuple) -> np.ndarray:
        """Places (..., 2) in the picture of points (..., 3)."""
        pixels, _ = project(transform(self.X_CS, np.asarray(points, float)), self.K.matrix)
        return pixels

    def line(self, points: list | np.ndarray, colour: str, width: float = 2, more: str = "") -> None:
        """A line through points (N, 3)."""
        where = places(self.at(points))
        self.parts.append(f'<polyline points="{where}" fill="none" stroke="{colour}" stroke-width="{width}" {more}/>')

    def face(self, points: np.ndarray, fill: str, edge: str, opacity: float = 1.0) -> None:
        """A filled polygon with corners (N, 3)."""
        self.parts.append(
            f'<polygon points="{places(self.at(points))}" fill="{fill}" fill-opacity="{opacity}" stroke="{edge}" '
            'stroke-width="1.4" stroke-linejoin="round"/>'
        )

    def word(self, point: tuple | np.ndarray, text: str, shift: tuple = (0, 0), kind: str = "", fill: str = "") -> None:
        """Words at a point (3,), moved by `shift` pixels."""
        u, v = self.at(point) + shift
        style = f' style="fill: {fill}"' if fill else ""
        self.parts.append(f'<text x="{u:.1f}" y="{v:.1f}" class="{kind}"{style}>{text}</text>')

    def axes(self, X_SA: np.ndarray, length_m: float, width: float = 3.5, names: bool = True) -> None:
        """The axes of a frame A at its pose X_SA: x red, y green, z blue. The one pointing away is drawn first."""
        tips = transform(X_SA, length_m * np.eye(3))
        for axis in np.argsort(-transform(self.X_CS, tips)[:, 2]):
            name = "xyz"[axis]
            self.line([X_SA[:3, 3], tips[axis]], AXIS_COLOURS[name], width, f'marker-end="url(#tip-{name})"')
            if names:
                self.word(X_SA[:3, 3] + 1.28 * (tips[axis] - X_SA[:3, 3]), name, (-4, 5), "small", AXIS_COLOURS[name])

    def camera(self, X_SC: np.ndarray, colour: str, depth_m: float = 0.17) -> None:
        """A camera as a pyramid: its tip is the pinhole, its base the image, the small roof the image's upper edge."""
        half = np.tan(np.deg2rad(21)) * depth_m * np.array([1.25, 1.0])
        corners = np.array([(s * half[0], t * half[1], depth_m) for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
        base, tip = transform(X_SC, corners), X_SC[:3, 3]
        roof = transform(X_SC, np.array([(0, -1.5 * half[1], depth_m)]))
        self.face(np.array([base[0], roof[0], base[1]]), colour, colour, 0.8)
        self.face(base, colour, colour, 0.16)
        for corner in base:
            self.line([tip, corner], colour, 1.6)

    def gripper(self, X_SG: np.ndarray, arm: str) -> None:
        """The gripper of an arm, seen from behind the hand: fingers first, then what hides them."""
        model = load_gripper()
        for box in sorted(model.boxes(WIDTH_SHOWN_M), key=lambda box: -box.center_G[2]):
            self.box(box, X_SG, hexadecimal(model.colours[arm][box.part]))

    def box(self, box: Box, X_SG: np.ndarray, colour: str) -> None:
        """A box of the gripper, the faces that can be seen."""
        for axis in range(3):
            for side in (-0.5, 0.5):
                a, b = (other for other in range(3) if other != axis)
                corners = np.zeros((4, 3))
                corners[:, axis] = side
                corners[:, (a, b)] = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
                face = transform(X_SG, box.center_G + corners * box.size_m)
                outward = X_SG[:3, axis] * np.sign(side)
                if outward @ (invert(self.X_CS)[:3, 3] - face.mean(axis=0)) > 0:
                    self.face(face, shaded(colour, 0.78 + 0.22 * abs(outward[2])), "#ffffff")


def places(pixels: np.ndarray) -> str:
    """Places (N, 2) as SVG writes them."""
    return " ".join(f"{u:.1f},{v:.1f}" for u, v in pixels)


def shaded(colour: str, light: float) -> str:
    """A colour "#rrggbb" in less light."""
    return "#" + "".join(f"{round(int(colour[i : i + 2], 16) * light):02x}" for i in (1, 3, 5))


def hexadecimal(rgb: tuple[float, float, float]) -> str:
    """An RGB triple in [0, 1] as "#rrggbb"."""
    return "#" + "".join(f"{round(255 * value):02x}" for value in rgb)


def picture(title: str, parts: list[str]) -> str:
    """A whole SVG file."""
    markers = "".join(
        f'<marker id="tip-{name}" viewBox="0 0 10 10" refX="6" refY="5" {TIP_SIZE}><path d="{TIP}" fill="{colour}"/>'
        "</marker>\n    "
        for name, colour in {**AXIS_COLOURS, "ink": INK, **VIEW_COLOURS}.items()
    )
    body = "\n  ".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="title">\n'
        f'  <title id="title">{title}</title>\n  <style>{STYLE}\n  </style>\n'
        f"  <defs>\n    {markers.rstrip()}\n  </defs>\n"
        f'  <rect width="{WIDTH}" height="{HEIGHT}" rx="12" fill="#ffffff"/>\n  {body}\n</svg>\n'
    )


def pose(rotation: np.ndarray, translation: tuple) -> np.ndarray:
    """A pose (4, 4)."""
    X = np.eye(4)
    X[:3, :3], X[:3, 3] = rotation, translation
    return X


def frames() -> str:
    """World, arms, cameras n and m, gripper frame, and the poses between them."""
    d = Drawing(eye=(2.35, -0.35, 1.25), target=(-0.05, 0.0, 0.33), focal_px=1080, centre=(490, 330))
    d.face(TABLE_W, "#efe6d4", "#cbbd9d")
    for arm, base in BASES_W.items():
        sketch_arm(d, np.array(base), np.array(GRIPPERS_W[arm]), arm)
    d.axes(np.eye(4), 0.2)
    d.word((0, 0, 0), "W", (12, 18), "frame")
    d.word((0, 0, 0), "world: centre of the table top, z up", (-60, 58), "small")
    X_WG = pose(POINTING_DOWN, GRIPPERS_W["right"])
    d.axes(X_WG, 0.12, 3, names=False)
    d.word(X_WG[:3, 3], "G", (-30, 4), "frame")
    for name, X_WC in (("n", X_WN), ("m", X_WM)):
        d.camera(X_WC, VIEW_COLOURS[name])
        d.axes(X_WC, 0.13, 3)
    link(d, np.zeros(3), X_WN[:3, 3], "n", "X_Wn", 0.4, (-58, 14))
    link(d, np.zeros(3), X_WM[:3, 3], "m", "X_Wm", 0.3, (10, 10))
    link(d, X_WN[:3, 3], X_WM[:3, 3], "ink", "X_nm", 0.22, (-30, -16))
    link(d, X_WN[:3, 3], X_WG[:3, 3], "ink", "X_nG", 0.62, (-2, -10))
    d.word(X_WN[:3, 3], "camera n, the reference", (-205, -44), "frame", VIEW_COLOURS["n"])
    d.word(X_WN[:3, 3], "all generated points are in its frame", (-205, -24), "small")
    d.word(X_WM[:3, 3], "camera m, the second", (-60, -36), "frame", VIEW_COLOURS["m"])
    return picture("World, two arms, cameras n and m, and the gripper frame G", d.parts)


def sketch_arm(d: Drawing, base: np.ndarray, gripper: np.ndarray, arm: str) -> None:
    """An arm as a thick line from its base to the wrist above the gripper; the gripper itself to scale."""
    shoulder, wrist = base + (0, 0, 0.33), gripper + (0, 0, 0.22)
    elbow = (shoulder + wrist) / 2 + (-0.06, 0, 0.24)
    joints = [base, shoulder, elbow, wrist, gripper + (0, 0, 0.12)]
    d.line(joints, "#aeb9c6", 17, 'stroke-linejoin="round" stroke-linecap="round"')
    d.line(joints, "#dfe5ec", 11, 'stroke-linejoin="round" stroke-linecap="round"')
    d.gripper(pose(POINTING_DOWN, tuple(gripper)), arm)
    d.word(elbow, f"{arm} arm, index {0 if arm == 'left' else 1}", (0, -20), "middle small")


def link(d: Drawing, start: np.ndarray, end: np.ndarray, tip: str, name: str, where: float, shift: tuple) -> None:
    """A dashed arrow from one frame's origin towards another's, with the name of the pose."""
    colour = {"ink": INK, **VIEW_COLOURS}[tip]
    d.line([start, start + 0.94 * (end - start)], colour, 1.6, f'stroke-dasharray="6 5" marker-end="url(#tip-{tip})"')
    d.word(start + where * (end - start), name, shift, "mono", colour)


def gripper_and_pixels() -> str:
    """Left the gripper in its frame, right the pixels of an image."""
    d = Drawing(eye=(0.62, -0.3, -0.28), target=(0, 0, -0.045), focal_px=1450, centre=(235, 300))
    d.X_CS = np.diag([-1.0, -1.0, 1.0, 1.0]) @ d.X_CS  # the hand points down, as in the other figure
    d.gripper(np.eye(4), "right")
    d.axes(np.eye(4), 0.026)
    d.word((0, 0, 0), "G", (10, -6), "frame")
    half, below = WIDTH_SHOWN_M / 2, 0.085
    for side in (-half, half):
        d.line([(0, side, 0.032), (0, side, below + 0.008)], INK, 1.2, 'stroke-dasharray="3 3"')
    d.line([(0, -half, below), (0, half, below)], INK, 1.6, 'marker-start="url(#tip-ink)" marker-end="url(#tip-ink)"')
    d.word((0, 0, below), "width_m, between the centres", (-40, 44), "middle mono")
    d.word((0, half, -0.005), "left", (-36, 0), "end small")
    d.word((0, half, -0.005), "finger", (-36, 16), "end small")
    d.word((0, -half, -0.005), "right", (44, 0), "small")
    d.word((0, -half, -0.005), "finger", (44, 16), "small")
    return picture("The gripper frame G, and where the pixels of an image are", d.parts + pixels())


def pixels() -> list[str]:
    """A tiny image of 5 x 4 pixels with the conventions of (u, v), in the picture's own coordinates."""
    W, H = IMAGE_PIXELS
    parts = [cell(u, v) for v in range(H) for u in range(W)]
    for u, v, name in ((0, 0, "(0, 0)"), (3, 2, "(3, 2)")):
        parts += [dot(u, v, INK), say(u, v, name, "mono middle", (0, 22))]
    parts += [dot((W - 1) / 2, (H - 1) / 2, INK), say((W - 1) / 2, (H - 1) / 2, "middle", "small middle", (0, -10))]
    for u, v, name, shift in ((-0.5, -0.5, "(-½, -½)", (-8, -12)), (W - 0.5, H - 0.5, "(W - ½, H - ½)", (0, 24))):
        parts += [dot(u, v, "#ffffff"), say(u, v, f"corner {name}", "mono end", shift)]
    for axis, (x, y), (p, q) in (("x", (0, -14), (132, -14)), ("y", (-14, 0), (-14, 132))):
        left, top = place_of(-0.5, -0.5)
        parts.append(
            f'<line x1="{left + x:.1f}" y1="{top + y:.1f}" x2="{left + p:.1f}" y2="{top + q:.1f}" '
            f'stroke="{AXIS_COLOURS[axis]}" stroke-width="3" marker-end="url(#tip-{axis})"/>'
        )
    return [
        *parts,
        say(1.5, -0.5, "u counts columns", "small", (12, -9)),
        say(-0.5, 1.5, "v counts rows", "small end", (-6, 24)),
        say(-0.5, H - 0.5, "array[row, column] = array[v, u]", "mono", (0, 66)),
    ]


def place_of(u: float, v: float) -> tuple[float, float]:
    """Where the place (u, v) of the tiny image is in the picture."""
    return IMAGE_CORNER[0] + (u + 0.5) * CELL, IMAGE_CORNER[1] + (v + 0.5) * CELL


def cell(u: int, v: int) -> str:
    """A pixel of the tiny image."""
    x, y = place_of(u - 0.5, v - 0.5)
    fill = "#e3eef2" if (u + v) % 2 else "#f6fafb"
    return f'<rect x="{x}" y="{y}" width="{CELL}" height="{CELL}" fill="{fill}" stroke="{VIEW_COLOURS["n"]}"/>'


def dot(u: float, v: float, fill: str) -> str:
    """A dot at (u, v)."""
    x, y = place_of(u, v)
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{fill}" stroke="{INK}" stroke-width="1.5"/>'


def say(u: float, v: float, text: str, kind: str, shift: tuple[float, float]) -> str:
    """Words beside (u, v)."""
    x, y = place_of(u, v)
    return f'<text x="{x + shift[0]:.1f}" y="{y + shift[1]:.1f}" class="{kind}">{text}</text>'


def main() -> None:
    """Write both figures."""
    for name, svg in (("frames", frames()), ("gripper_and_pixels", gripper_and_pixels())):
        (FIGURES / f"{name}.svg").write_text(svg)
        print(f"wrote {FIGURES / name}.svg")


if __name__ == "__main__":
    main()
