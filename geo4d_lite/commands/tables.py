"""`geo4d tables`: the page of results and the claims ledger, written from the recorded JSON files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tables:
    """Render all recorded results into two pages of the book."""

    results: Path = Path("book/results")
    """Folder of the JSON files that `geo4d evaluate` and `geo4d rollout` wrote."""
    page: Path = Path("book/results.md")
    """Page to write."""
    claims: Path = Path("book/claims.json")
    """The paper's claims in words; the ledger is written beside, as claims.md."""


def main(options: Tables) -> None:
    """Write the page and print where it is."""
    from geo4d_lite.evaluation.claims import ledger
    from geo4d_lite.evaluation.pages import results_page

    pages = {options.page: results_page(options.results)}
    pages[options.claims.with_suffix(".md")] = ledger(options.results, options.claims)
    for page, text in pages.items():
        page.write_text(text)
        print(f"wrote {page}")
