"""What a trained model looks at: attention, concepts, neighbours, attributions; and checks."""
