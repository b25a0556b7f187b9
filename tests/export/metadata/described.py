"""A file with metadata, of a model and of facts that are made up."""

from typing import Any

import numpy as np

from contracts import personalization
from contracts import released_model
from contracts import schema as schema_lib
from export.metadata import describing
from export.metadata import facts as facts_lib
from export.variants import base
from export.variants import registry
from pipelines.featurizers import base as featurizers
from tests.export import fakes
from tests.export.metadata import tiny


def make(
  featurizer: featurizers.Featurizer | None = None,
  variant: base.Variant | None = None,
  ledger: dict[str, Any] | None = None,
  classes: tuple[str, ...] = ('x', 'y', 'z'),
  sequence: bool = False,
  shape: tuple[int, ...] = (3,),
  content: bytes = b'',
  tuning: personalization.FineTuning | None = None,
  **facts: Any,
) -> bytes:
  """Returns a file with its metadata."""
  labels = schema_lib.Feature('labels', 'int32', (3,) if sequence else ())
  given = schema_lib.Feature('features', 'int32' if sequence else 'float32', shape)
  schema = schema_lib.Schema('mine', given, labels, classes)
  manifest = fakes.manifest(featurizer) if featurizer else {'schema': schema.to_json()}
  model = released_model.ReleasedModel(schema, 8, 140, [np.zeros(3, np.float32)])
  ledger = fakes.privacy() if ledger is None else ledger
  variant = variant or registry.VARIANTS['train' if tuning else 'float32']
  all_facts = facts_lib.Facts(**{'data_set': 'my_logs', 'fingerprint': 'f00d', 'manifest': manifest, **facts})
  return describing.add(content or tiny.make(), variant, model, ledger, all_facts, tuning)
