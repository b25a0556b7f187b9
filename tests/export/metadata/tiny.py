"""A TFLite file that adds a constant to what it is given, made without a converter."""

from typing import Any

from ai_edge_litert import interpreter as litert
from ai_edge_litert import schema_py_generated as schema
import flatbuffers
import numpy as np

WEIGHTS = np.arange(3, dtype=np.float32) / 7


def make(
  signature: str = 'serving_default',
  given: str = 'features',
  returned: str = 'logits',
  more: tuple[str, ...] = (),
  quantized: bool = False,
  custom: str = '',
) -> bytes:
  """Returns the file; without a signature if it is empty, and with more of them.

  No runtime runs it if it is to have integers at its input and output, or a custom operation of a name.
  """
  model = schema.ModelT()
  model.version, model.description = 3, b'tiny'
  weights = schema.BufferT()
  weights.data = np.frombuffer(WEIGHTS.tobytes(), np.uint8)
  note = schema.BufferT()
  note.data = np.frombuffer(b'1.5.0', np.uint8)
  model.buffers = [schema.BufferT(), weights, note]
  model.metadata = [schema.MetadataT()]
  model.metadata[0].name, model.metadata[0].buffer = b'min_runtime_version', 2
  code = schema.OperatorCodeT()
  code.builtinCode, code.version = schema.BuiltinOperator.ADD, 1
  model.operatorCodes = [code]
  if custom:
    code.builtinCode, code.customCode = schema.BuiltinOperator.CUSTOM, custom
  model.subgraphs = [_make_graph(quantized)]
  model.signatureDefs = [_make_signature(key, given, returned) for key in (signature, *more) if key]
  builder = flatbuffers.Builder()
  builder.Finish(model.Pack(builder), b'TFL3')
  return bytes(builder.Output())


def answer(content: bytes) -> np.ndarray:
  """Returns what a runtime says that the file answers."""
  interpreter = litert.Interpreter(model_content=content, num_threads=1)
  interpreter.allocate_tensors()
  interpreter.set_tensor(interpreter.get_input_details()[0]['index'], np.array([[0.1, 0.2, 0.3]], np.float32))
  interpreter.invoke()
  return interpreter.get_tensor(interpreter.get_output_details()[0]['index'])


def _make_graph(quantized: bool) -> Any:
  graph = schema.SubGraphT()
  graph.name = b'main'
  graph.tensors = []
  for name, shape, buffer in ((b'x', (1, 3), 0), (b'weights', (3,), 1), (b'y', (1, 3), 0)):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer, tensor.type = name, np.array(shape, np.int32), buffer, 0
    if quantized and not buffer:
      tensor.type, tensor.quantization = schema.TensorType.INT8, schema.QuantizationParametersT()
      tensor.quantization.scale, tensor.quantization.zeroPoint = np.array([0.5], np.float32), np.array([-3])
    graph.tensors.append(tensor)
  graph.inputs, graph.outputs = [0], [2]
  add = schema.OperatorT()
  add.opcodeIndex, add.inputs, add.outputs = 0, [0, 1], [2]
  add.builtinOptionsType, add.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
  graph.operators = [add]
  return graph


def _make_signature(key: str, given: str, returned: str) -> Any:
  signature = schema.SignatureDefT()
  signature.signatureKey, signature.subgraphIndex = key.encode(), 0
  maps = []
  for name, index in ((given, 0), (returned, 2)):
    maps.append(schema.TensorMapT())
    maps[-1].name, maps[-1].tensorIndex = name.encode(), index
  signature.inputs, signature.outputs = [maps[0]], [maps[1]]
  return signature
