"""FedAvg (McMahan et al. 2017, arXiv 1602.05629, algorithm 1): the textbook one with `--weighting=examples`."""

import dataclasses

from tff_tasks.algorithms import local_algorithm


@dataclasses.dataclass(frozen=True)
class FedAvg(local_algorithm.LocalAlgorithm):
  """Local training on each client; the server's optimizer takes the mean update as a gradient."""
