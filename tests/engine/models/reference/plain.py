"""What the papers define, one position and one head at a time, in float64."""

import math

import torch


def rms_norm(vector, weight, eps):
    """arXiv 1910.07467, equation 4."""
    return vector / torch.sqrt((vector * vector).mean() + eps) * weight


def silu(values):
    return values / (1 + torch.exp(-values))


def turn_pair(a, b, angle):
    """arXiv 2104.09864, equation 13: one pair by one angle."""
    return a * math.cos(angle) - b * math.sin(angle), a * math.sin(angle) + b * math.cos(angle)


def turn(head, position, theta, pairs):
    """Turn each pair of places (i-th of `pairs`) of a head by `position * theta^(-2i/d)`."""
    numbers = list(head)
    width = 2 * len(pairs)
    for index, (first, second) in enumerate(pairs):
        angle = position * theta ** (-2 * index / width)
        numbers[first], numbers[second] = turn_pair(head[first], head[second], angle)
    return torch.stack(numbers)


def halves(width):
    """The pairs of Llama's layout."""
    return [(index, index + width // 2) for index in range(width // 2)]


def neighbours(width):
    """The pairs of the paper's layout."""
    return [(2 * index, 2 * index + 1) for index in range(width // 2)]


def attend(query, keys, values, bias=None):
    """One query over all keys up to it: softmax of the scaled products, plus a bias a key."""
    scores = torch.stack([(query * key).sum() / math.sqrt(len(query)) for key in keys])
    if bias is not None:
        scores = scores + torch.tensor(bias, dtype=torch.float64)
    weights = torch.exp(scores - scores.max())
    weights = weights / weights.sum()
    return sum(weight * value for weight, value in zip(weights, values, strict=True))


def slopes(num_heads):
    """arXiv 2108.12409, section 3, and the authors' answer for what is no power of two."""
    exact = math.log2(num_heads)
    if exact == int(exact):
        start = 2 ** (-8 / num_heads)
        return [start ** (index + 1) for index in range(num_heads)]
    lower = 2 ** int(exact)
    return slopes(lower) + slopes(2 * lower)[0::2][: num_heads - lower]


def linear(state, name, vector):
    out = state[f"{name}.weight"] @ vector
    return out + state[f"{name}.bias"] if f"{name}.bias" in state else out
