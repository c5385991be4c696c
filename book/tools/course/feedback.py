"""The page a student gets back: points, what each test said, and their own answers. Plain HTML, nothing to load."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from book.tools.course.sandbox import Outcome
from book.tools.course.submission import Cell

STYLE = """body { font: 16px/1.5 system-ui, sans-serif; max-width: 50em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; width: 100% } td, th { border-bottom: 1px solid #ccc; padding: .3em .6em;
text-align: left; vertical-align: top } td.n { text-align: right; white-space: nowrap }
pre { background: #f4f4f4; padding: .8em; overflow-x: auto; white-space: pre-wrap } .full { color: #1a6b2f }
.lost { color: #a3261b } .open { color: #75590a }
@media (prefers-color-scheme: dark) { body { background: #1b1b1b; color: #e6e6e6 } pre { background: #2a2a2a }
.full { color: #7fd18f } .lost { color: #ff9b8f } .open { color: #e5c05c } }"""

THEIR_KINDS = ("solution", "written", "own")


@dataclass(frozen=True)
class Score:
    """What one graded cell brought: points is None where a person has not marked it yet."""

    name: str
    points: float | None
    maximum: float
    message: str = ""


@dataclass(frozen=True)
class Report:
    """Everything about one assignment of one student."""

    student: str
    assignment: str
    scores: list[Score]
    notes: list[str] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    outcomes: list[Outcome | None] = field(default_factory=list)

    def total(self, written: bool) -> float:
        """The points of the written questions, or of the tests, as far as they are known."""
        return sum(score.points or 0.0 for score in self.scores if is_written(score) is written)

    @property
    def maximum(self) -> float:
        return sum(score.maximum for score in self.scores)

    @property
    def is_marked(self) -> bool:
        """Whether every written answer has its points."""
        return all(score.points is not None for score in self.scores)


def is_written(score: Score) -> bool:
    """Whether a person marks this cell; written questions are named so in the notebooks."""
    return score.name.startswith("written")


def score_row(score: Score) -> str:
    """A line of the table of points."""
    if score.points is None:
        kind, points = "open", "–"
    else:
        kind, points = ("full" if score.points >= score.maximum else "lost"), f"{score.points:g}"
    message = score.message or {"full": "passed", "lost": "", "open": "waits for a person"}[kind]
    cells = f'<td>{escape(score.name)}</td><td class="n {kind}">{points} of {score.maximum:g}</td>'
    return f"<tr>{cells}<td><pre>{escape(message)}</pre></td></tr>"


def answer_block(cell: Cell, outcome: Outcome | None) -> str:
    """One of the student's cells with what it printed."""
    parts = [f"<h3>{escape(cell.name)}</h3><pre>{escape(cell.source)}</pre>"]
    if outcome is not None and outcome.output.strip():
        parts.append(f"<p>printed:</p><pre>{escape(outcome.output[:4000])}</pre>")
    if outcome is not None and not outcome.ok:
        parts.append(f'<p class="lost">{escape(outcome.error)}</p>')
    return "".join(parts)


def page(report: Report) -> str:
    """The feedback page as HTML; every word of the student's is escaped."""
    points = report.total(False) + report.total(True)
    state = "" if report.is_marked else " so far, written answers not yet marked"
    title = f"{report.assignment}: {report.student}"
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    outcomes = report.outcomes or [None] * len(report.cells)
    pairs = zip(report.cells, outcomes, strict=True)
    answers = "".join(answer_block(cell, outcome) for cell, outcome in pairs if cell.kind in THEIR_KINDS)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{STYLE}</style></head><body>'
        f"<h1>{escape(title)}</h1><p><strong>{points:g} of {report.maximum:g} points</strong>{state}</p>"
        + (f"<h2>About your file</h2><ul>{notes}</ul>" if notes else "")
        + "<h2>Points</h2><table><tr><th>cell</th><th>points</th><th>message</th></tr>"
        + "".join(score_row(score) for score in report.scores)
        + f"</table><h2>Your answers</h2>{answers}</body></html>\n"
    )
