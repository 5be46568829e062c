"""Compute points: an append-only double-entry ledger."""
