"""Labelling: people review, rank and tag the rows of a dataset, and save what they found."""
