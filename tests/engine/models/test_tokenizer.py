"""Vocabulary files read without code, against the library that wrote them."""

import base64
import json

import pytest
import sentencepiece
from transformers import AutoTokenizer

from engine.errors import EngineError
from engine.models.load import load_bare_tokenizer, load_tokenizer
from engine.models.tiny import CHAT_TEMPLATE, make_tokenizer

TEXT = """the furnace feeds itself and the alchemist sleeps
a student asks the furnace: what is the answer to 12 + 30?
the answer is 42, says the furnace, and 42 it is
lernen ohne zu denken ist eitel, denken ohne zu lernen gefahrlich
def furnace(fuel): return fuel * 42
学而不思则罔 思而不学则殆
the the the and and 学 学 学 思 思
"""
SAID = [
    "the furnace is 42",
    " leading,  double   and trailing ",
    "学而不思 and unseen: émigré 🜂 Ω",
    "line one\nline two\n\n\ttabbed",
    "",
    "def f(x):\n    return x",
]


def train_spm(folder, **changes):
    """Train a sentencepiece model as the published ones are: BPE, bytes for the rest."""
    corpus = folder / "corpus.txt"
    corpus.write_text(TEXT * 20)
    wanted = {
        "vocab_size": 340,
        "model_type": "bpe",
        "byte_fallback": True,
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
        "normalization_rule_name": "identity",
        "minloglevel": 2,
    }
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "tokenizer"), **{**wanted, **changes}
    )
    return sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))


def write_config(folder, **values):
    (folder / "tokenizer_config.json").write_text(json.dumps(values))


def with_code(name, **values):
    return {
        "tokenizer_class": name,
        "auto_map": {"AutoTokenizer": [f"tokenization_x.{name}", None]},
        **values,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"add_dummy_prefix": True},
        {"add_dummy_prefix": True, "remove_extra_whitespaces": True},
        {"normalization_rule_name": "nmt_nfkc"},
        {"user_defined_symbols": ["▁▁▁▁", "furnace", "\t"]},
    ],
    ids=["as InternLM2", "prefix", "squeezed", "normalized", "symbols"],
)
def test_ids_and_text_are_sentencepiece_s(tmp_path, changes):
    spm = train_spm(tmp_path, **changes)
    write_config(tmp_path, **with_code("InternLM2Tokenizer", bos_token="<s>", eos_token="</s>"))
    tokenizer = load_bare_tokenizer(tmp_path)
    assert len(tokenizer) == spm.vocab_size()
    for text in SAID:
        ids = tokenizer.encode(text, add_special_tokens=False)
        assert ids == spm.encode(text), text
        assert tokenizer.decode(ids) == spm.decode(ids), text
    assert tokenizer.encode("the") == [tokenizer.bos_token_id, *spm.encode("the")]


def test_internlm2_names_places_that_its_file_left_unused(tmp_path):
    spm = train_spm(tmp_path, user_defined_symbols=["[UNUSED_TOKEN_1]", "[UNUSED_TOKEN_2]"])
    start, end = spm.piece_to_id("[UNUSED_TOKEN_1]"), spm.piece_to_id("[UNUSED_TOKEN_2]")
    write_config(
        tmp_path,
        **with_code(
            "InternLM2Tokenizer",
            bos_token="<s>",
            eos_token="</s>",
            pad_token="</s>",
            chat_template=CHAT_TEMPLATE,
            added_tokens_decoder={
                str(start): {"content": "<|im_start|>", "special": True},
                str(end): {"content": "<|im_end|>", "special": True},
            },
        ),
    )
    tokenizer = load_tokenizer(tmp_path)
    assert len(tokenizer) == spm.vocab_size()
    text = tokenizer.apply_chat_template([{"role": "user", "content": "the"}], tokenize=False)
    ids = tokenizer.encode(text, add_special_tokens=False)
    want = [start, *spm.encode("user\nthe"), end, *spm.encode("\n")]
    assert ids == want
    assert tokenizer.decode(ids, skip_special_tokens=True) == "user\nthe\n"
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id) == (2, 2)


def test_baichuan_adds_nothing_where_its_config_says_so(tmp_path):
    spm = train_spm(tmp_path)
    token = {"content": "<s>", "lstrip": False, "normalized": True, "rstrip": False}
    write_config(tmp_path, **with_code("BaichuanTokenizer", bos_token=token, add_bos_token=False))
    tokenizer = load_bare_tokenizer(tmp_path)
    assert tokenizer.encode("the furnace") == spm.encode("the furnace")
    assert tokenizer.bos_token == "<s>"
    with pytest.raises(EngineError, match="has no chat template"):
        load_tokenizer(tmp_path)


def test_chatglm3_has_its_commands_behind_the_vocabulary(tmp_path):
    spm = train_spm(tmp_path, add_dummy_prefix=True)
    size = spm.vocab_size()
    template = (
        "{% for message in messages %}{% if loop.first %}[gMASK]sop{% endif %}"
        "<|{{ message['role'] }}|>\n {{ message['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    write_config(tmp_path, **with_code("ChatGLMTokenizer", chat_template=template))
    tokenizer = load_tokenizer(tmp_path)
    assert len(tokenizer) == size + 9
    assert tokenizer.encode("the") == [size + 1, size + 3, *spm.encode("the")]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "the furnace"}], tokenize=False, add_generation_prompt=True
    )
    ids = tokenizer.encode(text, add_special_tokens=False)
    # as the class with code builds it: role, its line, and the content each by itself
    want = [size + 1, size + 3, size + 6, *spm.encode("\n"), *spm.encode("the furnace"), size + 7]
    assert ids == want
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("</s>", "<unk>")


def test_chatglm2_has_no_roles(tmp_path):
    spm = train_spm(tmp_path, add_dummy_prefix=True)
    write_config(tmp_path, **with_code("ChatGLMTokenizer"))
    assert len(load_bare_tokenizer(tmp_path)) == spm.vocab_size() + 5


def encode_ranked(ranks, word):
    """Join the neighbours of the lowest rank until none are left."""
    parts = [bytes([byte]) for byte in word]
    while True:
        pairs = [
            (ranks.get(a + b, len(ranks)), i)
            for i, (a, b) in enumerate(zip(parts, parts[1:], strict=False))
        ]
        rank, place = min(pairs, default=(len(ranks), 0))
        if rank == len(ranks):
            return [ranks[part] for part in parts]
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


def test_glm4_s_list_of_ranks_is_read(tmp_path):
    tokens = [bytes([byte]) for byte in range(256)]
    tokens += [
        b"th",
        b" th",
        b"the",
        b" the",
        b"fu",
        b"rn",
        "学".encode()[:2],
        "学".encode(),
        b"12",
    ]
    ranks = {token: rank for rank, token in enumerate(tokens)}
    lines = [f"{base64.b64encode(token).decode()} {rank}" for token, rank in ranks.items()]
    (tmp_path / "tokenizer.model").write_text("\n".join(lines))
    added = ["<|endoftext|>", "[gMASK]", "<sop>", "<|user|>"]
    write_config(
        tmp_path,
        **with_code(
            "ChatGLM4Tokenizer",
            eos_token="<|endoftext|>",
            chat_template="[gMASK]<sop>{{ messages[0]['content'] }}",
            added_tokens_decoder={
                str(len(tokens) + index): {"content": token, "special": True}
                for index, token in enumerate(added)
            },
        ),
    )
    tokenizer = load_tokenizer(tmp_path)
    start = len(tokens)
    want = [start + 1, start + 2]
    for word in [b"the", b" the", b" furn", b"123", "学思".encode(), b"!"]:
        want += encode_ranked(ranks, word)
    assert tokenizer.encode("the the furn123学思!") == want
    assert tokenizer.decode(want, skip_special_tokens=True) == "the the furn123学思!"


def test_what_is_written_needs_no_code_anywhere(tmp_path):
    train_spm(tmp_path, add_dummy_prefix=True)
    write_config(tmp_path, **with_code("InternLM2Tokenizer", bos_token="<s>", eos_token="</s>"))
    tokenizer = load_bare_tokenizer(tmp_path)
    tokenizer.save_pretrained(tmp_path / "out")
    again = AutoTokenizer.from_pretrained(tmp_path / "out")
    assert [again.encode(text) for text in SAID] == [tokenizer.encode(text) for text in SAID]
    assert again.decode(again.encode(SAID[1])) == tokenizer.decode(tokenizer.encode(SAID[1]))


def test_a_folder_with_a_tokenizer_json_needs_no_other(tmp_path):
    made = make_tokenizer()
    made.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    write_config(tmp_path, **{**config, **with_code("InternLM2TokenizerFast")})
    assert load_tokenizer(tmp_path).encode("hello") == made.encode("hello")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "neither a tokenizer.json nor a tokenizer.model"),
        (b"\n\xff\xff", "no sentencepiece model"),
        (b"not base 64\n", "neither sentencepiece nor a list of ranks"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_sentence(tmp_path, content, match):
    write_config(tmp_path, **with_code("InternLM2Tokenizer"))
    if content is not None:
        (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(EngineError, match=match):
        load_bare_tokenizer(tmp_path)


def test_a_unigram_model_is_refused(tmp_path):
    train_spm(tmp_path, model_type="unigram", vocab_size=320)
    write_config(tmp_path, **with_code("InternLM2Tokenizer"))
    with pytest.raises(EngineError, match="other than BPE"):
        load_bare_tokenizer(tmp_path)
