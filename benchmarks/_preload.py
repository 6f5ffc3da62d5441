"""What measurements on a GPU import, so that each is forked with it; nothing here touches the device."""

import importlib

for name in (
    "datasets", "peft", "scipy.stats", "torch._dynamo", "tunesmith.api", "tunesmith.pipeline.training",
    "_child_stretch",
):  # fmt: skip
    importlib.import_module(name)

from transformers import (  # noqa: E402, F401
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Trainer,
    TrainingArguments,
)
