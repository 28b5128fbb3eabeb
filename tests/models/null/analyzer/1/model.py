"""The analyzer's inputs and outputs without a model: every post is neutral, of the first topic, without entities.

Whatever a benchmark measures with it is the cost of everything but the model.
"""

import json

import numpy as np
import triton_python_backend_utils as pb_utils

CONFIDENT = 4.0
# neutral, the first topic, O, neutral
CHOSEN = {"sentiment_logits": 1, "topic_logits": 0, "tag_logits": 0, "token_sentiment_logits": 1}
BY_TOKEN = ("tag_logits", "token_sentiment_logits")


class TritonPythonModel:
    """Triton's python-backend contract: one answer per request, in order."""

    def initialize(self, args):
        """Make one row of logits per output, as wide as config.pbtxt says."""
        outputs = json.loads(args["model_config"])["output"]
        self.rows = {output["name"]: constant_row(output) for output in outputs}

    def execute(self, requests):
        """Answer each request by the shape [batch, tokens] of its `input_ids` alone."""
        return [self.answer(request) for request in requests]

    def answer(self, request):
        """Constant logits for every row, and for every token of it where the output has them."""
        batch, tokens = pb_utils.get_input_tensor_by_name(request, "input_ids").shape()
        tensors = []
        for name, row in self.rows.items():
            shape = (batch, tokens, row.size) if name in BY_TOKEN else (batch, row.size)
            tensors.append(pb_utils.Tensor(name, np.ascontiguousarray(np.broadcast_to(row, shape))))
        return pb_utils.InferenceResponse(output_tensors=tensors)


def constant_row(output):
    """FP32 [classes]: zero but for the chosen class."""
    row = np.zeros(int(output["dims"][-1]), dtype=np.float32)
    row[CHOSEN[output["name"]]] = CONFIDENT
    return row
