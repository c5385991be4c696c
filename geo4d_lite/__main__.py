"""`python -m geo4d_lite` is the program `geo4d`."""

from geo4d_lite.cli import main

main()
