"""Training: fit one model, or one per window of a walk forward."""
