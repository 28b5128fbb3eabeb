"""Runs model.onnx with onnxruntime inside Triton's python backend: token ids in, logits out.

Standard library, numpy and onnxruntime only. Labels, windows and spans are made by whoever asks (worker/analysis).
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import onnxruntime
import triton_python_backend_utils as pb_utils

INPUTS = ("input_ids", "attention_mask")
OUTPUTS = ("sentiment_logits", "topic_logits", "tag_logits", "token_sentiment_logits")
PROBE_TOKENS = 8


class TritonPythonModel:
    """Triton's contract: `initialize` once, then `execute` for each batch of requests."""

    def initialize(self, args: dict) -> None:
        """Load and check the bundle; a problem here keeps the model, and so the server, from being ready."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        folder = Path(args["model_repository"]) / args["model_version"]
        bundle = json.loads((folder / "bundle.json").read_text())
        check_file(folder / "model.onnx", bundle, parameters["bundle_version"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(parameters["intra_op_thread_count"])
        options.inter_op_num_threads = 1
        # Instances share the cores: a thread that waits by spinning would take them from the others.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without VNNI the usual kernel adds int8 products in pairs of 16 bits, which saturate; this takes an exact one.
        options.add_session_config_entry("session.x64quantprecision", "1" if saturates() else "0")
        options.log_severity_level = 3  # errors
        self.session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self.check_shapes(config, bundle)

    def execute(self, requests: list) -> list:
        """One answer a request, in order. Triton joins requests of one length only; rows do not affect each other."""
        arrays = [[pb_utils.get_input_tensor_by_name(r, name).as_numpy() for name in INPUTS] for r in requests]
        if len(arrays) > 1:
            try:
                outputs = self.run(*(np.concatenate(parts) for parts in zip(*arrays)))
            except Exception:  # some request is bad: let each fail, or not, by itself
                return [self.answer(each) for each in arrays]
            ends = np.cumsum([len(each[0]) for each in arrays])[:-1]
            return [response(parts) for parts in zip(*(np.split(output, ends) for output in outputs))]
        return [self.answer(each) for each in arrays]

    def answer(self, arrays: list) -> object:
        """The answer to one request, an error included."""
        try:
            return response(self.run(*arrays))
        except Exception as error:  # onnxruntime's exceptions have no common base
            problem = pb_utils.TritonError(f"analyzer: {error}", pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=problem)

    def run(self, input_ids: np.ndarray, attention_mask: np.ndarray) -> list:
        """The three logits; both inputs int64 [B, T]."""
        return self.session.run(OUTPUTS, {"input_ids": input_ids, "attention_mask": attention_mask})

    def check_shapes(self, config: dict, bundle: dict) -> None:
        """Run once and compare with what config.pbtxt and bundle.json promise; also warms the session up."""
        ids = np.full((2, PROBE_TOKENS), bundle["pad_id"], np.int64)
        found = {name: list(array.shape[1:]) for name, array in zip(OUTPUTS, self.run(ids, np.ones_like(ids)))}
        labels = {
            "sentiment_logits": [len(bundle["sentiment"])],
            "topic_logits": [len(bundle["topics"])],
            "tag_logits": [PROBE_TOKENS, len(bundle["tags"])],
            "token_sentiment_logits": [PROBE_TOKENS, len(bundle["sentiment"])],
        }
        declared = {
            output["name"]: [PROBE_TOKENS if int(size) < 0 else int(size) for size in output["dims"]]
            for output in config["output"]
        }
        if not found == labels == declared:
            raise pb_utils.TritonModelException(
                f"analyzer: the model answers {found}, bundle.json names {labels}, the configuration declares "
                f"{declared}; export the checkpoint again"
            )


def saturates() -> bool:
    """Whether the processor lacks VNNI; as worker/analysis/onnx_session.py, which says more."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return True
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), [])
    return {"avx512_vnni", "avx_vnni", "amx_int8"}.isdisjoint(flags)


def check_file(path: Path, bundle: dict, declared: str) -> None:
    """Refuse a model file that is not the one of bundle.json, and a bundle that is not the configuration's."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != bundle["sha256"]["model.onnx"]:
        raise pb_utils.TritonModelException(f"{path} is not the file that bundle.json describes; export it again")
    version = f"{bundle['name']}:{bundle['version']}+{digest[:8]}"
    if version != declared:
        raise pb_utils.TritonModelException(
            f"{path} is {version}, the configuration says {declared}; export the checkpoint again"
        )


def response(arrays: object) -> object:
    """An answer with the three logits."""
    tensors = [pb_utils.Tensor(name, np.ascontiguousarray(array)) for name, array in zip(OUTPUTS, arrays)]
    return pb_utils.InferenceResponse(output_tensors=tensors)
