"""Draw the rooms of the package as a wall: a room may import what lies below it, straight down, and nothing else.

Usage: python -m book.tools.draw_rooms            writes book/figures/rooms.svg

The places of the rooms are chosen so that this one sentence is the whole rule; a test compares it with the rule that
the imports are held to.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from pathlib import Path

FIGURES = Path(__file__).resolve().parents[1] / "figures"
COLUMNS, ROWS = (20, 238, 508, 735, 960), (20, 90, 160, 240, 330, 410, 490)  # edges in the picture, pixels
GAP = 3  # half of what lies between two rooms
COLOURS = {  # as in the road of the data: what a room is about -> fill, edge
    "data": ("#fdf3e3", "#c98a2b"),
    "store": ("#eef3f7", "#6b8299"),
    "model": ("#e6effa", "#2f6db3"),
    "action": ("#e9f5ec", "#3c8f57"),
    "result": ("#f3ecf7", "#855aa8"),
    "ground": ("#f4f4f4", "#5b6772"),
}
TITLE = "The rooms of the package: each may import what lies below it"
STYLE = """
    .t { font: 600 16px system-ui, sans-serif; text-anchor: middle; fill: #1d2733 }
    .s { font: 12.5px system-ui, sans-serif; text-anchor: middle; fill: #44515e }"""


@dataclass(frozen=True)
class Room:
    """A brick of the wall: its columns and rows from one edge to another, row 0 on top."""

    left: int
    right: int
    top: int
    bottom: int
    kind: str
    words: tuple[str, ...]

    def is_below(self, other: Room) -> bool:
        """Whether this room lies below the other one, straight down."""
        return self.top >= other.bottom and self.left < other.right and other.left < self.right


ROOMS = {
    "commands": Room(0, 4, 0, 1, "ground", ("the sub-commands of geo4d",)),
    "evaluation": Room(0, 4, 1, 2, "result", ("metrics, closed-loop rollouts, tables",)),
    "policies": Room(1, 4, 2, 3, "action", ("from an observation to an action",)),
    "models": Room(1, 2, 3, 4, "model", ("autoencoders, U-Net, training", "torch, never Drake")),
    "simulation": Room(0, 1, 2, 5, "data", ("station, tasks, cameras", "Drake, never torch")),
    "data": Room(1, 2, 4, 5, "store", ("episodes and windows",)),
    "perception": Room(2, 3, 3, 5, "action", ("segmenters, trackers,", "the gripper's opening")),
    "figures": Room(3, 4, 3, 5, "result", ("plots, strips,", "turnable views")),
    "geometry": Room(0, 4, 5, 6, "ground", ("cameras, poses, pointmaps; arrays of NumPy and torch alike",)),
}


def below(name: str) -> set[str]:
    """The rooms that lie below a room, straight down: those that it may import."""
    return {other for other, room in ROOMS.items() if room.is_below(ROOMS[name])}


def rooms() -> str:
    """The wall as an SVG."""
    parts = [part for name, room in ROOMS.items() for part in brick(name, room)]
    width, height = COLUMNS[-1] + COLUMNS[0], ROWS[-1] + ROWS[0]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'aria-labelledby="rooms-title">\n  <title id="rooms-title">{TITLE}</title>\n  <style>{STYLE}\n  </style>\n'
        f'  <rect width="{width}" height="{height}" rx="12" fill="#ffffff"/>\n  ' + "\n  ".join(parts) + "\n</svg>\n"
    )


def brick(name: str, room: Room) -> list[str]:
    """One room: its box, its name, and in a few words what it holds."""
    fill, edge = COLOURS[room.kind]
    x, y = COLUMNS[room.left] + GAP, ROWS[room.top] + GAP
    width, height = COLUMNS[room.right] - x - GAP, ROWS[room.bottom] - y - GAP
    middle, first = x + width / 2, y + height / 2 + 5 - 9 * len(room.words)
    box = f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{fill}" stroke="{edge}"/>'
    title = f'<text x="{middle:g}" y="{first:g}" class="t">{name}</text>'
    words = [
        f'<text x="{middle:g}" y="{first + 19 + 16 * line:g}" class="s">{escape(text)}</text>'
        for line, text in enumerate(room.words)
    ]
    return [box, title, *words]


def main() -> None:
    """Write the figure."""
    (FIGURES / "rooms.svg").write_text(rooms())
    print(f"wrote {FIGURES / 'rooms.svg'}")


if __name__ == "__main__":
    main()
