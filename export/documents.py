"""The files of a model folder that are no model: what each is called, and how it is written.

One more is one more function and one more line in `DOCUMENTS`.
"""

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import functools
from importlib import metadata
import json
import os
import platform
from typing import Any

from common import sealed_json
from contracts import client_shards
from contracts import run_directory
from export import model_card
from export import model_folder
from export import parity
from export import preprocessing
from export import source
from export.on_device import training_settings

_CARD = 'MODEL_CARD.md'
# A copy of the run's: what it promises belongs to the files.
LEDGER = os.path.basename(run_directory.LEDGER)


@dataclasses.dataclass(frozen=True)
class Exported:
  """What the documents of a model folder are written from.

  Attributes:
    run: The copy of the run.
    run_name: How the run is called.
    shards: What the run was trained on.
    signatures: The inputs and outputs of the files, by form.
    record: What parity.json says.
  """

  run: source.Snapshot
  run_name: str
  shards: client_shards.ClientShards
  signatures: Mapping[str, Sequence[parity.End]]
  record: Mapping[str, Any]

  @functools.cached_property
  def steps(self) -> dict[str, Any]:
    """What preprocessing.json says."""
    variants = self.record['variants'].values()
    quantized = {each['path']: each['quantized'] for each in variants if 'quantized' in each}
    tuning = training_settings.read(self.run.folder) if 'train' in self.signatures else None
    return preprocessing.describe(self.shards.manifest, self.signatures, quantized, tuning)


def _write_classes(exported: Exported) -> str:
  return json.dumps(exported.shards.schema.classes, ensure_ascii=False, indent=1) + '\n'


def _write_preprocessing(exported: Exported) -> str:
  return json.dumps(exported.steps, ensure_ascii=False, indent=1, allow_nan=False) + '\n'


def _write_card(exported: Exported) -> str:
  model = {
    'run': exported.run_name,
    'round': exported.run.model.round_number,
    'weights': exported.run.model.num_weights,
    'signatures': exported.signatures,
    'task': exported.record['task'],
    'data_set': exported.shards.name,
    'num_classes': exported.shards.schema.num_classes,
  }
  return model_card.render(
    model,
    exported.steps,
    exported.record,
    exported.run.ledger,
    run_directory.read_figures(exported.run.folder),
    run_directory.read_flags(exported.run.folder),
    {'Python': platform.python_version(), **{name: metadata.version(name) for name in source.PACKAGES}},
  )


def _write_ledger(exported: Exported) -> str:
  return sealed_json.dumps(exported.run.ledger)


def _write_parity(exported: Exported) -> str:
  return sealed_json.dumps(exported.record)


DOCUMENTS: Mapping[str, Callable[[Exported], str]] = {
  preprocessing.CLASSES: _write_classes,
  preprocessing.FILE_NAME: _write_preprocessing,
  _CARD: _write_card,
  LEDGER: _write_ledger,
  model_folder.PARITY: _write_parity,
}


def write(exported: Exported) -> dict[str, str]:
  """Returns the content of each document, by file name."""
  return {name: write_one(exported) for name, write_one in DOCUMENTS.items()}
