import keras

from zoo.layers import _checks


@keras.saving.register_keras_serializable("zoo")
class Maxout(keras.layers.Layer):
    """The largest of several linear functions: a convex activation that is learned.

    y_i = max_j (x . w_ij + b_ij), over j = 1 ... pieces

    Args:
        units: features of the output.
        pieces: linear functions a unit; 1 is a dense layer.
        use_bias: whether b is there.
        kernel_initializer, bias_initializer: of w and b.
        kernel_regularizer: of w.

    Call arguments:
        inputs: a tensor.

    Input shape: (batch, ..., features).
    Output shape: (batch, ..., units).

    Example:

    >>> Maxout(4, pieces=3)(keras.ops.ones((2, 5))).shape == (2, 4)
    True

    Reference: Goodfellow, Warde-Farley, Mirza, Courville & Bengio 2013, "Maxout Networks", section 3.
    """

    def __init__(
        self,
        units,
        pieces=2,
        use_bias=True,
        kernel_initializer="glorot_uniform",
        bias_initializer="zeros",
        kernel_regularizer=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.units = _checks.whole("units", units)
        self.pieces = _checks.whole("pieces", pieces)
        self.use_bias = _checks.flag("use_bias", use_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)

    def build(self, input_shape):
        features = _checks.known("Maxout", input_shape, -1)
        self.kernel = self.add_weight(
            name="kernel",
            shape=(features, self.units * self.pieces),
            initializer=self.kernel_initializer,
            regularizer=self.kernel_regularizer,
        )
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias", shape=(self.units * self.pieces,), initializer=self.bias_initializer
            )

    def call(self, inputs):
        lines = keras.ops.matmul(inputs, self.kernel)  # (batch, ..., units * pieces)
        if self.use_bias:
            lines = lines + self.bias
        # one slice of `units` a piece: a maximum of slices is quicker than one over a short last axis
        pieces = keras.ops.split(lines, self.pieces, axis=-1)  # (batch, ..., units) each
        largest = pieces[0]
        for piece in pieces[1:]:
            largest = keras.ops.maximum(largest, piece)
        return largest

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {
            **super().get_config(),
            "units": self.units,
            "pieces": self.pieces,
            "use_bias": self.use_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
        }
