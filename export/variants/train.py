"""train: a file that trains itself on the device, one batch a call, and answers with the weights it has by then."""

import tempfile
from typing import TYPE_CHECKING

from export import flex
from export import parity
from export.variants import base
from export.variants import float32
from models import unsupported

if TYPE_CHECKING:
  from export.on_device import training_module


class Train(base.Variant):
  """Full precision: smaller weights could not take small steps. Its bounds are those of float32, for its reasons."""

  name = 'train'
  form = 'train'
  summary = 'trains on the device, full precision'
  bounds = float32.Float32.bounds

  def convert(self, model: 'training_module.TrainingModule', calibration: parity.Examples | None) -> bytes:
    import tensorflow as tf
    from tensorflow.lite.python import convert_phase

    from export.on_device import training_module

    with tempfile.TemporaryDirectory() as folder:
      # The gradients are in the graph already.
      options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
      tf.saved_model.save(model, folder, model.functions, options)
      converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(model.functions))
      # No Flex, also where other files may have it: a gradient of TensorFlow would need an app with all of its kernels.
      converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
      converter.experimental_enable_resource_variables = True
      try:
        return converter.convert()
      except convert_phase.ConverterError as error:
        missing = flex.find_missing(str(error))
        if not missing:
          raise
        # The converter makes some kinds of others: these are in no layer.
        names = {**{kind: [] for kind in missing}, **model.find_names(missing)}
        raise unsupported.Unsupported(training_module.describe(names, model.layer_names)) from error
