"""How a model is used, as code that runs: with tunesmith, and with plain transformers or peft.

The code takes texts of any length: what a model does not read is cut, or read in windows, as the call says.
"""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING

from tunesmith.models.adapters import is_adapter
from tunesmith.models.resolve import ADAPTED_CONFIG_FILE
from tunesmith.models.task_of_model import task_of_model
from tunesmith.run import Run
from tunesmith.tasks import DECISION_KEY, INSTRUCTION, TASKS, Task
from tunesmith.tasks._prompting import asked_of, generation_arguments

if TYPE_CHECKING:
    from tunesmith.types import JsonObject


def with_command(run: Run, task: Task) -> str:
    """A line for a shell."""
    path = shlex.quote(str(run.path))
    if not _several(run, task):
        return f"tunesmith predict {path} {json.dumps(task.example)}"
    return f"tunesmith predict {path} --data FILE.jsonl --output answers.jsonl"


def with_tunesmith(run: Run, task: Task) -> str:
    """Lines of Python."""
    return f"import tunesmith\n\nmodel = tunesmith.load({str(run.path)!r})\nanswer = model({_question(run, task)})"


def with_transformers(run: Run, folder: str, *, base: str | None = None) -> str:
    """Lines of Python without tunesmith.

    Args:
        run: finished run.
        folder: folder of the model as the code shall name it.
        base: base model of an adapter as the code shall name it; as the recipe does when None.
    """
    manifest = run.manifest()
    used = manifest["used"]
    task = task_of_model(TASKS.get(used["task"]), run.model)
    if is_adapter(run.model):
        return _with_peft(task, _base_arguments(manifest, base), folder) + _call(run, task)
    if task.pipeline is None:
        return _with_auto_class(task, folder) + _call(run, task)
    if task.pipeline.code:
        return task.pipeline.code.replace('"PATH/TO/THIS/FOLDER"', repr(folder))
    call = f"{_given_to_pipeline(run, task)}, {_arguments(used, task)}"
    return (
        "from transformers import pipeline\n\n"
        f"model = pipeline({json.dumps(task.pipeline.tag)}, model={folder!r})\nanswer = model({call})"
    )


def with_offsets(run: Run, folder: str, *, base: str | None = None) -> str:
    """As `with_transformers`, for a model whose answer is chosen with offsets."""
    manifest = run.manifest()
    task = task_of_model(TASKS.get(manifest["used"]["task"]), run.model)
    loaded = (
        _with_peft(task, _base_arguments(manifest, base), folder)
        if is_adapter(run.model)
        else _with_auto_class(task, folder)
    )
    return (
        f"import torch\n{loaded}{_call(run, task)}\n"
        f"offsets = torch.tensor(model.config.{DECISION_KEY})\n"
        "logits = outputs.logits[0].detach()\n"
        "best = int((logits + offsets).argmax())\n"
        "answer = model.config.id2label[best], float(logits.softmax(-1)[best])"
    )


def _several(run: Run, task: Task) -> list[str]:
    """The columns of texts that the run reads together, such as two texts of a pair; empty for a single text."""
    if not task.text_column:
        return list(task.inputs)
    chosen = run.manifest()["data"]["columns"]
    texts = [c.name for c in task.columns if c.kind == "text" and not c.target and c.name in chosen]
    return texts if len(texts) > 1 else []


def _question(run: Run, task: Task) -> str:
    """What a predictor is called with."""
    names = _several(run, task)
    return json.dumps({name: f"a {name}" for name in names} if names else task.example)


def _arguments(used: JsonObject, task: Task) -> str:
    """What a call of the pipeline needs besides the text; answers that can be scored are as long as in the run."""
    max_length: int = used["data"]["max_length"]
    if task.generation is None or not task.generation.scores_texts:
        return task.pipeline.arguments(max_length) if task.pipeline is not None else ""
    return generation_arguments(max_length, used["generate"]["max_new_tokens"])


def _messages(run: Run, task: Task) -> str:
    """The turn of a user, with the instruction of the run where it has one."""
    instruction = run.manifest()["label_schema"].get(INSTRUCTION)
    return json.dumps([{"role": "user", "content": asked_of(instruction, task.example)}])


def _given_to_pipeline(run: Run, task: Task) -> str:
    if _several(run, task):
        return _question(run, task)
    if task.chat is not None:
        return _messages(run, task)
    return json.dumps(task.example.replace("[MASK]", _mask_token(run)))


def _mask_token(run: Run) -> str:
    found = json.loads((run.model / "tokenizer_config.json").read_text(encoding="utf-8")).get("mask_token")
    return str(found.get("content") if isinstance(found, dict) else found or "[MASK]")


def _with_auto_class(task: Task, folder: str) -> str:
    return (
        f"from transformers import AutoTokenizer, {task.auto_class}\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({folder!r})\n"
        f"model = {task.auto_class}.from_pretrained({folder!r})\n"
    )


def _base_arguments(manifest: JsonObject, base: str | None) -> str:
    """What `from_pretrained` is given for the base model of an adapter: a name or folder, or a GGUF file."""
    name = manifest["used"]["model"] if base is None else base
    if manifest["model"].get("found_in") != "gguf":
        return repr(name)
    folder, _, file = name.rpartition("/")
    return f"{folder or '.'!r}, gguf_file={file!r}"


def _with_peft(task: Task, base: str, folder: str) -> str:
    names = ", ".join(
        sorted(
            [
                "AutoConfig",
                "AutoTokenizer",
                task.auto_class,
                *(["GenerationConfig"] if task.generation else []),
            ]
        )
    )
    settings = (
        "model.generation_config = GenerationConfig.from_pretrained(folder)\n" if task.generation else ""
    )
    return (
        f"from peft import PeftModel\nfrom transformers import {names}\n\n"
        f"folder = {folder!r}\n"
        "tokenizer = AutoTokenizer.from_pretrained(folder)\n"
        f'config = AutoConfig.from_pretrained(folder + "/{ADAPTED_CONFIG_FILE}")\n'
        f"base = {task.auto_class}.from_pretrained({base}, config=config)\n"
        f"model = PeftModel.from_pretrained(base, folder)\n{settings}"
    )


def _call(run: Run, task: Task) -> str:
    """From a text to the outputs, or to the generated text."""
    written = "written[0]"
    if task.chat is not None:
        written = 'written[0, inputs["input_ids"].shape[1] :]'
        asked = f"{_messages(run, task)}, add_generation_prompt=True, truncation=True"
        read = f'inputs = tokenizer.apply_chat_template({asked}, return_dict=True, return_tensors="pt")'
    else:
        texts = [f"a {name}" for name in _several(run, task)] or [task.example]
        read = (
            f'inputs = tokenizer({", ".join(map(json.dumps, texts))}, truncation=True, return_tensors="pt")'
        )
    if task.generation is None:
        return f"{read}\noutputs = model(**inputs)"
    return (
        f"{read}\nwritten = model.generate(**inputs)\n"
        f"answer = tokenizer.decode({written}, skip_special_tokens=True)"
    )


def usages(run: Run, task: Task) -> list[JsonObject]:
    """Every way, with its title, for the report."""
    return [
        {"title": "On the command line", "code": with_command(run, task)},
        {"title": "In Python", "code": with_tunesmith(run, task)},
        {"title": "Without tunesmith", "code": with_transformers(run, str(run.model))},
    ]
