"""ChatGLM2 and newer (arXiv 2406.12793): shared keys, half of each head turned by neighbours."""

import torch

from tests.engine.models.reference import plain


def logits(state, config, ids):
    num_heads, groups = config["num_attention_heads"], config["multi_query_group_num"]
    size, inner = config["kv_channels"], config["ffn_hidden_size"]
    theta = 10_000.0 * config["rope_ratio"]
    pairs = plain.neighbours(size // 2)
    hidden = [state["transformer.embedding.word_embeddings.weight"][token] for token in ids]
    for layer in range(config["num_layers"]):
        at = f"transformer.encoder.layers.{layer}"
        keys = [[] for _ in range(groups)]
        values = [[] for _ in range(groups)]
        for place in range(len(ids)):
            normed = norm(state, config, f"{at}.input_layernorm", hidden[place])
            fused = plain.linear(state, f"{at}.self_attention.query_key_value", normed)
            for group in range(groups):
                key = fused[(num_heads + group) * size :][:size]
                keys[group].append(plain.turn(key, place, theta, pairs))
                values[group].append(fused[(num_heads + groups + group) * size :][:size])
            outs = []
            for head in range(num_heads):
                query = plain.turn(fused[head * size :][:size], place, theta, pairs)
                group = head * groups // num_heads
                outs.append(plain.attend(query, keys[group], values[group]))
            mixed = plain.linear(state, f"{at}.self_attention.dense", torch.cat(outs))
            hidden[place] = hidden[place] + mixed
        for place in range(len(ids)):
            normed = norm(state, config, f"{at}.post_attention_layernorm", hidden[place])
            wide = plain.linear(state, f"{at}.mlp.dense_h_to_4h", normed)
            gated = plain.silu(wide[:inner]) * wide[inner:]
            down = plain.linear(state, f"{at}.mlp.dense_4h_to_h", gated)
            hidden[place] = hidden[place] + down
    final = [
        norm(state, config, "transformer.encoder.final_layernorm", vector) for vector in hidden
    ]
    return torch.stack([state["transformer.output_layer.weight"] @ vector for vector in final])


def norm(state, config, name, vector):
    return plain.rms_norm(vector, state[f"{name}.weight"], config["layernorm_epsilon"])
