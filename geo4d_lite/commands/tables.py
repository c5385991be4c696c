"""`geo4d tables`: the page of results, written from the recorded JSON files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tables:
    """Render all recorded results into one page of the book."""

    results: Path = Path("book/results")
    """Folder of the JSON files that `geo4d evaluate` and `geo4d rollout` wrote."""
    page: Path = Path("book/results.md")
    """Page to write."""


def main(options: Tables) -> None:
    """Write the page and print where it is."""
    from geo4d_lite.evaluation.tables import results_page

    options.page.write_text(results_page(options.results))
    print(f"wrote {options.page}")
