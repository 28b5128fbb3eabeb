"""The analyzer's inputs and outputs without a model: every post is neutral, of the first topic, without entities.

Logits are constant, so whatever a benchmark measures with it is the cost of everything but the model.
"""

import numpy as np
import triton_python_backend_utils as pb_utils

TOPICS = 22
TAGS = 7
CONFIDENT = 4.0  # softmax gives the chosen class about 0.96 of 3 and 0.72 of 22


def constant_logits(batch: int, classes: int, chosen: int) -> np.ndarray:
    """FP32 [batch, classes]: zero everywhere but for the chosen class."""
    logits = np.zeros((batch, classes), dtype=np.float32)
    logits[:, chosen] = CONFIDENT
    return logits


class TritonPythonModel:
    """Triton's python-backend contract: one answer per request, in order."""

    def execute(self, requests: list) -> list:
        """Answer each request by the shape [batch, tokens] of its `input_ids` alone."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: object) -> object:
        batch, tokens = pb_utils.get_input_tensor_by_name(request, "input_ids").shape()
        tags = constant_logits(batch * tokens, TAGS, chosen=0).reshape(batch, tokens, TAGS)
        return pb_utils.InferenceResponse(
            output_tensors=[
                pb_utils.Tensor("sentiment_logits", constant_logits(batch, 3, chosen=1)),
                pb_utils.Tensor("topic_logits", constant_logits(batch, TOPICS, chosen=0)),
                pb_utils.Tensor("tag_logits", tags),
            ]
        )
