"""How a device trains the model of a run: as a client of that run did, or as it reconstructs the local layers."""

import tomllib

from contracts import personalization
from contracts import run_directory

# Flags that change the steps of clients, and their values that do not.
_PLAIN = {'algorithm': ('fed_avg', 'fed_nova'), 'client_optimizer': ('sgd',), 'max_gradient_norm': ()}


def read(run_dir: str) -> personalization.FineTuning:
  """Returns how a device trains the model in a run directory; the local layers alone if the run had some.

  Raises:
    ValueError: If its flags or its ledger are damaged, or say nothing of it.
  """
  tuning = personalization.of_ledger(run_directory.read_json(run_dir, run_directory.LEDGER))
  if tuning:
    return tuning
  return personalization.FineTuning(
    run_directory.read_number(run_dir, 'client_epochs_per_round', int),
    run_directory.read_number(run_dir, 'client_learning_rate', float),
    _largest_batch(run_dir, run_directory.read_number(run_dir, 'client_batch_size', int)),
  )


def describe(run_dir: str, tuning: personalization.FineTuning) -> str:
  """Returns what a step of the file has to do with the run, for people.

  Args:
    run_dir: The run directory.
    tuning: What `read` returned.
  """
  epochs = f'{tuning.epochs} epoch{"s" * (tuning.epochs != 1)}'
  if tuning.local_layers:
    return f'A device reconstructs these layers with a learning rate of {tuning.learning_rate:g}, {epochs}.'
  flags = dict(run_directory.read_flags(run_dir))
  others = [f'--{name}={flags[name]}' for name, plain in _PLAIN.items() if name in flags and flags[name] not in plain]
  if others:
    return f'Clients of the run took other steps ({", ".join(others)}): find a learning rate by experiment.'
  first = '' if flags.get('client_learning_rate_schedule', 'constant') == 'constant' else ' in the first round'
  return (
    f'Clients of the run took such steps with a learning rate of {tuning.learning_rate:g}{first}, {epochs} a round.'
  )


def _largest_batch(run_dir: str, size: int) -> int:
  """Returns the most examples of a step of a client; capability classes may have another batch size.

  Raises:
    ValueError: If the file of the classes is missing, or says something else.
  """
  path = run_directory.read_flag(run_dir, 'capabilities')
  if not path:
    return size
  try:
    with open(path, encoding='utf-8-sig') as file:
      classes = tomllib.loads(file.read())['classes']
    return max(int(each.get('batch_size', size)) for each in classes.values())
  except (OSError, ValueError, LookupError, AttributeError, TypeError) as error:
    raise ValueError(
      f'Expected the file of --capabilities that the run had at {path}, found none or another one: restore it.'
    ) from error
