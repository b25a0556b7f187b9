"""FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1), every client with the same weight."""

import dataclasses
from typing import Any

from tff_tasks.algorithms import base


@dataclasses.dataclass(frozen=True)
class FedAvg:
  """Local SGD on each client; the server's optimizer takes the mean update as a gradient."""

  def build(self, model: Any, weights_type: Any, schema: Any, training: Any, server_optimizer: Any) -> base.Parts:
    from tff_tasks.algorithms import client_work

    return base.Parts(
      client_work.build_client_work(model, weights_type, schema, training),
      client_work.build_finalizer(server_optimizer, weights_type),
    )
