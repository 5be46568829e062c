"""The decoder of the native backend: one stack of layers for every family that it serves.

`shape` says what a model is, `weights` holds it, `families` reads checkpoints into both, and
`step` is what the step loop asks of whichever implementation runs it.
"""
