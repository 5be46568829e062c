"""Baichuan 2 (arXiv 2309.10305), section 2: rotary or ALiBi, SwiGLU, NormHead; W_pack: q, k, v."""

import torch

from tests.engine.models.reference import plain


def logits(state, config, ids):
    num_heads, width = config["num_attention_heads"], config["hidden_size"]
    size = width // num_heads
    slopes = plain.slopes(num_heads)
    hidden = [state["model.embed_tokens.weight"][token] for token in ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        keys = [[] for _ in range(num_heads)]
        values = [[] for _ in range(num_heads)]
        for place in range(len(ids)):
            normed = norm(state, config, f"{at}.input_layernorm", hidden[place])
            fused = state[f"{at}.self_attn.W_pack.weight"] @ normed
            outs = []
            for head in range(num_heads):
                query, key, value = (
                    fused[part * width + head * size :][:size] for part in range(3)
                )
                bias = None
                if config["position_embedding"] == "rope":
                    query, key = (
                        plain.turn(x, place, 10_000.0, plain.halves(size)) for x in (query, key)
                    )
                else:
                    bias = [-slopes[head] * (place - other) for other in range(place + 1)]
                keys[head].append(key)
                values[head].append(value)
                outs.append(plain.attend(query, keys[head], values[head], bias))
            mixed = state[f"{at}.self_attn.o_proj.weight"] @ torch.cat(outs)
            hidden[place] = hidden[place] + mixed
        for place in range(len(ids)):
            normed = norm(state, config, f"{at}.post_attention_layernorm", hidden[place])
            gate = plain.silu(state[f"{at}.mlp.gate_proj.weight"] @ normed)
            up = state[f"{at}.mlp.up_proj.weight"] @ normed
            hidden[place] = hidden[place] + state[f"{at}.mlp.down_proj.weight"] @ (gate * up)
    head = state["lm_head.weight"]
    if config["norm_head"]:
        head = torch.stack([row / torch.sqrt((row * row).sum()) for row in head])
    final = [norm(state, config, "model.norm", vector) for vector in hidden]
    return torch.stack([head @ vector for vector in final])


def norm(state, config, name, vector):
    return plain.rms_norm(vector, state[f"{name}.weight"], config["rms_norm_eps"])
