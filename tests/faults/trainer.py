"""Ten faults, each against `transformers.Trainer` and against tunesmith, side by side.

    python tests/faults/trainer.py [--page docs/reliability.md]

Both train the same tiny BERT. A cell says what was seen, not what is expected; the exit code is 1 if tunesmith
lost work, went on with something else, or gave another result than without the fault.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from damage import flip, truncate
from harness import Fault, Outcome, Parent
from kills import fresh, into_page
from recipes import write_recipe
from sameness import differences

from tunesmith.testing.tiny import write_tiny_model

BEGIN, END = "<!-- trainer: begin -->", "<!-- trainer: end -->"
STEPS, SAVE = 8, 2


@dataclass(frozen=True)
class Seen:
    """What was seen of a fault: in words, and whether nothing was lost or changed."""

    words: str
    is_right: bool


# transformers.Trainer, in processes forked from this one


def trainer(folder: Path, **how: Any) -> dict[str, Any]:
    """Trains with Trainer in a process of its own; its exit code, losses, weights and last line of errors."""
    folder.mkdir(parents=True, exist_ok=True)
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    sys.stdout.flush()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            os.dup2(os.open(folder / "err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(2, 1)
            _train(folder, result, **how)
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    found = json.loads(result.read_text()) if result.is_file() else {}
    lines = (folder / "err").read_text(errors="replace").strip().splitlines()
    said = re.sub(r"/\S+/", "…/", lines[-1]) if lines else ""
    return {"code": code, "said": said, **found}


def _train(
    folder: Path, result: Path, *, model: Path, batch: int = 8, passes: int = 1, resume: bool = False,
    mlm: bool = False, limit: int = 0, kill_after_model: bool = False, term_at: int = 0, steps: int = STEPS,
    lr: float = 5e-3,
) -> None:  # fmt: skip
    import resource

    import torch
    import transformers
    from transformers import Trainer, TrainerCallback, TrainingArguments

    transformers.logging.set_verbosity_error()
    net, tokenizer, data = _model_and_data(model, mlm=mlm)
    arguments = TrainingArguments(
        output_dir=str(folder / "out"), per_device_train_batch_size=batch, gradient_accumulation_steps=passes,
        max_steps=steps, save_steps=SAVE, logging_steps=1, learning_rate=lr, seed=0, use_cpu=True, report_to=[],
        disable_tqdm=True, max_grad_norm=1e9,
    )  # fmt: skip

    class Terminate(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            if term_at and state.global_step == term_at:
                os.kill(os.getpid(), signal.SIGTERM)

    collator = None
    if mlm:
        collator = transformers.DataCollatorForLanguageModeling(tokenizer, mlm_probability=0.3)
    trained = Trainer(
        model=net, args=arguments, train_dataset=data, data_collator=collator, processing_class=tokenizer,
        callbacks=[Terminate()],
    )  # fmt: skip
    if kill_after_model:
        trained._save_optimizer_and_scheduler = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    trained.train(resume_from_checkpoint=resume or None)
    weights = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
    history = trained.state.log_history
    result.write_text(json.dumps({
        "losses": [entry["loss"] for entry in history if "loss" in entry],
        "norms": [entry["grad_norm"] for entry in history if "grad_norm" in entry],
        "weights": _digest(weights), "finite": bool(torch.isfinite(weights).all()),
    }))  # fmt: skip


def _digest(weights: Any) -> str:
    import hashlib

    return hashlib.sha256(weights.numpy().tobytes()).hexdigest()


def _model_and_data(model: Path, *, mlm: bool) -> tuple[Any, Any, Any]:
    from datasets import Dataset
    from transformers import AutoModelForMaskedLM, AutoModelForSequenceClassification, AutoTokenizer, set_seed

    from tunesmith.testing.tiny import tiny_rows

    set_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(model)
    rows = tiny_rows(48)
    kind = AutoModelForMaskedLM if mlm else AutoModelForSequenceClassification
    data = Dataset.from_list([
        {**tokenizer(row["text"]), **({} if mlm else {"label": int(row["label"] == "colour")})} for row in rows
    ])  # fmt: skip
    return kind.from_pretrained(model), tokenizer, data


def newest(folder: Path) -> Path:
    """The newest checkpoint of a Trainer."""
    return max((folder / "out").glob("checkpoint-*"), key=lambda path: int(path.name.partition("-")[2]))


def _verdict(after: Mapping[str, Any], calm: Mapping[str, Any], silent: str = "goes on silently") -> Seen:
    if after["code"]:
        return Seen(f"ends with {after['code']}: {after['said'][:110]}", False)
    if after["weights"] == calm["weights"]:
        return Seen("exact", True)
    return Seen(f"{silent}, with other weights (last loss {after['losses'][-1]:.3g})", False)


class OfTrainer:
    """What Trainer does."""

    def __init__(self, base: Path, model: Path) -> None:
        self.base, self.model = base, model
        self.calm = trainer(base / "calm", model=model)
        self.stopped = base / "stopped"
        trainer(self.stopped, model=model)
        for _ in range(2):  # what was saved last is that of step 4, in the middle of an epoch
            shutil.rmtree(newest(self.stopped))

    def again(self, damage: Callable[[Path], None], **how: Any) -> Seen:
        folder = self.base / "again"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.stopped, folder)
        damage(newest(folder))
        return _verdict(trainer(folder, model=self.model, resume=True, **how), self.calm)

    def accumulation(self) -> Seen:
        still = write_tiny_model(self.base / "still", dropout=0.0)
        one = trainer(self.base / "one", model=still, batch=24, steps=1)
        three = trainer(self.base / "three", model=still, batch=8, passes=3, steps=1)
        ratio = three["norms"][0] / one["norms"][0]
        return Seen(f"gradients × {ratio:.2f}", abs(ratio - 1) < 0.05)

    def kill_in_save(self) -> Seen:
        folder = self.base / "killed"
        trainer(folder, model=self.model, steps=4)
        trainer(folder, model=self.model, resume=True, kill_after_model=True)
        return _verdict(trainer(folder, model=self.model, resume=True), self.calm)

    def truncated(self) -> Seen:
        return self.again(lambda path: truncate(path / "model.safetensors", path))

    def flipped(self) -> Seen:
        def flip_exponent(path: Path) -> None:
            data = bytearray((path / "model.safetensors").read_bytes())
            data[-1] ^= 0x40
            (path / "model.safetensors").write_bytes(data)

        return self.again(flip_exponent)

    def missing(self) -> Seen:
        def remove(path: Path) -> None:
            (path / "optimizer.pt").unlink()
            (path / "rng_state.pth").unlink()

        return self.again(remove)

    def batch_size(self) -> Seen:
        return self.again(lambda path: None, batch=4)

    def nan(self) -> Seen:
        spoiled = _spoiled(self.model, self.base / "spoiled")
        found = trainer(self.base / "nan", model=spoiled)
        losses = sorted({round(loss, 2) for loss in found["losses"]})[:3]
        return Seen(
            f"trains to the end, losses {losses}, exit {found['code']}; weights not finite", found["finite"]
        )

    def file_limit(self) -> Seen:
        folder = self.base / "limit"
        found = trainer(folder, model=self.model, limit=100_000)
        left = [p.name for p in (folder / "out").glob("checkpoint-*")]
        after = trainer(folder, model=self.model, resume=bool(left))
        seen = _verdict(after, self.calm)
        return Seen(
            f"ends with {found['code']}, leaves {', '.join(left) or 'nothing'}; then {seen.words}",
            seen.is_right,
        )

    def terminated(self) -> Seen:
        folder = self.base / "term"
        found = trainer(folder, model=self.model, term_at=5)
        last = newest(folder).name
        return Seen(f"ends with {found['code']} after step 5; the last that is saved is {last}", False)

    def mid_epoch(self) -> Seen:
        calm = trainer(self.base / "mlm", model=self.model, mlm=True)
        folder = self.base / "mlm-stopped"
        trainer(folder, model=self.model, mlm=True)
        for _ in range(2):
            shutil.rmtree(newest(folder))
        return _verdict(trainer(folder, model=self.model, mlm=True, resume=True), calm, "not exact")


def _spoiled(model: Path, folder: Path) -> Path:
    from safetensors.torch import load_file, save_file

    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(model, folder)
    tensors = load_file(folder / "model.safetensors")
    next(iter(tensors.values())).view(-1)[:] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


class OfTunesmith:
    """What tunesmith does, by the same faults."""

    def __init__(self, base: Path, parent: Parent) -> None:
        self.base, self.parent = base, parent
        self.file = write_recipe("full", base)
        self.command = ["train", str(self.file), "--json"]
        self.calm = fresh(base / "t-calm")
        self.places = parent.run(self.calm, self.command, Fault()).places
        self.stopped = fresh(base / "t-stopped")
        saves = [place.number for place in self.places if place.kind == "point save ends"]
        parent.run(self.stopped, self.command, Fault(saves[len(saves) // 2], "kill"))

    def ended(self, folder: Path, last: Outcome, before: str = "") -> Seen:
        if last.code:
            said = last.err.split("error: ")[-1].replace(str(folder), "").split("\n")[0]
            return Seen(f"{before}refused with {last.code}: {said[:150]}", last.code == 2)
        found = differences(self.calm / "run", folder / "run", with_checkpoint_lines=False)
        return Seen(f"{before}{'; '.join(found) or 'exact'}", not found)

    def again(self, damage: Callable[[Path], None], *settings: str) -> Seen:
        folder = self.base / "t-again"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.stopped, folder)
        steps = sorted((folder / "run" / "checkpoints").glob("step-*"))
        damage(steps[-1])
        last = self.parent.run(folder, [*self.command, *settings])
        notices = [line.strip(" !") for line in last.err.splitlines() if "passed over" in line]
        return self.ended(folder, last, f"{notices[0]}; " if notices else "")

    def accumulation(self) -> Seen:
        norms = []
        for name, batch, passes in (("one", 24, 1), ("three", 8, 3)):
            folder = fresh(self.base / f"t-{name}")
            how = [
                f"train.per_device_train_batch_size={batch}",
                f"train.gradient_accumulation_steps={passes}",
            ]
            still = ["train.max_steps=1", "train.bf16=false", f"model={self.base / 'trainer' / 'still'}"]
            self.parent.run(folder, [*self.command, *how, *still])
            lines = map(json.loads, (folder / "run" / "events.jsonl").read_text().splitlines())
            norms.append(next(line["grad_norm"] for line in lines if line["kind"] == "step"))
        ratio = norms[1] / norms[0]
        return Seen(f"gradients × {ratio:.2f}", abs(ratio - 1) < 0.05)

    def kill_in_save(self) -> Seen:
        after_model = [p.number for p in self.places if "optimizer" in p.path or p.kind.endswith("step/.tmp")]
        folder = fresh(self.base / "t-killed")
        killed = self.parent.run(
            folder, self.command, Fault(after_model[len(after_model) // 2], "kill_halfway")
        )
        assert killed.code == -9
        return self.ended(folder, self.parent.run(folder, self.command))

    def truncated(self) -> Seen:
        return self.again(lambda path: truncate(path / "model.safetensors", path))

    def flipped(self) -> Seen:
        return self.again(lambda path: flip(path / "model.safetensors", path))

    def missing(self) -> Seen:
        return self.again(lambda path: (path / "optimizer.safetensors").unlink())

    def batch_size(self) -> Seen:
        return self.again(lambda path: None, "train.per_device_train_batch_size=4")

    def nan(self) -> Seen:
        spoiled = _spoiled(self.base / "bert", self.base / "t-spoiled")
        folder = fresh(self.base / "t-nan")
        last = self.parent.run(folder, [*self.command, f"model={spoiled}"])
        said = last.err.split("error: ")[-1].split(" Rows of")[0].split("\n")[0]
        left = list((folder / "run" / "checkpoints").glob("step-*")) if (folder / "run").is_dir() else []
        return Seen(f"ends with {last.code}: {said[:110]}", last.code in (1, 2) and not left)

    def file_limit(self) -> Seen:
        folder = fresh(self.base / "t-limit")
        limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
        found = self.parent.run(folder, self.command, patches=[limit])
        before = f"ends with {found.code} and a message, leaves no half checkpoint; then "
        return self.ended(folder, self.parent.run(folder, self.command), before)

    def terminated(self) -> Seen:
        folder = fresh(self.base / "t-term")
        steps = [place.number for place in self.places if place.kind == "point step ends"]
        found = self.parent.run(folder, self.command, Fault(steps[4], "signal", signal.SIGTERM))
        saved = sorted(path.name for path in (folder / "run" / "checkpoints").glob("step-*"))[-1]
        before = f"ends with {found.code} after step 5, {saved} is saved; then "
        return self.ended(folder, self.parent.run(folder, self.command), before)

    def mid_epoch(self) -> Seen:
        other = OfTunesmithMasked(self.base, self.parent)
        return other.again(lambda path: None)


class OfTunesmithMasked(OfTunesmith):
    """The same for a masked language model."""

    def __init__(self, base: Path, parent: Parent) -> None:
        self.base, self.parent = base, parent
        self.file = write_recipe("masked LM", base)
        self.command = ["train", str(self.file), "--json"]
        self.calm = fresh(base / "t-mlm-calm")
        places = parent.run(self.calm, self.command, Fault()).places
        self.stopped = fresh(base / "t-mlm-stopped")
        steps = [place.number for place in places if place.kind == "point step begins"]
        parent.run(self.stopped, self.command, Fault(steps[3], "kill"))


CASES = {
    "accumulation": "gradient accumulation of 3",
    "kill_in_save": "a kill between the model's and the optimizer's save",
    "truncated": "a truncated weights file",
    "flipped": "one flipped bit in the weights",
    "missing": "the optimizer's file is missing",
    "batch_size": "another batch size on resume",
    "nan": "a weight that is not a number",
    "file_limit": "a limit of file size in a save",
    "terminated": "SIGTERM after step 5",
    "mid_epoch": "a masked language model resumes in mid-epoch",
}


def table(found: Mapping[str, tuple[Seen, Seen]]) -> str:
    """The table of the page."""
    lines = ["| case | `transformers.Trainer` | tunesmith |", "|---|---|---|"]
    lines += [
        f"| {CASES[name]} | {a.words} | {b.words} |".replace("\n", " ") for name, (a, b) in found.items()
    ]
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--page", type=Path)
    given = parser.parse_args()
    base = (given.folder or Path(tempfile.mkdtemp(prefix="trainer-"))).resolve()
    began, found = time.monotonic(), {}
    with Parent(base) as parent:
        ours = OfTunesmith(base, parent)
        theirs = OfTrainer(base / "trainer", base / "bert")
        for name in CASES:
            found[name] = (getattr(theirs, name)(), getattr(ours, name)())
            print(f"{name}: {found[name][0].words}  |  {found[name][1].words}", flush=True)
    print(table(found), f"\n{time.monotonic() - began:.0f} s")
    if given.page:
        into_page(given.page, BEGIN, END, table(found))
    if given.folder is None:
        shutil.rmtree(base)
    sys.exit(not all(ours.is_right for _, ours in found.values()))


if __name__ == "__main__":
    main()
