"""Two-layer, 64-wide models and a byte tokenizer, made in memory: what tests train and serve."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from engine.models.baichuan import BaichuanForCausalLM
from engine.models.chatglm import ChatGLMForConditionalGeneration
from engine.models.internlm2 import InternLM2ForCausalLM

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_SPECIALS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Make a tokenizer of 256 bytes and three special tokens, with a ChatML template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate([*_SPECIALS, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(list(_SPECIALS))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        chat_template=CHAT_TEMPLATE,
    )


def make_model(*, seed: int = 0, **changes: Any) -> LlamaForCausalLM:
    """Make a random Llama in float32; `changes` override its config."""
    tokenizer = make_tokenizer()
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|im_start|>"),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**{**shape, **changes})).eval()


# How each model of this folder writes the shape of `make_model`; the 13B Baichuan is the one with
# ALiBi, and with a number of heads that is no power of two.
FAMILIES: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "internlm2": (
        InternLM2ForCausalLM,
        {
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "max_position_embeddings": 512,
            "bias": False,
        },
    ),
    "baichuan-7b": (
        BaichuanForCausalLM,
        {
            "num_attention_heads": 4,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "max_position_embeddings": 512,
        },
    ),
    "baichuan-13b": (
        BaichuanForCausalLM,
        {
            "hidden_size": 96,
            "num_attention_heads": 6,
            "intermediate_size": 128,
            "num_hidden_layers": 2,
            "model_max_length": 512,
            "norm_head": True,
        },
    ),
    "chatglm": (
        ChatGLMForConditionalGeneration,
        {
            "num_attention_heads": 4,
            "kv_channels": 16,
            "multi_query_group_num": 2,
            "ffn_hidden_size": 128,
            "num_layers": 2,
            "seq_length": 512,
            "add_qkv_bias": True,
        },
    ),
}


def make_family(family: str, *, seed: int = 0, **changes: Any) -> Any:
    """Make a random model of one of `FAMILIES` in float32; `changes` override its config.

    The weights are wide, so that positions and neighbours show in the logits.
    """
    make, shape = FAMILIES[family]
    tokenizer = make_tokenizer()
    given = {
        "hidden_size": 64,
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|im_start|>"),
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
        **shape,
        **changes,
    }
    if family == "chatglm":
        given["padded_vocab_size"] = given.pop("vocab_size")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = make(make.config_class(**given)).eval()
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases and norms start at 0 and 1, which hides much
                parameter.data += 0.1 * torch.randn(parameter.shape)
    return model


def save_family(folder: Path, family: str, *, seed: int = 0, **changes: Any) -> Path:
    """Write a model of `make_family` and the byte tokenizer into a folder; return the folder."""
    make_family(family, seed=seed, **changes).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def save_tiny(folder: Path, *, seed: int = 0, **changes: Any) -> Path:
    """Write model and tokenizer into a folder that loads like any other; return the folder."""
    make_model(seed=seed, **changes).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder
