"""Sources of markets, one module per source."""
