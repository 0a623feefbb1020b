"""Keras's own conformance test."""

import keras


def keras_case():
    from keras.src import testing  # Keras's own conformance test is private; this is the one place that uses it

    class Case(testing.TestCase):
        def runTest(self):
            """Lets the class be made without a test method's name."""

        def run_class_serialization_test(self, instance, custom_objects=None):
            """Keras's writes the config as plain JSON, which a layer held as an argument is not; ours serialised it."""
            if not any(isinstance(value, keras.layers.Layer) for value in keras.tree.flatten(instance.get_config())):
                super().run_class_serialization_test(instance, custom_objects)

    return Case()


def run_layer_test(case, shape, expected):
    made = {"layer_cls": case.cls, "init_kwargs": dict(case.arguments)}
    if any(isinstance(value, keras.layers.Layer) for value in keras.tree.flatten(dict(case.arguments))):
        made = {"layer_cls": case.layer, "init_kwargs": {}}  # a function that copies them
    if isinstance(case.inputs, dict):
        data = {
            "input_shape": {f"{name}_shape": array.shape for name, array in case.inputs.items()},
            "input_dtype": {f"{name}_shape": array.dtype.name for name, array in case.inputs.items()},
        }
    elif shape is not None:
        data = {"input_shape": shape}
    else:
        data = {"input_data": keras.tree.map_structure(keras.ops.convert_to_tensor, case.inputs)}
    _, keywords = case.structure
    # it cannot train on lists, nor hand call_kwargs on under mixed precision; we did
    expected = {"run_training_check": False, "run_mixed_precision_check": not keywords, **expected}
    with case.doing("in Keras's run_layer_test"):
        keras_case().run_layer_test(**made, **data, call_kwargs=keywords, **expected)
