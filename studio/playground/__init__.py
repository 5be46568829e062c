"""Conversations with models, side by side."""
