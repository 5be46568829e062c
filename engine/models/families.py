"""The models that transformers lacks and this folder has, and their registration with it.

With a model registered, a `config.json` that names code of its own (`auto_map`) is opened with our
class and that code is never looked at.
"""

from typing import Any

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from engine.models.baichuan import BaichuanConfig, BaichuanForCausalLM, BaichuanModel
from engine.models.chatglm import ChatGLMConfig, ChatGLMForConditionalGeneration, ChatGLMModel
from engine.models.internlm2 import InternLM2Config, InternLM2ForCausalLM, InternLM2Model

IN_REPO: dict[type[Any], tuple[type[Any], type[Any]]] = {
    InternLM2Config: (InternLM2Model, InternLM2ForCausalLM),
    BaichuanConfig: (BaichuanModel, BaichuanForCausalLM),
    ChatGLMConfig: (ChatGLMModel, ChatGLMForConditionalGeneration),
}


def register_models() -> None:
    """Make transformers' auto classes know the models; a second call changes nothing."""
    for config, (decoder, causal) in IN_REPO.items():
        AutoConfig.register(config.model_type, config, exist_ok=True)
        AutoModel.register(config, decoder, exist_ok=True)
        AutoModelForCausalLM.register(config, causal, exist_ok=True)
