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
from contracts import held_out_figures
from contracts import run_directory
from export import model_card
from export import model_folder
from export import parity
from export import preprocessing
from export import source
from export.browser import page as browser_page
from export.card import page
from export.card import plots
from export.metadata import facts as facts_lib
from export.on_device import training_settings
from export.snippets import facts as snippet_facts
from export.snippets import rendering

_CARD = 'MODEL_CARD.md'
_PAGE = 'MODEL_CARD.html'
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
    stated: Who answers for the model, and its licence.
    flags: Of the export; see `request.Request.list_flags`.
    figures: Of held-out users, if the card is to publish them.
    runtime: LiteRT.js by file name, for the page; none: there is no page.
  """

  run: source.Snapshot
  run_name: str
  shards: client_shards.ClientShards
  signatures: Mapping[str, Sequence[parity.End]]
  record: Mapping[str, Any]
  stated: facts_lib.Credits = facts_lib.NOBODY
  flags: Sequence[str] = ()
  figures: held_out_figures.Figures | None = None
  runtime: Mapping[str, bytes] = dataclasses.field(default_factory=dict)

  @functools.cached_property
  def steps(self) -> dict[str, Any]:
    """What preprocessing.json says."""
    variants = self.record['variants'].values()
    quantized = {each['path']: each['quantized'] for each in variants if 'quantized' in each}
    tuning = training_settings.read(self.run.folder) if 'train' in self.signatures else None
    steps = preprocessing.describe(self.shards.manifest, self.signatures, quantized, tuning)
    if tuning:
      steps['training']['clients'] = training_settings.describe(self.run.folder, tuning)
    return steps

  @functools.cached_property
  def card(self) -> str:
    """The model card in Markdown, with marks of where plots are."""
    model = {
      'run': self.run_name,
      'round': self.run.model.round_number,
      'weights': self.run.model.num_weights,
      'signatures': self.signatures,
      'task': self.record['task'],
      'data_set': self.shards.name,
      'fingerprint': self.shards.fingerprint,
      'num_classes': self.shards.schema.num_classes,
      'schema': self.shards.schema,
      'stated': self.stated,
    }
    return model_card.render(
      model,
      self.steps,
      self.record,
      self.run.ledger,
      run_directory.read_figures(self.run.folder),
      run_directory.read_flag_lines(self.run.folder),
      self.flags,
      {'Python': platform.python_version(), **{name: metadata.version(name) for name in source.PACKAGES}},
      self.figures,
      self._count() if self.figures else None,
    )

  def _count(self) -> dict[str, dict[str, int]]:
    """Returns how many clients and examples each split has; of few clients nothing."""
    counted = {
      split: {'clients': self.shards.num_clients(split), 'examples': self.shards.num_examples(split)}
      for split in client_shards.SPLITS
    }
    return {split: each for split, each in counted.items() if each['clients'] >= held_out_figures.FEW}

  @functools.cached_property
  def facts(self) -> snippet_facts.Facts:
    """What the snippets and the page are about."""
    return snippet_facts.choose(self.steps, self.record['variants'])


def _write_classes(exported: Exported) -> str:
  return json.dumps(exported.shards.schema.classes, ensure_ascii=False, indent=1) + '\n'


def _write_preprocessing(exported: Exported) -> str:
  return json.dumps(exported.steps, ensure_ascii=False, indent=1, allow_nan=False) + '\n'


def _write_card(exported: Exported) -> str:
  return page.strip(exported.card)


def _write_page(exported: Exported) -> str:
  return page.render(exported.card, plots.draw(exported.record, exported.figures))


def _write_snippet(name: str, exported: Exported) -> str:
  return rendering.render(name, exported.facts)


def _write_ledger(exported: Exported) -> str:
  return sealed_json.dumps(exported.run.ledger)


def _write_parity(exported: Exported) -> str:
  return sealed_json.dumps(exported.record)


DOCUMENTS: Mapping[str, Callable[[Exported], str]] = {
  preprocessing.CLASSES: _write_classes,
  preprocessing.FILE_NAME: _write_preprocessing,
  _CARD: _write_card,
  _PAGE: _write_page,
  **{f'{model_folder.SNIPPETS}/{name}': functools.partial(_write_snippet, name) for name in rendering.NAMES},
  LEDGER: _write_ledger,
  model_folder.PARITY: _write_parity,
}


def write(exported: Exported) -> dict[str, str | bytes]:
  """Returns the content of each document by file name, with those of some exports: of training, and of a page."""
  written = {name: write_one(exported) for name, write_one in DOCUMENTS.items()}
  names = rendering.TRAINING_NAMES if exported.facts.training else ()
  written |= {f'{model_folder.SNIPPETS}/{name}': _write_snippet(name, exported) for name in names}
  return {**written, **_write_demo(exported)}


def _write_demo(exported: Exported) -> dict[str, str | bytes]:
  if not exported.runtime or browser_page.why_none(exported.facts):
    return {}
  about = f'The model of round {exported.run.model.round_number} of the run {exported.run_name}, in your browser.'
  title = exported.record['task'].rpartition(':')[2].replace('_', ' ').capitalize()
  content = browser_page.render(title, about, exported.facts, exported.run.ledger, exported.runtime)
  return dict(zip(browser_page.file_names(exported.runtime), (content, *exported.runtime.values()), strict=True))
