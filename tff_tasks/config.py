"""The flags of a run as one value. Nothing heavy is imported here."""

from collections.abc import Mapping, Sequence
import csv
import dataclasses
import typing
from typing import Any

from contracts import personalization

SERVER_OPTIMIZERS = ('sgd', 'momentum', 'adam', 'yogi', 'adagrad')
CLIENT_OPTIMIZERS = ('sgd', 'momentum', 'adam')
WEIGHTINGS = ('uniform', 'examples')
SCHEDULES = ('constant', 'linear')
# What --xla may say, and what it means to a runtime; None: what suits the model.
# `measured` is what earlier versions called `auto`; their runs have it in their flag files.
XLA = {'auto': None, 'yes': True, 'no': False, 'measured': None}
ON_CLIENT_ERROR = ('stop', 'skip')


@dataclasses.dataclass(frozen=True)
class Config:
  """The flags of `tff_tasks.train`, under their names; see its `--help` for what they mean."""

  shards_dir: str
  output_dir: str
  total_rounds: int
  clients_per_round: int
  sampling: str
  client_learning_rate: float
  client_batch_size: int
  client_epochs_per_round: int
  max_examples_per_client: int
  server_optimizer: str
  server_learning_rate: float
  server_learning_rate_schedule: str
  model_size: int | None
  clip_norm: float | None
  quantization_bits: int
  noise_multiplier: float | None
  target_epsilon: float | None
  delta: float | None
  rounds_per_eval: int
  rounds_per_checkpoint: int
  seed: int | None
  runtime: str
  xla: str
  on_client_error: str
  branch_from: str | None = None
  algorithm: str = 'fed_avg'
  algorithm_options: Sequence[str] = ()
  aggregation: str = 'mean'
  aggregation_options: Sequence[str] = ()
  sampling_options: Sequence[str] = ()
  personalize_epochs: int = 0
  personalize_learning_rate: float | None = None
  availability: str | None = None
  weighting: str = 'uniform'
  client_optimizer: str = 'sgd'
  client_learning_rate_schedule: str = 'constant'
  max_gradient_norm: float | None = None
  capabilities: str | None = None
  mechanism: str = 'gaussian'
  mechanism_options: Sequence[str] = ()
  task: str | None = None
  runtime_options: Sequence[str] = ()
  compression: str = 'quantization'
  compression_options: Sequence[str] = ()

  @property
  def method(self) -> str:
    """Algorithm and aggregation with their options, as ledger and card name them: `fed_prox (mu=0.1), median`."""
    used = [(self.algorithm, self.algorithm_options)]
    if self.aggregation != 'mean':
      used.append((self.aggregation, self.aggregation_options))
    return ', '.join(f'{name} ({", ".join(options)})' if options else name for name, options in used)

  @property
  def asks_for_noise(self) -> bool:
    return bool(self.noise_multiplier or self.target_epsilon)

  def check(self, part: object) -> None:
    """Asks a part of a run whether it works with these flags, if it has a method `check(config)`.

    Raises:
      ValueError: If it does not.
    """
    own = getattr(part, 'check', None)
    if own:
      own(self)

  @property
  def fine_tuning(self) -> personalization.FineTuning | None:
    """How held-out users are fine-tuned in the end, None if they are not."""
    if not self.personalize_epochs:
      return None
    rate = self.personalize_learning_rate
    rate = self.client_learning_rate if rate is None else rate
    return personalization.FineTuning(self.personalize_epochs, rate, self.client_batch_size)


def read(flags: Mapping[str, str]) -> Config:
  """Returns the config of a run.

  Args:
    flags: `History.flags`: of each flag that has a value a line `--name=value`, by `--name`.

  Raises:
    ValueError: If a flag is missing, as in a run of an earlier version.
  """
  values: dict[str, Any] = {}
  kinds = typing.get_type_hints(Config)
  for field in dataclasses.fields(Config):
    _, is_given, text = flags.get(f'--{field.name}', '').partition('=')
    if is_given:
      values[field.name] = _read_value(text, kinds[field.name])
    elif field.default is dataclasses.MISSING:
      if type(None) not in typing.get_args(kinds[field.name]):
        raise ValueError(f'Expected --{field.name} among the flags of the run, found none: train again.')
      values[field.name] = None
  return Config(**values)


def _read_value(text: str, kind: Any) -> Any:
  kinds = typing.get_args(kind) or (kind,)
  if kind == Sequence[str]:
    return next(csv.reader([text]), [])
  return float(text) if float in kinds else int(text) if int in kinds else text
