"""Measures how accuracy differs between held-out users, and which classes are taken for which."""

import numpy as np

from contracts import held_out_figures
from contracts import schema as schema_lib

# A matrix of more classes shows nothing; of a sequence, a matrix would be of characters or words.
_MOST_CLASSES = 70
_MOST_LISTED = 200


def measure(
  labels: np.ndarray,
  owners: np.ndarray,
  logits: np.ndarray,
  schema: schema_lib.Schema,
  model: str,
  held_out: int,
  is_sample: bool,
) -> held_out_figures.Figures:
  """Returns the figures of a model.

  Args:
    labels: Of examples of held-out users, `[n, ...]`; those below 0 do not count.
    owners: Whose each example is, `[n]`.
    logits: What the model gives for them, `[n, ..., num_classes]`.
    schema: Of the examples.
    model: The digest of the model.
    held_out: How many held-out users have examples.
    is_sample: Whether these are not all of their examples.
  """
  counts = labels >= 0
  owners = np.broadcast_to(owners.reshape(-1, *[1] * (counts.ndim - 1)), counts.shape)[counts]
  labels = labels[counts].astype(np.int64)
  answers = schema.first_answer + logits[counts][:, schema.first_answer :].argmax(-1)
  has_matrix = not schema.is_sequence and schema.num_classes <= _MOST_CLASSES
  right = (answers == labels).astype(np.int64)
  _, indices = np.unique(owners, return_inverse=True)
  accuracies = np.bincount(indices, right) / np.bincount(indices)
  classes = [
    held_out_figures.Class(label, count, *_split(owners[labels == label], right[labels == label]))
    for label, count, _ in _rank(labels, owners, _MOST_LISTED)
  ]
  cells = [
    held_out_figures.Cell(*divmod(pair, schema.num_classes), count, clients)
    for pair, count, clients in _rank(
      labels * schema.num_classes + answers, owners, schema.num_classes**2 if has_matrix else _MOST_LISTED
    )
  ]
  named = set(range(schema.num_classes)) if has_matrix else {each.label for each in classes}
  named |= {label for cell in cells for label in cell[:2]}
  return held_out_figures.Figures(
    model,
    len(labels),
    sorted(accuracies.tolist()),
    classes,
    cells,
    {str(label): schema.classes[label] for label in sorted(named)},
    schema.num_classes if has_matrix else 0,
    held_out,
    is_sample,
  )


def _split(owners: np.ndarray, right: np.ndarray) -> tuple[int, int, int, int]:
  """Returns how many answers are right, and of how many users all, the right and the wrong ones are."""
  each = (owners, owners[right == 1], owners[right == 0])
  clients, right_clients, wrong_clients = (len(np.unique(some)) for some in each)
  return int(right.sum()), clients, right_clients, wrong_clients


def _rank(values: np.ndarray, owners: np.ndarray, limit: int) -> list[tuple[int, int, int]]:
  """Returns the most frequent values with how often they occur and at how many owners; equal ones in their order."""
  found, indices, counts = np.unique(values, return_inverse=True, return_counts=True)
  pairs = np.unique(np.stack([indices, owners]), axis=1)
  clients = np.bincount(pairs[0], minlength=len(found))
  order = np.argsort(-counts, kind='stable')[:limit]
  return [(int(found[index]), int(counts[index]), int(clients[index])) for index in order]
