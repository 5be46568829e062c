"""Serving: one base model and any number of its adapters behind an OpenAI-compatible address.

`backend.py` is the seam. Behind it `native_backend.py` knows names and talks, `loop.py` makes
the tokens as `plan.py` says, and `decoder/` or `cpu/` computes them.
"""
