"""An algorithm of one's own: FedAvg whose clients take steps of a bounded length.

python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags --output_dir=runs/clipped_steps \
    --algorithm=examples.extensions.clipped_steps:ClippedSteps --algorithm_options=max_gradient_norm=1.0
"""

from collections.abc import Sequence
import dataclasses
from typing import Any

import tensorflow as tf

from tff_tasks.algorithms import base
from tff_tasks.algorithms import client_work


@dataclasses.dataclass(frozen=True)
class ClippedSteps:
  """FedAvg whose clients clip the gradient of each step, as recurrent models need it at high learning rates.

  Attributes:
    max_gradient_norm: L2 bound of the gradient of all weights together.
  """

  max_gradient_norm: float = 1.0

  def build(self, model: Any, weights_type: Any, schema: Any, training: Any, server_optimizer: Any) -> base.Parts:
    longest_step = training.learning_rate * self.max_gradient_norm

    def clip(initial: Sequence[tf.Tensor], weights: Sequence[tf.Tensor], steps: Sequence[tf.Tensor]) -> list[tf.Tensor]:
      return tf.clip_by_global_norm(steps, longest_step)[0]

    return base.Parts(
      client_work.build_client_work(model, weights_type, schema, training, clip),
      client_work.build_finalizer(server_optimizer, weights_type),
    )
