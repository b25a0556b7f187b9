"""What the metadata of all files of an export say, as the parent of the conversions knows it. Light."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from common import printable
from contracts import client_shards

# What is read of the manifest of a data set.
_READ = ('schema', 'declaration', 'learned')


class Credits(NamedTuple):
  """Who answers for the model, and under which licence it is, for people; empty if nobody said."""

  author: str = ''
  license: str = ''


NOBODY = Credits()


class Facts(NamedTuple):
  """What the file of a variant says beside what the released model and its ledger say.

  Attributes:
    data_set: The name of what the model was trained on.
    fingerprint: Its hash.
    manifest: Of its manifest, what examples are made of.
    stated: What the exporter said of the model.
    learned_from: Whose examples variants learn from: `public`, `released` or nobody's.
  """

  data_set: str
  fingerprint: str
  manifest: Mapping[str, Any]
  stated: Credits = NOBODY
  learned_from: str = ''


def collect(shards: client_shards.ClientShards, stated: Credits = NOBODY, learned_from: str = '') -> Facts:
  """Returns the facts of a data set; see `Facts`."""
  manifest = {key: shards.manifest[key] for key in _READ if key in shards.manifest}
  return Facts(printable.show(shards.name), shards.fingerprint, manifest, stated, learned_from)
