"""Serving: one base model and any number of its adapters behind an OpenAI-compatible address.

`backend.py` is the seam that a faster engine fills; `native.py` is the simple, correct one.
"""
