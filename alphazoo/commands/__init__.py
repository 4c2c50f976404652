"""What each command does with its arguments; heavy modules are imported when one is run."""
