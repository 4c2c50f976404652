"""Notebooks; a package, so that conftest.py has a name of its own."""
