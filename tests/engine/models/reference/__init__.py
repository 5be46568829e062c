"""Each model written down once more, in float64 and plainly, sharing nothing with it."""
