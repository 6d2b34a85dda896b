"""`python -m ganzhi` is `ganzhi`."""

from ganzhi.cli import main

main()
