"""`geo4d tables`: the pages of results and the claims ledger, written from the recorded JSON files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Tables:
    """Render all recorded results into pages of the book."""

    results: Path = Path("book/results")
    """Folder of the JSON files that `geo4d evaluate` and `geo4d rollout` wrote."""
    page: Path = Path("book/results.md")
    """Page to write; beside it `held_out.md` has every evaluation in full."""
    claims: Path = Path("book/claims.json")
    """The paper's claims in words; the ledger is written beside, as claims.md."""


def main(options: Tables) -> None:
    """Write the pages and print where they are."""
    from geo4d_lite.evaluation.claims import ledger
    from geo4d_lite.evaluation.pages import held_out_page, results_page

    pages = {options.page: results_page(options.results)}
    pages[options.page.with_name("held_out.md")] = held_out_page(options.results)
    pages[options.claims.with_suffix(".md")] = ledger(options.results, options.claims)
    for page, text in pages.items():
        page.write_text(text)
        print(f"wrote {page}")
