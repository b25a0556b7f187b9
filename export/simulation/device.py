"""A device: a process with a training file, LiteRT and NumPy, which trains the clients that it is given. No TensorFlow.

It gets what a phone would have: the file, the weights of the round, and one client's examples after the other's.
"""

import os
import pickle
import sys
from typing import NamedTuple

import numpy as np

from export import guard
from export.on_device import training_file
from tff_tasks.population import example_order


class Client(NamedTuple):
  """What a device trains on.

  Attributes:
    features: `[n, ...]`.
    labels: `[n, ...]`; those below 0 do not count.
    seed: int32 `[2]`, of the order of the examples.
    epochs: Passes over them.
    batch_size: Examples a step.
  """

  features: np.ndarray
  labels: np.ndarray
  seed: np.ndarray
  epochs: int
  batch_size: int


class Work(NamedTuple):
  """Some clients of a round.

  Attributes:
    weights: That the server sends.
    learning_rate: Of the round.
    clients: Who is trained, one after the other, each from these weights.
  """

  weights: list[np.ndarray]
  learning_rate: float
  clients: list[Client]


class Ready(NamedTuple):
  """What a device says of itself before its first work.

  Attributes:
    batch_size: Of the file.
    has_tensorflow: Whether TensorFlow is loaded, which would be a mistake.
  """

  batch_size: int
  has_tensorflow: bool


def serve(parent: int, path: str) -> None:
  """Trains what comes through standard input until it ends, and writes what comes of it to standard output.

  Args:
    parent: The process that started this one, which ends with it.
    path: The training file.
  """
  guard.end_with_parent(parent)
  answers = os.fdopen(os.dup(sys.stdout.fileno()), 'wb')
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # What libraries print is no answer.
  file = training_file.TrainingFile.open(path)
  answer: object = Ready(file.batch_size, 'tensorflow' in sys.modules)
  while True:
    pickle.dump(answer, answers, pickle.HIGHEST_PROTOCOL)
    answers.flush()
    try:
      work = pickle.load(sys.stdin.buffer)
    except EOFError:
      return
    answer = train(file, work)


def train(file: training_file.TrainingFile, work: Work) -> np.ndarray:
  """Returns the weights of each client after its steps, float32 `[clients, numbers]`."""
  trained = []
  for client in work.clients:
    orders = [example_order.draw(client.seed, epoch, len(client.labels)) for epoch in range(client.epochs)]
    file.set_weights(work.weights)
    file.train_epochs(client.features, client.labels, orders, client.batch_size, work.learning_rate)
    trained.append(np.concatenate([weight.reshape(-1) for weight in file.get_weights()]))
  return np.stack(trained)
