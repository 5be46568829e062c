"""One training loop: a stage is a loss and a way to make batches, never another trainer."""
