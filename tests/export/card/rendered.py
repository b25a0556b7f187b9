"""A model card of an export that is made up."""

from collections.abc import Sequence
from typing import Any

from export import model_card
from export import parity as parity_lib
from export.metadata import facts as facts_lib
from tests.export import fakes

SIGNATURES: dict[str, list[parity_lib.End]] = {
  'whole': [('input', 'characters', 'int32', (1, 80)), ('output', 'logits', 'float32', (1, 80, 80))]
}
MODEL = {
  'task': 'next_character',
  'data_set': 'my_logs',
  'run': 'mine/run',
  'round': 140,
  'weights': 20_248,
  'fingerprint': 'f00d',
  'num_classes': 80,
  'schema': fakes.CHARACTERS,
  'stated': facts_lib.NOBODY,
  'signatures': SIGNATURES,
}
VARIANT = {
  'path': 'next_character.float32.tflite',
  'form': 'whole',
  'bytes': 292_832,
  'compressed_bytes': 261_400,
  'summary': 'full precision',
  'argmax_agreement': 1.0,
  'max_logit_difference': 1.9e-6,
  'accuracy': 0.3815,
  'latency_us': {'median': 1_265.25, 'p95': 2_000.0, 'calls': 200},
  'peak_memory_mb': 8.9,
}
PARITY = {
  'variants': {'float32': VARIANT},
  'failed': {'dynamic_range': 'crashed with SIGSEGV'},
  'keras_accuracy': 0.3816,
  'majority_accuracy': 0.1634,
  'examples': 1953,
  'positions': 154_287,
}
RUN: dict[str, Any] = {
  'accuracy': 0.3812,
  'accuracy_per_user': 0.3741,
  'total_rounds': 140,
  'baseline': 'bigram',
  'baseline_accuracy': 0.2763,
  'majority_class': '<end>',
  'majority_accuracy': 0.1634,
  'bigram_accuracy': 0.2763,
  'bigram_clients': 915,
  'population': 915,
  'coverage': 0.502,
}


def render(
  privacy: dict[str, Any] | None = None,
  run: dict[str, Any] | None = None,
  examples: dict[str, Any] | None = None,
  model: dict[str, Any] | None = None,
  parity: dict[str, Any] | None = None,
  steps: dict[str, Any] | None = None,
  export_flags: Sequence[str] = (),
  **figures: Any,
) -> str:
  """Returns the card of an export that is made up; what is given replaces parts of it."""
  flags = [
    '--seed=(withheld)',
    '--note=<b>|`x`',
    '--nocentered',
    '--options=',
    '--branch_from=/srv/me/old',
    '--shards_dir=/srv/me',
  ]
  privacy = fakes.privacy() if privacy is None else privacy
  text = {'kind': 'characters', 'unicode_normalization': 'NFC', 'after_each_text': '\n'}
  steps = steps or {'task': 'next_character', 'input': {}, 'examples': text if examples is None else examples}
  run = RUN if run is None else run
  record = {**PARITY, **(parity or {})}
  versions = {'tensorflow': '2.14.1'}
  return model_card.render(
    {**MODEL, **(model or {})}, steps, record, privacy, run, flags, export_flags, versions, **figures
  )
