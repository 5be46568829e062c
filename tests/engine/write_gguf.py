"""The tiny model as a GGUF file."""

from pathlib import Path

import gguf
import numpy as np
from gguf import GGMLQuantizationType as GgmlType

from engine.models.tiny import CHAT_TEMPLATE, make_model, make_tokenizer


def write_tiny(
    path: Path, *, without: str = "", kind: GgmlType | None = None, **extra: np.ndarray
) -> Path:
    """Write it as converters do: other names, rotary rows interleaved; matrices maybe in `kind`."""
    vocab = make_tokenizer().get_vocab()
    tokens = [*sorted(vocab, key=vocab.__getitem__), "ab"]
    model = make_model(vocab_size=len(tokens))
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3, 3, 3, *[1] * (len(tokens) - 3)])
    writer.add_token_merges(["a b"])
    writer.add_eos_token_id(1)  # wrong, as such files often are
    writer.add_bos_token_id(1)
    writer.add_chat_template(CHAT_TEMPLATE)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, values in model.state_dict().items():
        if name not in ("lm_head.weight", without):
            rows = values.numpy()
            num_heads = heads.get(name.split(".")[-2])
            if num_heads:
                rows = rows.reshape(num_heads, 2, -1, rows.shape[1]).swapaxes(1, 2)
                rows = np.ascontiguousarray(rows.reshape(values.shape))
            place = names.get_name(name, try_suffixes=(".weight",))
            if kind is not None and "proj" in name:
                writer.add_tensor(place, gguf.quantize(rows, kind), raw_dtype=kind)
            else:
                writer.add_tensor(place, rows)
    for name, values in extra.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
