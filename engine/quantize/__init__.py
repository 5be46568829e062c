"""Quantization: weights in 4 or 8 bits, calibrated layer by layer, with a measured report card.

`grid` rounds, `awq`, `gptq` and `smooth` decide how, `walk` goes through a model layer by layer,
`layouts` writes the published formats, and `gate` is what a server asks before it serves one.
"""
