"""Notebooks, run by `pytest notebooks`; a package, so that its conftest.py has a name of its own."""
