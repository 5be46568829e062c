"""From the rows people bring to packed batches: read, render with a loss mask, plan, collate."""
