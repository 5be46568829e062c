"""Triton kernels of the decoder on CUDA GPUs. Imported only where there is one, or by tests.

Each has its reference in plain torch beside it in the package, and is tested against that.
"""
