"""Pictures: one look for the whole book."""

from geo4d_lite.figures.film_view import write_film_view
from geo4d_lite.figures.images import Row, draw_image, show_depth, show_strip
from geo4d_lite.figures.look import (
    AXIS_COLOURS,
    DEPTH_CMAP,
    DEPTH_RANGE_M,
    INK,
    SPLIT_COLOURS,
    VIEW_COLOURS,
    WIDTH_IN,
    draw_frame,
    fingerprint,
    label_image,
    show,
    style,
)
from geo4d_lite.figures.viewers import camera_shell_view, pointmap_view, write_page, write_viewer

__all__ = [
    "AXIS_COLOURS",
    "DEPTH_CMAP",
    "DEPTH_RANGE_M",
    "INK",
    "SPLIT_COLOURS",
    "VIEW_COLOURS",
    "WIDTH_IN",
    "Row",
    "camera_shell_view",
    "draw_frame",
    "draw_image",
    "fingerprint",
    "label_image",
    "pointmap_view",
    "show",
    "show_depth",
    "show_strip",
    "style",
    "write_film_view",
    "write_page",
    "write_viewer",
]
