"""train: a batch of examples a call, after which the weights in the runtime have moved.

The signatures of the file are `train(x, y, weight, lr) -> loss`, `infer(x) -> logits`, `get_weights`, `set_weights` and
`reset`. The file that an app only asks for answers is another one, which is smaller.
"""

from collections.abc import Iterator, Mapping
import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts import released_model
from export import parity
from export.forms import base
from export.on_device import step_parity
from export.on_device import training_file
from export.on_device import training_settings

if TYPE_CHECKING:
  from export import guard

# So many examples are run again.
_REPEATED = 8


class Train(base.Form):
  """Models have it whose layers have a gradient of built-in operations."""

  name = 'train'
  reference = 'train'
  call = 'a step of training on a batch a call'

  def build(self, released: released_model.ReleasedModel, task: str, run_dir: str) -> Any:
    from export.on_device import training_module  # Here, with TensorFlow behind it, so that only the child loads that.

    return training_module.TrainingModule(released, task, training_settings.read(run_dir))

  def answers(self, path: str, features: np.ndarray) -> parity.Answers:
    file = training_file.TrainingFile.open(path)
    logits = file.infer(features)
    if not np.array_equal(file.infer(features[:_REPEATED]), logits[:_REPEATED], equal_nan=True):
      raise ValueError('Expected the same answer to the same example in every call, found another one')
    return parity.Answers(logits, file.describe(), parity.count_stored(path))

  def calls(self, interpreter: Any, features: np.ndarray) -> Iterator[np.ndarray]:
    file = training_file.TrainingFile(interpreter)
    labels = np.zeros(1, np.int32)  # What the true ones are does not change the time.
    batches = [features[rows] for rows in training_file.cut(np.arange(len(features)), file.batch_size)]
    for batch in itertools.cycle(batches):
      yield np.asarray(file.train(batch, labels, 0.0))

  def check_further(
    self, limits: 'guard.Limits', path: str, run_dir: str, task: str | None, examples: parity.Examples
  ) -> Mapping[str, Any]:
    return {'training': step_parity.compare(limits, path, run_dir, task, examples)}
