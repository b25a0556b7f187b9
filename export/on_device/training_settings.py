"""How a device trains the model of a run: as a client of that run did, or as it reconstructs the local layers."""

from contracts import personalization
from contracts import run_directory

# Of a run that left no flags.
_DEFAULTS = {'client_epochs_per_round': '1', 'client_learning_rate': '0.1', 'client_batch_size': '20'}


def read(run_dir: str) -> personalization.FineTuning:
  """Returns how a device trains the model in a run directory; the local layers alone if the run had some.

  Raises:
    ValueError: If its flags or its ledger are damaged.
  """
  tuning = personalization.of_ledger(run_directory.read_json(run_dir, run_directory.LEDGER))
  if tuning:
    return tuning
  flags = {**_DEFAULTS, **dict(run_directory.read_flags(run_dir))}
  epochs, rate, size = (flags[name] for name in _DEFAULTS)
  return personalization.FineTuning(int(epochs), float(rate), int(size))
