"""From a fitted scikit-learn estimator to the one ONNX graph a bundle holds: `rows` (n, width) -> `score` (n, 1)."""

from typing import Any

import onnx
from onnx import TensorProto, helper

from serving.bundle import FORMAT, GRAPH_INPUT, GRAPH_OUTPUT

# The newest pair that the locked converter and runtime share; fixed, so that an upgrade is a decision.
OPSET = {"": 18, "ai.onnx.ml": 3}


def convert(fitted: Any, width: int) -> onnx.ModelProto:
    """The graph of a fitted estimator. The name is fixed: a random one would make equal models differ in bytes."""
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType
    from sklearn.base import is_classifier

    options = {id(fitted): {"zipmap": False}} if is_classifier(fitted) else None
    inputs = [(GRAPH_INPUT, FloatTensorType([None, width]))]
    model = convert_sklearn(fitted, name="model", initial_types=inputs, target_opset=OPSET, options=options)
    return _in_order(_only_the_score(model, classifier=is_classifier(fitted)))


def stamp(model: onnx.ModelProto, signature_sha256: str) -> onnx.ModelProto:
    """Tie a graph to the format it was written in and to the signature it was made for."""
    helper.set_model_props(model, {"format": str(FORMAT), "signature": signature_sha256})
    return model


def _in_order(model: onnx.ModelProto) -> onnx.ModelProto:
    """The converter lists operator sets in the order of a set, which differs from process to process."""
    imports = sorted(model.opset_import, key=lambda each: each.domain)
    del model.opset_import[:]
    model.opset_import.extend(imports)
    return model


def _only_the_score(model: onnx.ModelProto, *, classifier: bool) -> onnx.ModelProto:
    """One output instead of label and both probabilities: less to compute and nothing to misread."""
    graph = model.graph
    source = graph.output[-1].name
    if classifier:
        graph.initializer.append(helper.make_tensor("positive", TensorProto.INT64, [1], [1]))
        graph.node.append(helper.make_node("Gather", [source, "positive"], [GRAPH_OUTPUT], axis=1))
    else:
        graph.node.append(helper.make_node("Identity", [source], [GRAPH_OUTPUT]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(GRAPH_OUTPUT, TensorProto.FLOAT, [None, 1]))
    return model
