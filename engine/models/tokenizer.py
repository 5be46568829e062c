"""Opens the tokenizer of a folder without the code that comes with it.

transformers' own classes where the folder names one; otherwise the vocabulary file itself, read by
engine/models/spm.py, with the names, ids and template that `tokenizer_config.json` gives.
"""

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from engine.models.spm import build_ranked, build_spm, list_controls, read_spm

_CODE_CLASSES = ("InternLM", "Baichuan", "BaiChuan", "ChatGLM")
# The tokens behind the vocabulary of ChatGLM 2 and 3, in the order of their ids; the roles are 3's.
_CHATGLM = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")
_CHATGLM_ROLES = ("<|system|>", "<|user|>", "<|assistant|>", "<|observation|>")
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")
_TAKEN = ("model_max_length", "chat_template", "padding_side")


def open_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Open a folder's tokenizer; no code of the folder is run.

    Raises:
        ValueError, OSError: when there is none, or none that can be read so.
    """
    config = _read_json(folder / "tokenizer_config.json")
    made_by = str(config.get("tokenizer_class", ""))
    if "auto_map" not in config and not made_by.startswith(_CODE_CLASSES):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if (folder / "tokenizer.json").is_file():
        return PreTrainedTokenizerFast.from_pretrained(folder)
    if not (folder / "tokenizer.model").is_file():
        raise ValueError(
            f"{made_by or 'its class'} is code that comes with it, and there is neither a "
            "tokenizer.json nor a tokenizer.model"
        )
    return _build(folder, config)


def _build(folder: Path, config: dict[str, Any]) -> PreTrainedTokenizerFast:
    content = (folder / "tokenizer.model").read_bytes()
    added = _list_added(config)
    names = {index: token.content for index, token in added.items()}
    if content[:1] == b"\n":  # a protobuf message's first piece; no base64 sign
        vocabulary = read_spm(content)
        if "ChatGLM" in str(config.get("tokenizer_class")):
            names = _list_chatglm(len(vocabulary.pieces), config) | names
        pipeline = build_spm(vocabulary, names)
        controls = list_controls(vocabulary)
    else:
        pipeline, controls = build_ranked(content, names), []
    specials = {name: AddedToken(name, normalized=False, special=True) for name in controls}
    specials |= {name: AddedToken(name, normalized=False, special=True) for name in names.values()}
    specials |= {token.content: token for token in added.values()}
    kept = [token for name, token in specials.items() if pipeline.token_to_id(name) is not None]
    pipeline.add_special_tokens([token for token in kept if token.special])
    pipeline.add_tokens([token for token in kept if not token.special])
    _add_beginning(pipeline, config)
    return PreTrainedTokenizerFast(
        tokenizer_object=pipeline,
        clean_up_tokenization_spaces=False,
        **_name_tokens(folder, config, pipeline),
        **{name: config[name] for name in _TAKEN if config.get(name) is not None},
    )


def _list_added(config: dict[str, Any]) -> dict[int, AddedToken]:
    """Return the tokens that the config gives ids; some rename a place that the file left unused.

    Matched as they stand in a text, whatever is beside them, as the classes with code do.
    """
    return {
        int(index): AddedToken(
            token["content"],
            normalized=False,
            special=bool(token.get("special", True)),
            lstrip=bool(token.get("lstrip")),
            rstrip=bool(token.get("rstrip")),
        )
        for index, token in (config.get("added_tokens_decoder") or {}).items()
    }


def _list_chatglm(start: int, config: dict[str, Any]) -> dict[int, str]:
    has_roles = _CHATGLM_ROLES[1] in json.dumps(config, ensure_ascii=False) or "<|{{" in str(
        config.get("chat_template")
    )
    tokens = _CHATGLM + (_CHATGLM_ROLES if has_roles else ())
    return dict(enumerate(tokens, start))


def _add_beginning(pipeline: Tokenizer, config: dict[str, Any]) -> None:
    """Put before a text what the class with code puts there, unless asked for no special tokens."""
    if "ChatGLM" in str(config.get("tokenizer_class")):
        beginning = [name for name in ("[gMASK]", "sop", "<sop>") if pipeline.token_to_id(name)]
    elif config.get("add_bos_token", True) and config.get("bos_token"):
        beginning = [_as_text(config["bos_token"])]
    else:
        return
    pipeline.post_processor = TemplateProcessing(
        single=[*beginning, "$A"],
        special_tokens=[(name, pipeline.token_to_id(name)) for name in beginning],
    )


def _name_tokens(folder: Path, config: dict[str, Any], pipeline: Tokenizer) -> dict[str, str]:
    """Return which token begins, ends, fills and stands for the unknown."""
    given = _read_json(folder / "special_tokens_map.json") | config
    found = {name: _as_text(given[name]) for name in _NAMED if given.get(name)}
    if "ChatGLM" in str(config.get("tokenizer_class")):
        # The class with code has these from the file itself.
        usual = {"eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<unk>"}
        found = usual | found
    return {name: token for name, token in found.items() if pipeline.token_to_id(token) is not None}


def _as_text(token: Any) -> str:
    return str(token["content"]) if isinstance(token, dict) else str(token)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError(f"{path.name} is no object")
    return values
