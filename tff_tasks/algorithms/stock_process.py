"""Whole learning processes of TFF, such as `tff.learning.algorithms.build_weighted_mime_lite`, on clients of ours.

Such a process iterates over batches in a `tf.data` dataset. That is made from a `ClientDataset` within the process, so
that every runtime executes it. Clips, noise and weights of the flags are not in it: it combines updates by itself.
"""

import collections
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_federated as tff

from contracts import schema as schema_lib
from models import functional_model
from models import task as task_lib
from tff_tasks.aggregation import gathering
from tff_tasks.algorithms import client_work
from tff_tasks.algorithms import local_sgd
from tff_tasks.population import client_report
from tff_tasks.runtime import tff_structures


def adapt(
  process: tff.learning.templates.LearningProcess,
  model: functional_model.FunctionalModel,
  schema: schema_lib.Schema,
  training: local_sgd.LocalTraining,
) -> tff.learning.templates.LearningProcess:
  """Returns a process of batches as one of `ClientDataset`s, which gathers a `ClientReport`.

  A round of nobody leaves the state as it is: TFF's mean of nobody is not a number.

  Args:
    process: Of a model that `tff_model.build` returned.
    model: The model.
    schema: What the clients have.
    training: Says how many epochs and examples a batch.

  Raises:
    ValueError: If the process takes other batches.
  """
  data_type = client_work.dataset_type(schema)

  @tff.tensorflow.computation(data_type)
  def make_batches(sequence: tf.data.Dataset) -> tf.data.Dataset:
    return local_sgd.LocalSgd(model, training, sequence.get_single_element(), schema.first_answer).batches()

  @tff.tensorflow.computation(data_type)
  def make_report(sequence: tf.data.Dataset) -> Any:
    dataset = sequence.get_single_element()
    # What the process makes of an update is its own business.
    return client_report.ClientReport(dataset.index, dataset.num_examples, tf.constant(True), tf.constant(np.nan))

  _check_batches(process, make_batches.type_signature.result)
  state_type, report_type = process.initialize.type_signature.result, make_report.type_signature.result

  @tff.tensorflow.computation(state_type.member, state_type.member, gathering.type_of_rows(report_type))
  def choose(before: Any, after: Any, report: Any) -> Any:
    return tff_structures.choose(tf.equal(tf.size(report.index), 0), before, after, state_type.member)

  find_sums = tff.tensorflow.computation(_find_sums, process.next.type_signature.result.metrics.member)

  @tff.federated_computation(state_type, tff.FederatedType(data_type, tff.CLIENTS))
  def next_round(state: Any, data: Any) -> Any:
    output = process.next(state, tff.federated_map(make_batches, data))
    report = gathering.gather(tff.federated_map(make_report, data))
    sums = tff.federated_map(find_sums, output.metrics)
    new_state = tff.federated_map(choose, (state, output.state, report))
    measured = collections.OrderedDict(client_work=sums, process=output.metrics, report=report)
    return tff.learning.templates.LearningProcessOutput(new_state, tff.federated_zip(measured))

  return tff.learning.templates.LearningProcess(
    process.initialize, next_round, process.get_model_weights, process.set_model_weights
  )


def _check_batches(process: tff.learning.templates.LearningProcess, found: tff.SequenceType) -> None:
  expected = process.next.type_signature.parameter[1].member
  if not expected.is_assignable_from(found):
    raise ValueError(
      f'Expected a learning process of batches {found.element}, found one of {expected.element}: build it with '
      'context.build_tff_model().'
    )


def _find_sums(metrics: Any) -> Any:
  """Returns what clients have measured of such a model, empty if the process does not tell."""
  found = metrics
  for name in ('client_work', 'train'):
    found = found.get(name, {}) if isinstance(found, Mapping) else {}
  if not isinstance(found, Mapping) or set(found) != set(task_lib.Sums._fields):
    return collections.OrderedDict()
  return collections.OrderedDict(sums=collections.OrderedDict((name, found[name]) for name in task_lib.Sums._fields))
