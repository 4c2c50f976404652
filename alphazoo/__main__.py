"""``python -m alphazoo`` is the command ``alphazoo``."""

from alphazoo.cli import main

main()
