"""Write the labs: two pages that need nothing but a browser, from their sources here and the package's numbers.

Usage: python -m book.tools.labs      writes book/labs/*.html
"""

from __future__ import annotations

from book.tools.labs.pages import write_labs

if __name__ == "__main__":
    for path in write_labs():
        print(f"labs: {path} ({path.stat().st_size // 1000} kB)")
