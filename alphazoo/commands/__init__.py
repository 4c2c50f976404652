"""The commands of ``alphazoo``; each imports heavy modules only when it runs."""
