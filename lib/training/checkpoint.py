"""Checkpoints without code in them: tensors in safetensors, settings in JSON, replaced in one instant.

A folder holds `checkpoint.safetensors` and `config.json`. Both carry the same random mark. A save writes
both beside the old ones, then renames the tensors, then the settings. Whenever the machine stops, a whole
checkpoint can be read: before the first rename the old pair, after it the new tensors with the settings that
still lie beside. Other files of the folder are never touched.
"""

import contextlib
import json
import os
import uuid
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lib.errors import UserError

TENSORS_FILE = "checkpoint.safetensors"
CONFIG_FILE = "config.json"
FORMAT = "papers-that-run"
_NEW = ".new"


def has_checkpoint(folder: Path | str) -> bool:
    """True when `folder` holds a checkpoint file (whole or not)."""
    return (Path(folder) / TENSORS_FILE).exists()


def save_checkpoint(folder: Path | str, tensors: dict[str, Tensor], config: dict, kind: str) -> None:
    """Write `tensors` and `config` (anything JSON can hold) to `folder`, as a checkpoint of system `kind`.

    The old checkpoint stays readable until the new one is whole. Raises UserError when the folder cannot
    be written or holds a checkpoint of another system.
    """
    folder = Path(folder)
    if has_checkpoint(folder):
        old_kind = _kind_on_disk(folder)
        if old_kind is not None and old_kind != kind:
            raise UserError(
                f"{folder} holds a checkpoint of '{old_kind}'; choose another folder for this one of '{kind}'."
            )
    mark = uuid.uuid4().hex
    text = json.dumps({"format": FORMAT, "kind": kind, "mark": mark, "config": config}, indent=1, allow_nan=False)
    # Tensors that share memory (tied weights) are stored once each: safetensors refuses views of one another.
    whole = {name: _own_copy(value) for name, value in tensors.items()}
    created = not folder.exists()
    new_tensors, new_config = _beside(folder, TENSORS_FILE), _beside(folder, CONFIG_FILE)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(whole, new_tensors, metadata={"format": FORMAT, "kind": kind, "mark": mark})
        new_config.write_text(text + "\n", encoding="utf-8")
        new_tensors.chmod(0o644)  # safetensors makes it private
        _flush(new_tensors)
        _flush(new_config)
        os.replace(new_tensors, folder / TENSORS_FILE)
        os.replace(new_config, folder / CONFIG_FILE)
    except (OSError, SafetensorError) as fault:
        # What went wrong with the save is what the reader must hear of, not a fault of the tidying up.
        # After the first rename the waiting settings belong to the new tensors: they must stay.
        with contextlib.suppress(OSError):
            if new_tensors.exists() or not has_checkpoint(folder):
                _remove_unfinished(folder, [new_tensors, new_config], created)
        raise UserError(f"Cannot write a checkpoint to {folder}: {_reason(fault)}.") from None


def load_checkpoint(folder: Path | str, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read (tensors, config) from `folder`. Raises UserError when it is missing, damaged or of another system."""
    folder = Path(folder)
    path = folder / TENSORS_FILE
    if not folder.is_dir():
        raise UserError(f"No checkpoint folder {folder}: train first, or correct the path.")
    if not path.is_file():
        raise UserError(f"{folder} holds no checkpoint ({TENSORS_FILE} is missing): name the folder of a run.")
    for file in (path, folder / CONFIG_FILE):
        if file.exists() and not os.access(file, os.R_OK):
            raise UserError(f"{file} may not be read by you: change its permissions.")
    metadata, tensors = _read_tensors(path)
    if metadata.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this book: name the folder of one of its runs.")
    if metadata.get("kind") != kind:
        raise UserError(f"{folder} holds a checkpoint of '{metadata.get('kind')}', not of '{kind}'.")
    return tensors, _read_config(folder, kind, metadata.get("mark"))


def restore_module(module: nn.Module, tensors: dict[str, Tensor], prefix: str, folder: Path | str) -> None:
    """Load the tensors whose names begin with `prefix` into `module`, exactly.

    Raises UserError when one is missing, has another shape, holds NaN or infinity, or is left over.
    """
    found = {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}
    for name, value in found.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise UserError(f"The tensor '{prefix}{name}' in {folder} holds NaN or infinity: train again.")
    wanted = module.state_dict()
    check_tensors(found, wanted, prefix, folder)
    module.load_state_dict(found)


def check_tensors(found: dict[str, Tensor], wanted: dict[str, Tensor], prefix: str, folder: Path | str) -> None:
    """Raise UserError unless `found` has the names and shapes of `wanted`."""
    for name, value in wanted.items():
        if name not in found:
            raise UserError(f"The checkpoint in {folder} lacks '{prefix}{name}': it is another network.")
        if found[name].shape != value.shape:
            raise UserError(
                f"The tensor '{prefix}{name}' in {folder} has shape {tuple(found[name].shape)}, the network wants "
                f"{tuple(value.shape)}: it was trained with other settings."
            )
    extra = sorted(found.keys() - wanted.keys())
    if extra:
        raise UserError(f"The checkpoint in {folder} has '{prefix}{extra[0]}', which this network does not know.")


def _remove_unfinished(folder: Path, paths: list[Path], created: bool) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    if created:
        folder.rmdir()


def _own_copy(value: Tensor) -> Tensor:
    return value.detach().cpu().clone(memory_format=torch.contiguous_format)


def _beside(folder: Path, name: str) -> Path:
    return folder / f".{name}{_NEW}"


def _read_tensors(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, RuntimeError, KeyError) as fault:
        raise UserError(f"{path} is damaged or truncated ({_reason(fault)}): train again, or copy it again.") from None


def _read_config(folder: Path, kind: str, mark: str | None) -> dict:
    """The settings that were saved with the tensors; after a stop between the two renames they lie beside."""
    path = folder / CONFIG_FILE
    record, fault = _parse(path)
    if record is None or record.get("mark") != mark:
        waiting, _ = _parse(_beside(folder, CONFIG_FILE))
        if waiting is not None and waiting.get("mark") == mark:
            record, fault = waiting, None
    if record is None:
        raise UserError(f"{path} {fault}: restore it, or train again.")
    if record.get("mark") != mark or record.get("kind") != kind or not isinstance(record.get("config"), dict):
        raise UserError(f"{path} does not belong to {TENSORS_FILE} beside it: they are of two runs.")
    return record["config"]


def _parse(path: Path) -> tuple[dict | None, str | None]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None, "is missing"
    except (OSError, ValueError, RecursionError):
        return None, "cannot be read as JSON"
    return (record, None) if isinstance(record, dict) else (None, "is not a settings file of this book")


def _kind_on_disk(folder: Path) -> str | None:
    try:
        with safe_open(folder / TENSORS_FILE, framework="pt", device="cpu") as file:
            return (file.metadata() or {}).get("kind", "another program")
    except (SafetensorError, OSError, ValueError):
        return None  # damaged: nothing that could be lost


def _flush(path: Path) -> None:
    """Force the bytes to the disk before the rename: else a power cut leaves a whole name on an empty file."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _reason(fault: Exception) -> str:
    return str(getattr(fault, "strerror", None) or fault).strip().splitlines()[0].rstrip(".")
