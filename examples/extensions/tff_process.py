"""A whole learning process of TFF as an algorithm: MimeLite, with its own batches, weights and mean.

python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags --output_dir=runs/tff_process \
    --algorithm=examples.extensions.tff_process:TffMimeLite --algorithm_options=momentum=0.9 \
    --noise_multiplier=0 --target_epsilon=0 --quantization_bits=0 --clip_norm=0
"""

import dataclasses

import tensorflow_federated as tff

from tff_tasks.algorithms import base


@dataclasses.dataclass(frozen=True)
class TffMimeLite:
  """`tff.learning.algorithms.build_weighted_mime_lite` (Karimireddy et al. 2020, arXiv 2008.03606).

  Attributes:
    momentum: Of the clients' SGD.
  """

  momentum: float = 0.9

  def build(self, context: base.Context) -> tff.learning.templates.LearningProcess:
    """Returns the process; the rate is that of the flags, and clients count by their examples."""
    return tff.learning.algorithms.build_weighted_mime_lite(
      context.build_tff_model(),
      base_optimizer=tff.learning.optimizers.build_sgdm(context.training.learning_rate, self.momentum),
      server_optimizer=context.server_optimizer,
    )
