"""Rounds of benchmarks.devices: the same clients, once on the local runtime and once on devices."""

import functools
import os
import time

import numpy as np

from benchmarks import runtime_rounds
from benchmarks import workloads
from contracts import client_shards
from contracts import personalization
from contracts import released_model
from contracts import schema as schema_lib
from export.on_device import training_file
from export.on_device import training_module
from export.on_device import weights as weights_lib
from export.simulation import device_pool
from export.variants import train
from models import functional_model
from models import registry
from tff_tasks.algorithms import trained_elsewhere

_FILE = 'model.train.tflite'
_STEPS = 50


def _workload(task: str, schema: schema_lib.Schema, clients: int, examples: int, batch_size: int) -> workloads.Workload:
  own = registry.get_task(task)
  return workloads.Workload(
    clients, examples, batch_size, schema, functools.partial(own.build, schema, own.default_size)
  )


def _schema(task: str, feature: schema_lib.Feature, label_shape: tuple[int, ...], classes: int) -> schema_lib.Schema:
  return schema_lib.Schema(task, feature, schema_lib.Feature('label', 'int32', label_shape), ('?',) * classes)


_Feature = schema_lib.Feature
TASKS = {
  'classification': _workload(
    'classification', _schema('classification', _Feature('numbers', 'float32', (43,)), (), 6), 100, 100, 20
  ),
  'handwriting': _workload(
    'handwriting', _schema('handwriting', _Feature('image', 'float32', (28, 28)), (), 62), 50, 100, 20
  ),
  'next_character': _workload(
    'next_character', _schema('next_character', _Feature('text', 'int32', (80,)), (80,), 80), 20, 40, 10
  ),
}


class DeviceRounds(runtime_rounds.RuntimeRounds):
  """Rounds whose clients are devices."""

  def __init__(self, workload: workloads.Workload, shards: client_shards.ClientShards, path: str, size: int) -> None:
    self._devices = device_pool.DevicePool(path, len(os.sched_getaffinity(0)), size, 1, workload.batch_size)
    training = runtime_rounds.Training(trained_elsewhere.TrainedElsewhere())
    super().__init__(workload, shards, 'local', use_xla=False, training=training, brought=self._devices)

  def run(self) -> None:
    self._devices.begin_round(self.weights, workloads.LEARNING_RATE)
    super().run()

  @property
  def pids(self) -> list[int]:
    """The device processes."""
    return self._devices.pids

  def close(self) -> None:
    super().close()
    self._devices.close()


def build(task: str, folder: str) -> tuple[runtime_rounds.RuntimeRounds, DeviceRounds]:
  """Returns rounds on the local runtime and rounds on devices, of the same clients and the same initial weights."""
  workload = TASKS[task]
  shards_dir, path = os.path.join(folder, 'shards'), os.path.join(folder, _FILE)
  os.makedirs(shards_dir)
  sizes = np.full(workload.clients, workload.examples)
  shards = workloads.write_clients(workload.schema, sizes, shards_dir)
  weights = functional_model.FunctionalModel(workload.build_model, 1).initial_weights
  released = released_model.ReleasedModel(workload.schema, registry.get_task(task).default_size, 0, weights)
  tuning = personalization.FineTuning(1, workloads.LEARNING_RATE, workload.batch_size)
  with open(path, 'wb') as file:
    file.write(train.Train().convert(training_module.TrainingModule(released, task, tuning), None))
  size = sum(weight.size for weight in weights)
  return runtime_rounds.RuntimeRounds(workload, shards, 'local', None), DeviceRounds(workload, shards, path, size)


def difference(one: runtime_rounds.RuntimeRounds, other: runtime_rounds.RuntimeRounds) -> float:
  """Returns the largest difference between the models of two runtimes that have run as many rounds."""
  return weights_lib.difference(one.weights, other.weights)


def time_step(task: str, folder: str) -> float:
  """Returns the seconds of a step of the file that `build` wrote, with nothing beside it."""
  file, workload = training_file.TrainingFile.open(os.path.join(folder, _FILE)), TASKS[task]
  features, labels = (
    np.zeros((workload.batch_size, *each.shape), each.dtype)
    for each in (workload.schema.feature, workload.schema.label)
  )
  file.train(features, labels, 0.0)
  started = time.perf_counter()
  for _ in range(_STEPS):
    file.train(features, labels, 0.0)
  return (time.perf_counter() - started) / _STEPS
