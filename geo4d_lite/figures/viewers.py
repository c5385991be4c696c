"""3D pictures a reader can turn: pointmaps and camera shells, as pages of their own that need no network.

A viewer is a small HTML page beside the bundle that draws it: a vendored plotly, or the Meshcat that Drake puts into
every recording and of which one is enough. The notebook shows it in a frame that loads when it scrolls into sight.
Pages, ids and numbers are the same on every run, so an unchanged viewer is an unchanged file. JupyterLab hands pages
out in a sandbox without its cookies and so refuses them the bundle beside them; there it comes from the server's
/static, where `make lab` puts it.
"""

import html
import json
import os
import re
import shutil
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
from IPython.display import IFrame
from matplotlib.image import imsave

from geo4d_lite.figures.look import AXIS_COLOURS, INK, SPLIT_COLOURS, VIEW_COLOURS
from geo4d_lite.geometry import PAPER_SHELL, CameraShell, Intrinsics, transform

VIEWERS = Path(__file__).parents[2] / "notebooks" / "viewers"
PLOTLY = "plotly-gl3d.min.js"  # plotly.js 4.1.1, the 3D part, MIT
MESHCAT = "meshcat.min.js"
INLINE_MESHCAT = re.compile(r'<script type="text/javascript">(/\*! For license[^\n]*\n.*?)</script>', re.DOTALL)
MAX_POINTS = 8000
HEIGHT_PX = 480
CONFIG = {"displayModeBar": False, "responsive": True}
TEMPLATE = Path(__file__).with_suffix(".html")
# Beside the figure: what every camera sees, small, and the chosen one large. A camera's trace carries its number as
# `meta`; pointing at it, at its image, or reaching its image by the tab key, chooses it.
GALLERY = Path(__file__).with_name("viewers_gallery.html")
BUNDLE = Path(__file__).with_name("viewers_bundle.html")  # what a recording has in place of its own Meshcat


class Frame(IFrame):
    """A viewer in a page. As text it is its title, where an IFrame would show its address in memory."""

    def __init__(self, name: str, title: str, height_px: int) -> None:
        extras = [f'title="{html.escape(title)}"', 'loading="lazy"']
        super().__init__(f"viewers/{name}.html", "100%", height_px, extras=extras)
        self.title = title

    def __repr__(self) -> str:
        return f"<{self.title}>"


def write_viewer(
    figure: go.Figure, name: str, title: str, images: dict[str, tuple[np.ndarray, str]] | None = None
) -> Frame:
    """Write a plotly figure as viewers/<name>.html and return the frame that shows it; `title` is its alt text.

    images: what to show beside it, one for each camera of `camera_shell_view` and in their order: caption -> (colour
    image (H, W, 3) uint8, colour of its frame). Pointing at a camera brings up its image, and the other way round.
    """
    content = json.dumps(figure.to_plotly_json() | {"config": CONFIG}, separators=(",", ":"))
    page = _filled(
        TEMPLATE,
        title=html.escape(title),
        name=name,
        plotly=PLOTLY,
        gallery=_gallery(images) if images else "",
        figure=content.replace("</", "<\\/"),
    )
    bundle = viewers_folder() / PLOTLY
    if not bundle.exists():
        shutil.copyfile(VIEWERS / PLOTLY, bundle)
    return write_page(page, name, title)


def _filled(template: Path, **parts: str) -> str:
    """The text of a template with each {{name}} replaced by its part, in the order given."""
    text = template.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace("{{" + name + "}}", part)
    return text


def _gallery(images: dict[str, tuple[np.ndarray, str]]) -> str:
    """The part of a page that shows `images` (see write_viewer) beside its figure."""
    tags = []
    for caption, (image, colour) in images.items():
        buffer = BytesIO()
        imsave(buffer, image, format="jpg", pil_kwargs={"quality": 85})
        source = "data:image/jpeg;base64," + b64encode(buffer.getvalue()).decode()
        reach = f'alt="{html.escape(caption)}" tabindex="0" role="button"'
        tags.append(f'<img src="{source}" {reach} style="border-color: {colour}">')
    return _filled(GALLERY, images="\n".join(tags))


def write_page(page: str, name: str, title: str, height_px: int = HEIGHT_PX) -> Frame:
    """Write any self-contained page as viewers/<name>.html, entitled `title`, and return the frame that shows it.

    The Meshcat of a recording goes into a file beside it, where all recordings find it.
    """
    page = re.sub("<title>.*?</title>", lambda _: f"<title>{html.escape(title)}</title>", page, count=1)
    if bundle := INLINE_MESHCAT.search(page):
        (viewers_folder() / MESHCAT).write_text(bundle[1], encoding="utf-8")
        page = page[: bundle.start()] + _filled(BUNDLE, bundle=MESHCAT, name=name) + page[bundle.end() :]
    (viewers_folder() / f"{name}.html").write_text(page, encoding="utf-8")
    return Frame(name, title, height_px)


def viewers_folder() -> Path:
    """The folder viewers are written to, made if need be: $GEO4D_VIEWERS, or notebooks/viewers of this repository."""
    folder = Path(os.environ.get("GEO4D_VIEWERS", VIEWERS))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pointmap_view(
    clouds: dict[str, tuple[np.ndarray, np.ndarray | str]],
    frame: str,
    cameras: dict[str, tuple[np.ndarray, Intrinsics]] | None = None,
    size: float = 2.0,
) -> go.Figure:
    """Point clouds, and the cameras that saw them, in one frame.

    clouds: name -> (points (N, 3) in metres, colours (N, 3) uint8 or one colour name); valid points only. Together
    they are thinned to MAX_POINTS, evenly. cameras: "n" or "m" -> (pose of the camera in `frame` (4, 4), intrinsics).
    """
    figure = go.Figure()
    total = sum(len(points) for points, _ in clouds.values())
    for name, (points, colours) in clouds.items():
        _add_cloud(figure, name, points, colours, min(1.0, MAX_POINTS / total), size)
    for view, (X_FC, K) in (cameras or {}).items():
        _add_camera(figure, X_FC, K, f"camera {view}", VIEW_COLOURS[view], depth_m=0.12)
    _add_triad(figure, np.eye(4), 0.15)
    up = (0.0, 0.0, 1.0) if frame == "world" else (0.0, -1.0, 0.0)  # y of an optical frame points down
    eye = (1.0, -0.8, 0.7) if frame == "world" else (0.55, -0.55, -1.4)
    return _finish(figure, frame, up, eye)


def camera_shell_view(
    X_WC: np.ndarray,
    K: Intrinsics,
    split: list[str],
    shell: CameraShell = PAPER_SHELL,
    scene: tuple[np.ndarray, np.ndarray] | None = None,
) -> go.Figure:
    """Cameras X_WC (count, 4, 4) as pyramids coloured by their `split`, the shell, its box and the table (world).

    scene: points (N, 3) of what stands on the table and their colours (N, 3) uint8, thinned to MAX_POINTS.
    """
    figure = go.Figure()
    if scene is not None:
        _add_cloud(figure, "scene", *scene, min(1.0, MAX_POINTS / len(scene[0])), size=2.0)
    for number, (pose, name) in enumerate(zip(X_WC, split, strict=True)):
        in_legend = number == list(split).index(name)
        _add_camera(figure, pose, K, f"{name} cameras", SPLIT_COLOURS[name], 0.1, in_legend, number)
    for radius in (shell.min_radius, shell.max_radius):
        _add_lines(figure, _hemisphere(radius), f"r = {radius} m", "#BBBBBB")
    corners = np.array(np.meshgrid(*zip(shell.low, shell.high, strict=True))).reshape(3, -1).T
    edges = [(a, b) for a in corners for b in corners if (a < b).sum() == 1 and (a != b).sum() == 1]
    _add_lines(figure, edges, "box", INK)
    table = [(-0.9, -0.85, 0), (0.6, -0.85, 0), (0.6, 0.85, 0), (-0.9, 0.85, 0), (-0.9, -0.85, 0)]
    _add_lines(figure, [np.array(table)], "table top", "#B08D57")
    _add_triad(figure, np.eye(4), 0.2)
    return _finish(figure, "world", (0.0, 0.0, 1.0), (1.2, -1.0, 0.6))


def _add_cloud(
    figure: go.Figure, name: str, points: np.ndarray, colours: np.ndarray | str, share: float, size: float
) -> None:
    keep = np.linspace(0, len(points) - 1, int(len(points) * share)).astype(int)
    colour = colours if isinstance(colours, str) else ["#" + bytes(c).hex() for c in colours[keep]]
    x, y, z = np.round(points[keep], 3).astype(np.float32).T
    figure.add_scatter3d(x=x, y=y, z=z, mode="markers", name=name, marker={"size": size, "color": colour})


def _hemisphere(radius: float) -> list[np.ndarray]:
    """Meridians and the rim of the upper half sphere, as polylines."""
    arc, turn = np.linspace(0, np.pi, 25), np.linspace(0, 2 * np.pi, 49)
    meridians = [
        radius * np.stack([np.cos(arc) * np.cos(a), np.cos(arc) * np.sin(a), np.sin(arc)], axis=1)
        for a in np.arange(4) * np.pi / 4
    ]
    return [*meridians, radius * np.stack([np.cos(turn), np.sin(turn), 0 * turn], axis=1)]


def _add_camera(
    figure: go.Figure,
    X_FC: np.ndarray,
    K: Intrinsics,
    name: str,
    colour: str,
    depth_m: float,
    in_legend: bool = True,
    number: int | None = None,
) -> None:
    """A pyramid from the camera centre to its image at `depth_m`; the extra roof marks the image's top.

    `number` is what a gallery knows the camera by.
    """
    right, bottom = (K.width - 0.5 - K.cx) / K.fx, (K.height - 0.5 - K.cy) / K.fy
    left, top = (-0.5 - K.cx) / K.fx, (-0.5 - K.cy) / K.fy
    a, b, c, d = (
        np.array([x, y, 1.0]) * depth_m for x, y in ((left, top), (right, top), (right, bottom), (left, bottom))
    )
    roof, eye = np.array([0.0, 1.4 * top, 1.0]) * depth_m, np.zeros(3)
    outline = np.array([eye, a, b, c, d, a, roof, b, eye, c, d, eye])
    _add_lines(figure, [transform(X_FC, outline)], name, colour, width=3, in_legend=in_legend, number=number)


def _add_triad(figure: go.Figure, X_FG: np.ndarray, length_m: float) -> None:
    for axis, (name, colour) in enumerate(AXIS_COLOURS.items()):
        segment = np.stack([X_FG[:3, 3], X_FG[:3, 3] + length_m * X_FG[:3, axis]])
        _add_lines(figure, [segment], name, colour, width=6, in_legend=False)


def _add_lines(
    figure: go.Figure,
    lines,
    name: str,
    colour: str,
    width: int = 2,
    in_legend: bool = True,
    number: int | None = None,
) -> None:
    gap = np.full((1, 3), np.nan)
    x, y, z = np.concatenate([part for line in lines for part in (np.asarray(line), gap)]).astype(np.float32).T
    figure.add_scatter3d(
        x=x,
        y=y,
        z=z,
        mode="lines",
        name=name,
        legendgroup=name,
        showlegend=in_legend,
        line={"color": colour, "width": width},
        hoverinfo="name",
        meta=number,
    )


def _finish(figure: go.Figure, frame: str, up: tuple, eye: tuple) -> go.Figure:
    def vector(values: tuple) -> dict:
        return dict(zip("xyz", values, strict=True))

    scene = {f"{axis}axis": {"title": f"{axis} in m ({frame})", "nticks": 6} for axis in "xyz"}
    scene |= {"aspectmode": "data", "camera": {"up": vector(up), "eye": vector(eye)}}
    margin = {"l": 0, "r": 0, "t": 0, "b": 0}
    legend = {"x": 0.01, "y": 0.99, "itemsizing": "constant", "font": {"size": 11}, "bgcolor": "rgba(255,255,255,0.6)"}
    return figure.update_layout(template="none", scene=scene, margin=margin, legend=legend)
