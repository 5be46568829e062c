"""What the launch form offers as one click, for each stage and method; `balanced` is the defaults.

A contract module: the standard library only.
"""

from typing import get_args

from engine.specs.stages import MethodName, StageName, get_usual_rate

Preset = dict[str, object]
_QUICK_EPOCHS = 0.5
# Documents are many and seen once; pairs are few, and a preference learnt for longer is overdone.
_THOROUGH_EPOCHS: dict[StageName, float] = {"sft": 4.0, "pretrain": 2.0, "dpo": 2.0, "reward": 2.0}


def list_presets(stage: StageName, method: MethodName) -> dict[str, Preset]:
    """Return the presets by name; each is what to change of the stage's and method's defaults."""
    rate = get_usual_rate(stage, method)
    thorough: Preset = {"num_epochs": _THOROUGH_EPOCHS[stage], "learning_rate": rate / 2}
    if method != "full":
        thorough["lora"] = {"rank": 32, "alpha": 64.0}
    return {"quick": {"num_epochs": _QUICK_EPOCHS}, "balanced": {}, "thorough": thorough}


def list_usual() -> dict[str, dict[str, dict[str, object]]]:
    """Return, by stage and method, the defaults that go with them and the presets."""
    return {
        stage: {
            method: {
                "defaults": {"learning_rate": get_usual_rate(stage, method)},
                "presets": list_presets(stage, method),
            }
            for method in get_args(MethodName)
        }
        for stage in get_args(StageName)
    }
