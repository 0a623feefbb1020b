"""Writes one export: run by `zoo.serving.exporting` as a TensorFlow process that sees no GPU.

It ends with the status and the last line of a `ZooError`.
"""

import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo._hook import lean_imports
from zoo.errors import ZooError

with lean_imports():
    import keras

    from zoo import files, readers, registry, runs, weights
    from zoo.base.models import undrawn
    from zoo.base.randomness import dtype_policy
    from zoo.base.recipe import Recipe
    from zoo.serving import preprocessing

MODELS = {"onnx": "model.onnx", "litert": "model.tflite"}
"""{format: the name of its file}, of formats that hold the network alone."""

_ = readers  # importing it registers the readers with Keras


def main(job: str | pathlib.Path, format: str, target: str | pathlib.Path) -> None:
    """Writes the export of the job in the folder `job` to the folder `target`."""
    job, target = pathlib.Path(job), pathlib.Path(target)
    facts = json.loads((job / "job.json").read_text())
    recipe, network, reader = opened(job, facts)
    target.mkdir()
    if format == "saved_model":
        signatures = _write_saved_model(recipe, network, reader, target)
    else:
        signatures = _write_tensors(network, reader, target, format)
        name = network.inputs[0].name
        if preprocess := preprocessing.script(reader, MODELS[format], name):
            files.write(target / preprocessing.FILE, preprocess)
    if reader.labels:
        files.write(target / "labels.txt", "\n".join(reader.labels) + "\n")
    description = {
        "recipe": recipe.label,
        "format": format,
        "signatures": signatures,
        "labels": list(reader.labels),
        "fields": recipe.values(),
        "epoch": facts.get("epoch"),
        "data": facts.get("data"),
        "trained with": facts["trained"],
        "exported with": runs.versions(),
    }
    if hasattr(reader, "input_names"):
        description["columns"] = {name: column for column, name in reader.input_names.items()}
    if hasattr(reader, "row_names"):
        description["rows"] = reader.row_names
    if getattr(reader, "bits", None) is not None:
        description["white of 16 bits"] = 2**reader.bits - 1
    if (target / preprocessing.FILE).exists():
        description["preprocess"] = preprocessing.FILE
    files.write_json(target / "signature.json", description)


def opened(job: pathlib.Path, facts: dict[str, Any]) -> tuple[Recipe, keras.Model, Any]:
    """Returns (recipe, its network with the trained weights, reader) of a job.

    Raises: `InputError` for what lies damaged in the run that the job was made of.
    """
    recipe = registry.restored(facts["recipe"], trusted=True)  # the process that asks has checked it
    with dtype_policy("float32"), undrawn():
        network = recipe.network()
    weights.put(network, weights.read(job / "weights.npz"))
    return recipe, network, weights.open_keras(job / "reader.keras", facts.get("reader", "the reader"))


def _write_saved_model(recipe: Recipe, network: keras.Model, reader: Any, target: pathlib.Path) -> dict[str, Any]:
    """A SavedModel with the recipe's endpoints; returns what `signature.json` says of them."""
    import tensorflow as tf

    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.track(reader)
    described = {}
    for name, (endpoint, specs) in recipe.endpoints(network, reader).items():
        specs = [tf.TensorSpec(spec.shape, spec.dtype, name=key) for key, spec in specs.items()]
        function = archive.add_endpoint(name, endpoint, input_signature=specs)
        outputs = function.get_concrete_function().structured_outputs
        described[name] = {
            "inputs": {spec.name: _described(spec) for spec in specs},
            "outputs": {key: _described(output) for key, output in outputs.items()},
        }
    archive.write_out(str(target), verbose=False)
    return described


def _write_tensors(network: keras.Model, reader: Any, target: pathlib.Path, format: str) -> dict[str, Any]:
    """The network alone, as `model.onnx` or `model.tflite`: logits, with labels probabilities too; or the value."""
    outputs = network.outputs[0]
    if reader.labels:
        named = {
            "logits": keras.layers.Identity(name="logits")(outputs),
            "probabilities": keras.layers.Softmax(name="probabilities")(outputs),
        }
    elif not hasattr(reader, "unscale"):
        named = {"logits": keras.layers.Identity(name="logits")(outputs)}
    else:
        value = keras.layers.Identity(name="value")(reader.unscale(outputs))
        named = {"scaled": keras.layers.Identity(name="scaled")(outputs), "value": value}
    model = keras.Model(network.inputs, named, name=network.name)
    sizes = [(1, *(64 if size is None else size for size in tensor.shape[1:])) for tensor in network.inputs]
    model([keras.ops.zeros(size, tensor.dtype) for size, tensor in zip(sizes, network.inputs, strict=True)])  # for ONNX
    if format == "onnx":
        _teach_erfc()
    model.export(str(target / MODELS[format]), format=format, verbose=False)
    cut = getattr(reader, "margin", 0) > 0  # then answers are of another size
    tensors = {
        "inputs": ({tensor.name: tensor for tensor in network.inputs}, ""),
        "outputs": (named, "answer_" if cut else ""),
    }
    described = {
        kind: {key: {**_described(one), "dimensions": dimensions(one.shape, prefix)} for key, one in found.items()}
        for kind, (found, prefix) in tensors.items()
    }
    if format == "onnx":
        _name_dimensions(target / MODELS[format], described)
    return {"serve_tensors": described}


def dimensions(shape: Sequence[int | None], prefix: str = "") -> list[int | str]:
    """Returns the dimensions of a tensor: numbers, and names of those that vary, such as "batch" and "height".

    Args:
        shape: of which None varies; the first is the batch.
        prefix: of the names behind the batch's, where they are not the sizes of the input.
    """
    names = ["height", "width", "channels"] if len(shape) == 4 else ["length", "width"]
    return [
        size if size is not None else "batch" if place == 0 else prefix + names[place - 1]
        for place, size in enumerate(shape)
    ]


def _name_dimensions(path: pathlib.Path, described: dict[str, dict[str, Any]]) -> None:
    """Gives the dimensions of an ONNX file's inputs and outputs the names that `signature.json` has."""
    import onnx

    model = onnx.load(path)
    for kind, values in (("inputs", model.graph.input), ("outputs", model.graph.output)):
        for value in values:
            known = described[kind][value.name]["dimensions"]
            for dimension, size in zip(value.type.tensor_type.shape.dim, known, strict=True):
                if isinstance(size, str):
                    dimension.dim_param = size
    onnx.save(model, path)


def _teach_erfc() -> None:
    """Has tf2onnx write 1 - erf(x) where TensorFlow's exact GELU has erfc(x), which ONNX has not."""
    from tf2onnx import handler, utils

    @handler.tf_op("Erfc")
    class _Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **_: Any) -> None:
            (value,), (answer,) = node.input, node.output
            shape, dtype = ctx.get_shape(answer), ctx.get_dtype(answer)
            ctx.remove_node(node.name)
            one = ctx.make_const(utils.make_name("one"), np.ones((), utils.map_onnx_to_numpy_type(dtype)))
            erf = ctx.make_node("Erf", [value], shapes=[shape], dtypes=[dtype])
            ctx.make_node("Sub", [one.output[0], erf.output[0]], outputs=[answer], shapes=[shape], dtypes=[dtype])


def _described(spec: Any) -> dict[str, Any]:
    dtype = spec.dtype if isinstance(spec.dtype, str) else spec.dtype.name
    return {"dtype": dtype, "shape": list(spec.shape)}


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ZooError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_status)
