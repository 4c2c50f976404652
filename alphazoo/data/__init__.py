"""From market files to trading days: sources, market, features, labels, scaling, days."""
