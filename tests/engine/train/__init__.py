"""The trainer: losses, spread, checkpoints."""
