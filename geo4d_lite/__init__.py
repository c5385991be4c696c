"""A small, readable reproduction of *Geometry-aware 4D Video Generation for Robot Manipulation* (arXiv 2507.01099)."""

__version__ = "0.1.0"
