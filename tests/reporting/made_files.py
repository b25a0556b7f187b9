"""What an export of two files says of them, for the report."""

from typing import Any

PARITY: dict[str, Any] = {
  'variants': {
    'float32': {
      'path': 'next_character.float32.tflite',
      'bytes': 292_832,
      'argmax_agreement': 1.0,
      'max_logit_difference': 1.9e-6,
      'accuracy': 0.3815,
    },
    'dynamic_range': {
      'path': 'next_character.dynamic_range.tflite',
      'bytes': 84_120,
      'argmax_agreement': 0.9912,
      'max_logit_difference': 0.31,
      'accuracy': 0.3809,
    },
  },
  'skipped': {'qat': 'Expected layers, found one.'},
  'dropped': {'clustered': 'its file has 900.0 kB'},
  'failed': {'int8': 'took longer than its <limit> of 3 s'},
  'keras_accuracy': 0.3815,
  'examples': 1953,
}
