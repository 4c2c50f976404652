"""Writes the pages of the site that are made from the code, the yaml files and the notebooks."""
