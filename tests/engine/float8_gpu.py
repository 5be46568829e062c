"""A GPU that multiplies 8-bit floats, as a parameter of tests."""

import pytest
import torch

from engine.models.float8 import has_fp8

ON_GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(
            not (torch.cuda.is_available() and has_fp8(torch.device("cuda"))), reason="no float8"
        ),
    ],
)
