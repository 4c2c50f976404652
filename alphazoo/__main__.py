"""Run the command ``alphazoo`` as ``python -m alphazoo``."""

from alphazoo.cli import main

main()
