"""The outputs of the frozen layers for a split, computed once and cached; training starts above these layers.

Every epoch, every evaluation on the validation rows, the probe and the scores of the saved model need the same
hidden states, and so does the next run on the same rows with the same frozen weights. They are cached on disk
under a checksum of their inputs: token ids, frozen weights, precision and versions. The sequences stay the same
except for their token ids: each id is replaced by the token's place in the file.

The training split is computed in the precision of training, and kept in bfloat16 if that is bfloat16. The other
splits are computed and kept in float32, because they are evaluated in float32.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tunesmith.acceleration import frozen_layers
from tunesmith.acceleration.evaluating import evaluating
from tunesmith.acceleration.hidden_states import States, bytes_of, load_states, new_states
from tunesmith.acceleration.switches import is_on
from tunesmith.cache import remove_old
from tunesmith.data.batches import TOKENS_PER_FORWARD_PASS, collate, most_padding, plan_in_order
from tunesmith.encoded import Encoded, Ragged
from tunesmith.models.device import autocast, device_of, to_device, without_plans
from tunesmith.models.freezing import keep_frozen_parts_still
from tunesmith.models.out_of_memory import is_out_of_memory
from tunesmith.tasks import MODEL_INPUTS, Task

if TYPE_CHECKING:
    import torch

    from tunesmith.types import Array, Model

_FORMAT = 1  # to be increased if the arithmetic of the accelerated layers changes
CHECKED_SEQUENCES = 2
"""Number of sequences that are computed with and without cached states, before these are used."""

_TRAIN_SPLIT = "train"
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5

Advance = Callable[[int, int], None]
"""Called with sequences done and sequences in all."""


class FrozenCache:
    """The frozen layers of one model, and what they make of each split.

    Args:
        task: task whose forward pass is used.
        model: a model of transformers; its frozen parameters must stay frozen.
        folder: folder of the entries.
        pad_token_id: padding token of the tokenizer.
        bf16: whether training is in bfloat16.
        tell: function that receives notes on the computation and its disk space.
    """

    def __init__(
        self,
        task: Task,
        model: Model,
        *,
        folder: Path,
        pad_token_id: int,
        bf16: bool,
        tell: Callable[[str], None],
    ) -> None:
        self.task, self.model, self.folder, self.tell = task, model, folder, tell
        self.pad_token_id, self.bf16 = pad_token_id, bf16
        self.n_layers = frozen_layers.frozen_layers(model)
        self._sum = frozen_layers.fingerprint(frozen_layers.frozen_tensors(model, self.n_layers))
        self._facts = [_FORMAT, self.n_layers, self._sum, pad_token_id, *_circumstances(model)]
        self._width = int(getattr(model.config, "hidden_size", 0))
        self._opened: dict[str, States] = {}

    def problem(self, encoded: Encoded) -> str:
        """Why this model cannot start above its frozen layers; empty if it can.

        A few sequences are computed both ways, in training mode with the same dropout masks, and must give the
        same outputs. So nothing must be known about the model's family.
        """
        import torch

        sample = encoded.take(np.arange(min(CHECKED_SEQUENCES, len(encoded))))
        was_training = self.model.training
        self.model.train()
        keep_frozen_parts_still(self.model)
        try:
            with torch.random.fork_rng():
                return self._difference(sample)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            if is_out_of_memory(error):
                raise
            return f"`{type(self.model).__name__}` has parts that this does not know ({type(error).__name__})"
        finally:
            self.model.train(was_training)

    def _difference(self, sample: Encoded) -> str:
        import torch

        first = self.pad_token_id + 1
        places = first + np.arange(_n_tokens(sample))
        placed = _at_places(sample, places)
        computed_at, computed = self._below(sample, placed)
        if computed.requires_grad:
            return "a part below the frozen layers is trained"
        states = States(np.zeros((len(places), self._width), dtype=np.float32), places)
        states.put(computed_at, computed)
        with torch.no_grad():
            expected = self._output(sample)
            with frozen_layers.begin_above(self.model, self.n_layers, states.at):
                found = self._output(placed)
        if torch.allclose(found, expected, rtol=_RELATIVE, atol=_ABSOLUTE):
            return ""
        return (
            "the upper layers read more than the outputs of the frozen layers, or dropout comes before these"
        )

    def _output(self, encoded: Encoded) -> torch.Tensor:
        import torch

        torch.manual_seed(0)
        batch = to_device(collate(encoded, pad_token_id=self.pad_token_id), self.model)
        output = self.task.forward(self.model, batch)
        if output.shape[:2] == batch["input_ids"].shape:  # outputs at padding are undefined
            lengths = torch.from_numpy(encoded.ragged["input_ids"].lengths).to(output.device)
            output = output[torch.arange(output.shape[1], device=output.device) < lengths[:, None]]
        return output

    def make_room(self, splits: Mapping[str, Encoded]) -> int:
        """Removes old entries of other runs, and returns the additional bytes that these splits need."""
        entries = {name: self._entry(name, encoded) for name, encoded in splits.items()}
        remove_old(self.folder, kept=list(entries.values()))
        return sum(
            bytes_of(_n_tokens(encoded), self._width, bf16=self._is_rounded(name))
            for name, encoded in splits.items()
            if not entries[name].is_dir()
        )

    @contextlib.contextmanager
    def reading(
        self, split: str, encoded: Encoded, model: Model, advance: Advance | None = None
    ) -> Iterator[Encoded]:
        """A context in which the model reads the returned sequences above its frozen layers.

        Args:
            split: name of the split.
            encoded: sequences of the split.
            model: this model, or another one; the cache is used if its frozen layers are equal.
            advance: function that is called with the progress if states are computed.
        """
        if model is not self.model and not (split in self._opened and self._is_in(model)):
            yield encoded
            return
        states = self.open(split, encoded, advance)
        with frozen_layers.begin_above(model, self.n_layers, states.at):
            yield _at_places(encoded, states.places)

    def close(self) -> None:
        """Removes old entries from the folder."""
        self._opened.clear()
        remove_old(self.folder)

    def open(self, split: str, encoded: Encoded, advance: Advance | None = None) -> States:
        """The states of a split; they are computed if they are not cached."""
        if split not in self._opened:
            entry = self._entry(split, encoded)
            states = load_states(entry)
            if states is None and entry.is_dir():
                self.tell(
                    f"the frozen layers' outputs for the {split} rows are damaged; they are computed again"
                )
            self._opened[split] = states or self._compute(split, encoded, entry, advance)
        return self._opened[split]

    def _compute(self, split: str, encoded: Encoded, entry: Path, advance: Advance | None) -> States:
        if frozen_layers.is_above(self.model):
            raise RuntimeError(f"the states of `{split}` must be opened before the model reads others")
        n, width, bf16 = _n_tokens(encoded), self._width, self._is_rounded(split)
        size = in_words(bytes_of(n, width, bf16=bf16))
        self.tell(f"frozen layers: {size} for {n:,} {split} tokens in {self.folder}, once")
        with new_states(entry, n, width, first=self.pad_token_id + 1, bf16=bf16) as states:
            placed, done = _at_places(encoded, states.places), 0
            with (
                evaluating(self.model),
                without_plans(device_of(self.model)),
                autocast(self.model, bf16=bf16),
            ):
                for sequences in plan_in_order(
                    placed.lengths,
                    TOKENS_PER_FORWARD_PASS,
                    most_padding=most_padding(device_of(self.model).type),
                ):
                    states.put(*self._below(encoded, placed.take(sequences)))
                    done += len(sequences)
                    if advance is not None:
                        advance(done, len(placed))
        return states

    def _below(self, encoded: Encoded, placed: Encoded) -> tuple[torch.Tensor, torch.Tensor]:
        """Places [m] of the real tokens of a batch, and their hidden states [m, d]."""
        batch = to_device(collate(placed, pad_token_id=self.pad_token_id), self.model)
        places, states = frozen_layers.states_below(
            self.model,
            self.n_layers,
            lambda places: _token_ids(encoded, places, self.pad_token_id),
            lambda: self.task.forward(self.model, batch),
        )
        is_real = places > self.pad_token_id
        return places[is_real], states[is_real]

    def _entry(self, split: str, encoded: Encoded) -> Path:
        """The folder of the states of a split."""
        digest = hashlib.sha256(json.dumps([*self._facts, self._is_rounded(split)]).encode())
        for name in sorted(name for name in encoded.ragged if _is_read(name)):
            ragged = encoded.ragged[name]
            digest.update(f"{name} {ragged.values.dtype};".encode())
            for array in (ragged.values, ragged.offsets):
                digest.update(np.ascontiguousarray(array).data)
        return self.folder / digest.hexdigest()

    def _is_rounded(self, split: str) -> bool:
        return self.bf16 and split == _TRAIN_SPLIT

    def _is_in(self, model: Model) -> bool:
        """Whether another model's lowest layers are these."""
        return frozen_layers.fingerprint(frozen_layers.frozen_tensors(model, self.n_layers)) == self._sum


def reason_against(task: Task, model: Model, *, noise: float, passes: float) -> str:
    """Why nothing is gained by keeping what frozen layers compute, or it would not be the same; else empty.

    Args:
        task: task of the training.
        model: a model of transformers with frozen parameters.
        noise: size of the noise on the embeddings in training.
        passes: number of passes over the training rows.
    """
    if not is_on("frozen_cache"):
        return "it is switched off"
    if getattr(model.config, "is_encoder_decoder", False):
        return "this model has an encoder and a decoder"
    if not frozen_layers.frozen_layers(model):
        return "no layer is frozen together with the embeddings"
    if task.masking is not None:
        return f"`{task.name}` changes its texts each time"
    if noise:
        return "train.neftune_noise_alpha changes the inputs of the frozen layers each time"
    return "" if passes > 1 else "each text is read only once"


def in_words(size: float) -> str:
    """Bytes for people: `1.2 GB`."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.1f} GB"


def _is_read(name: str) -> bool:
    return name in MODEL_INPUTS or name.endswith("input_ids")


def _id_fields(encoded: Encoded) -> list[str]:
    return [name for name in encoded.ragged if name.endswith("input_ids")]


def _n_tokens(encoded: Encoded) -> int:
    return sum(len(encoded.ragged[name].values) for name in _id_fields(encoded))


def _at_places(encoded: Encoded, places: Array) -> Encoded:
    """The sequences with places instead of token ids."""
    fields, start = dict(encoded.ragged), 0
    for name in _id_fields(encoded):
        n = len(fields[name].values)
        fields[name] = Ragged(places[start : start + n], fields[name].offsets)
        start += n
    return replace(encoded, ragged=fields)


def _token_ids(encoded: Encoded, places: torch.Tensor, pad_token_id: int) -> torch.Tensor:
    """The token ids of places; other numbers are unchanged."""
    import torch

    ids, rows, start = places.cpu().numpy().copy(), places.cpu().numpy() - pad_token_id - 1, 0
    for name in _id_fields(encoded):
        values = encoded.ragged[name].values
        here = (rows >= start) & (rows < start + len(values))
        ids[here] = values[rows[here] - start]
        start += len(values)
    return torch.from_numpy(ids).to(places.device)


def _circumstances(model: Model) -> list[object]:
    """Other facts on which the last bits of the states depend."""
    import torch
    import transformers

    replaced = [name for name, module in model.base_model.named_modules() if "forward" in module.__dict__]
    attention = getattr(model.config, "_attn_implementation", None)
    versions = [torch.__version__, transformers.__version__]
    return [
        *versions,
        type(model).__name__,
        attention,
        device_of(model).type,
        torch.get_num_threads(),
        replaced,
    ]
