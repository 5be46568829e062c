"""InternLM2 (arXiv 2403.17297), section 2.2: grouped queries, and the order inside of Wqkv."""

import torch

from tests.engine.models.reference import plain


def logits(state, config, ids):
    kv_heads, width = config["num_key_value_heads"], config["hidden_size"]
    per_group = config["num_attention_heads"] // kv_heads
    size = width // config["num_attention_heads"]
    theta, divide = find_theta(config, len(ids), size)
    hidden = [state["model.tok_embeddings.weight"][token] for token in ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}"
        keys = [[] for _ in range(kv_heads)]
        values = [[] for _ in range(kv_heads)]
        for place in range(len(ids)):
            normed = norm(state, config, f"{at}.attention_norm", hidden[place])
            fused = plain.linear(state, f"{at}.attention.wqkv", normed)
            outs = []
            for group in range(kv_heads):
                heads = fused[group * (per_group + 2) * size :][: (per_group + 2) * size]
                heads = heads.reshape(per_group + 2, size)
                turn = [
                    plain.turn(head, place / divide, theta, plain.halves(size))
                    for head in heads[: per_group + 1]
                ]
                keys[group].append(turn[per_group])
                values[group].append(heads[per_group + 1])
                outs += [plain.attend(q, keys[group], values[group]) for q in turn[:per_group]]
            mixed = plain.linear(state, f"{at}.attention.wo", torch.cat(outs))
            hidden[place] = hidden[place] + mixed
        for place in range(len(ids)):
            normed = norm(state, config, f"{at}.ffn_norm", hidden[place])
            gate = plain.silu(plain.linear(state, f"{at}.feed_forward.w1", normed))
            up = plain.linear(state, f"{at}.feed_forward.w3", normed)
            down = plain.linear(state, f"{at}.feed_forward.w2", gate * up)
            hidden[place] = hidden[place] + down
    final = [norm(state, config, "model.norm", vector) for vector in hidden]
    return torch.stack([state["output.weight"] @ vector for vector in final])


def norm(state, config, name, vector):
    return plain.rms_norm(vector, state[f"{name}.weight"], config["rms_norm_eps"])


def find_theta(config, length, size):
    """Theta, and what positions are divided by, under each kind of scaling."""
    theta, scaling = config["rope_theta"], config["rope_scaling"]
    if scaling is None:
        return theta, 1.0
    factor, window = scaling["factor"], config["max_position_embeddings"]
    if scaling["type"] == "linear":
        return theta, factor
    if length <= window:
        return theta, 1.0
    grown = factor * length / window - (factor - 1)
    return theta * grown ** (size / (size - 2)), 1.0
