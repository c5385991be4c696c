"""Compare two printed outputs: text and integers exactly, floating-point numbers within a tolerance.

A number counts as floating point when it is printed with a decimal point and at least one digit behind it, or with an
exponent. `2.13.0` is a version and `v0.1` a name: text. A run of blanks counts as one, because NumPy pads columns to
the longest number.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d*\.\d+(?:[eE][-+]?\d+)?|\d+[eE][-+]?\d+)(?!\d|\.\d)")
COMMENT = re.compile(r"^#\s*nbval:(?P<settings>.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Tolerance:
    """Two floats agree when |a − b| ≤ max(rtol · max(|a|, |b|), atol)."""

    rtol: float = 1e-3
    atol: float = 0.0

    @classmethod
    def of_cell(cls, source: str) -> Tolerance:
        """Read a cell's own tolerance from a comment line such as `# nbval: rtol=0.05 atol=1e-6`.

        Raises:
            ValueError: the comment sets something else than rtol and atol.
        """
        comment = COMMENT.search(source)
        if comment is None:
            return cls()
        settings = dict(word.partition("=")[::2] for word in comment["settings"].split())
        unknown = settings.keys() - {"rtol", "atol"}
        if unknown or not settings:
            raise ValueError(f"`{comment[0]}` sets {sorted(unknown) or 'nothing'}; write `# nbval: rtol=… atol=…`")
        return cls(**{name: float(value) for name, value in settings.items()})

    def close(self, a: float, b: float) -> bool:
        """Whether two numbers agree."""
        return math.isclose(a, b, rel_tol=self.rtol, abs_tol=self.atol)


def outputs_agree(stored: str, computed: str, tolerance: Tolerance) -> bool:
    """Whether two printed outputs say the same thing."""
    if _text_of(stored) != _text_of(computed):
        return False
    numbers = zip(NUMBER.findall(stored), NUMBER.findall(computed), strict=True)
    return all(tolerance.close(float(a), float(b)) for a, b in numbers)


def _text_of(output: str) -> str:
    """`output` with a placeholder for each floating-point number and single blanks."""
    return re.sub(r"[ \t]+", " ", NUMBER.sub("\N{REPLACEMENT CHARACTER}", output))


class TolerantText(str):
    """A printed output whose `==` is `outputs_agree`: what nbval compares when a cell's `sanitize` returns it."""

    tolerance: Tolerance

    def __new__(cls, text: str, tolerance: Tolerance) -> TolerantText:
        self = super().__new__(cls, text)
        self.tolerance = tolerance
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and outputs_agree(str(self), str(other), self.tolerance)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__
