"""Runs: what a training run leaves in its folder."""
