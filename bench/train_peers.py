"""The others that training benches run: transformers' Trainer with peft, and trl's SFTTrainer."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

from bench.train_task import Batches, StepClock, Task
from engine.data.samples import IGNORED, Rendered


def run_trainer(task: Task, clock: StepClock, folder: Path, model: Any, *, bf16: bool) -> Any:
    """Train as many would: padded batches, the model's own loss, Trainer's loop."""
    collator = CountedCollator(DataCollatorForSeq2Seq(task.tokenizer))
    trainer = Trainer(
        model=model,
        args=TrainingArguments(**_arrange(task, folder, task.batches, bf16=bf16)),
        train_dataset=_to_rows(task.steps),
        data_collator=collator,
        callbacks=[_Ticker(clock)],
    )
    trainer.train()
    collator.tell(clock, task.batches.num)
    return model


def run_trl(
    task: Task, clock: StepClock, folder: Path, model: Any, batches: Batches, *, liger: bool = False
) -> Any:
    """Train with trl at its best settings: bfloat16, no padding, nothing recomputed.

    Its packing would choose the samples of a step; without padding each batch is one row as well,
    of the samples that it is given.
    """
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    assert batches.per_step == task.batches.per_step
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            **_arrange(task, folder, batches, bf16=True),
            padding_free=True,
            max_length=None,  # samples are cut already
            shuffle_dataset=False,
            gradient_checkpointing=False,  # its default; there is memory for all
            use_liger_kernel=liger,
        ),
        train_dataset=Dataset.from_list(_to_rows(task.steps)),
        processing_class=task.tokenizer,
        callbacks=[_Ticker(clock)],
    )
    collator = CountedCollator(trainer.data_collator)
    trainer.data_collator = collator
    trainer.train()
    collator.tell(clock, batches.num)
    return model


class CountedCollator:
    """A peer's collator that notes tokens and targets of each batch that it makes."""

    def __init__(self, own: Callable[[list[Any]], Any]) -> None:
        self._own = own
        self.tokens: list[int] = []
        self.supervised: list[int] = []

    def __call__(self, rows: list[Any]) -> Any:
        batch = self._own(rows)
        mask = batch.get("attention_mask")  # none where nothing is filled up
        self.tokens.append(int(batch["input_ids"].numel() if mask is None else mask.sum()))
        self.supervised.append(int((batch["labels"][:, 1:] != IGNORED).sum()))
        return batch

    def tell(self, clock: StepClock, per_step: int) -> None:
        """Give a clock the counts of each step of so many batches."""
        clock.tokens = _sum_up(self.tokens, per_step)
        clock.supervised = _sum_up(self.supervised, per_step)


def _arrange(task: Task, folder: Path, batches: Batches, *, bf16: bool) -> dict[str, Any]:
    """Return the arguments that make a peer's steps and settings the task's."""
    spec = task.spec
    return {
        "output_dir": str(folder),
        "num_train_epochs": 1,
        "per_device_train_batch_size": batches.size,
        "gradient_accumulation_steps": batches.num,
        "train_sampling_strategy": "sequential",
        "learning_rate": spec.learning_rate,
        "lr_scheduler_type": spec.schedule,
        "warmup_steps": 0,
        "weight_decay": spec.weight_decay,
        "max_grad_norm": spec.max_grad_norm,
        "bf16": bf16,
        "use_cpu": task.device.type == "cpu",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_strategy": "no",
        "seed": spec.seed,
    }


def _sum_up(counts: list[int], per_step: int) -> list[int]:
    return [sum(counts[at : at + per_step]) for at in range(0, len(counts), per_step)]


def _to_rows(steps: Sequence[Sequence[Rendered]]) -> list[dict[str, list[int]]]:
    samples = [sample for step in steps for sample in step]
    return [{"input_ids": list(s.ids), "labels": list(s.labels)} for s in samples]


class _Ticker(TrainerCallback):
    def __init__(self, clock: StepClock) -> None:
        self._clock = clock

    def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
        self._clock.tick()
