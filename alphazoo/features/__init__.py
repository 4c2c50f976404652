"""Features: what a model sees of a stock, computed from the panels of a market."""
