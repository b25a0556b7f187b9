"""An aggregation of one's own, out of TFF's parts: the mean with adaptive zeroing and clipping.

python -m tff_tasks.train --flagfile=configs/shakespeare_quickstart.flags --output_dir=runs/robust_mean \
    --aggregation=examples.extensions.robust_mean:RobustMean --aggregation_options=zeroing=true \
    --noise_multiplier=0 --target_epsilon=0 --quantization_bits=0
"""

import dataclasses

import tensorflow_federated as tff


@dataclasses.dataclass(frozen=True)
class RobustMean:
  """Clips updates at a norm that follows most clients, so that a few large ones do not move the mean far.

  Attributes:
    zeroing: Whether updates that are far larger than all before are ignored.
  """

  zeroing: bool = True

  def build(self) -> tff.aggregators.WeightedAggregationFactory:
    return tff.learning.robust_aggregator(zeroing=self.zeroing)
