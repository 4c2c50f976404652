"""Serving: a finished model at work."""
