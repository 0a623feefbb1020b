import functools
import typing
from collections.abc import Callable

import keras

import zoo.layers
from zoo.fields import choice, integer, real
from zoo.tasks import SequenceToSequence

if typing.TYPE_CHECKING:
    from zoo.decoding import Decoder


class Seq2Seq(
    SequenceToSequence,
    dataset="dates",
    target_length=16,
    epochs=8,
    batch_size=128,
    optimizer="adam",
    learning_rate=2e-3,
    beta_2=0.98,
    schedule="cosine",
    warmup=0.15,
    clip_norm=1.0,
):
    """Seq2seq with Bahdanau's attention: recurrent networks that write one text from another.

    Bahdanau, Cho & Bengio 2014, "Neural Machine Translation by Jointly Learning to Align and Translate". A network
    reads the text in both directions; another writes, and looks at every step where in the text it is.
    `seq2seq/rnnsearch` is the paper's: 80,442,000 parameters, drawn so that attention is uniform at the start, trained
    by Adadelta. (Its update gate is one minus theirs, as in Keras.) Plain `seq2seq` is a small one for the dates.

    With `scheduled_sampling` a network sees some of its own answers in training: a first pass gives them, so that a
    step costs up to twice as much.
    """

    tuned: typing.ClassVar[tuple[str, ...]] = ("dropout", "units", "embedding")

    variants: typing.ClassVar[dict[str, dict[str, typing.Any]]] = {
        "rnnsearch": {
            "dataset": "tfds:wmt14_translate/fr-en",
            "tokens": "words",
            "vocabulary": 30_000,
            "target_vocabulary": 30_000,
            "length": 51,
            "target_length": 51,
            "embedding": 620,
            "units": 1000,
            "attention": 1000,
            "readout": 500,
            "initialization": "bahdanau",
            "epochs": 5,
            "batch_size": 80,
            "optimizer": "adadelta",
            "learning_rate": 1.0,
            "schedule": "constant",
            "warmup": 0.0,
            "beam_width": 12,
        }
    }

    exports_attention: typing.ClassVar[bool] = True

    cell: str = choice(
        "gru", "lstm", "rnn", default="gru", search=("gru", "lstm"), help="recurrent cell; rnn: tanh without gates"
    )
    embedding: int = integer(
        default=64, legal=(1, 65_536), search=(32, 256), log=True, help="width of token embeddings"
    )
    units: int = integer(
        default=128,
        legal=(1, 65_536),
        search=(64, 512),
        log=True,
        help="units of the recurrent state, in each direction",
    )
    attention: int = integer(
        default=128, legal=(1, 65_536), search=(64, 512), log=True, help="units of Bahdanau's attention"
    )
    readout: int = integer(
        default=128, legal=(1, 65_536), search=(64, 512), log=True, help="maxout units before the output layer"
    )
    dropout: float = real(default=0.0, legal=(0, 0.95), search=(0.0, 0.5), help="dropout before the output layer")
    scheduled_sampling: float = real(
        default=0.0,
        legal=(0, 1),
        search=(0.0, 0.5),
        help="share of target tokens that are replaced by the network's own in training",
    )
    initialization: str = choice(
        "glorot", "bahdanau", default="glorot", help="bahdanau: small normal weights and uniform attention at the start"
    )

    def network(self) -> keras.Model:
        # Layers
        tokens, kernels, alignment, scores = self._initializers()
        source_embedding = keras.layers.Embedding(
            self.vocabulary, self.embedding, tokens(), mask_zero=True, name="source_embedding"
        )
        target_embedding = keras.layers.Embedding(
            self.target_vocabulary, self.embedding, tokens(), mask_zero=True, name="target_embedding"
        )
        encoder = keras.layers.Bidirectional(self._make_reader(kernels()), name="encoder")
        initial = keras.layers.Dense(self.units, "tanh", kernel_initializer=kernels(), name="initial")
        decoder = zoo.layers.AttentionRNN(
            self.units,
            self.attention,
            self.cell,
            kernel_initializer=kernels(),
            attention_initializer=alignment(),
            score_initializer=scores(),
            name="decoder",
        )
        readout = zoo.layers.Maxout(self.readout, kernel_initializer=kernels(), name="features")
        drop = keras.layers.Dropout(self.dropout, name="head_dropout")
        head = keras.layers.Dense(self.target_vocabulary, kernel_initializer=kernels(), dtype="float32", name="head")

        # Network
        source = keras.Input((None,), dtype="int32", name="source")
        annotations, *states = encoder(source_embedding(source))  # (batch, positions, 2 units)
        backward = states[len(states) // 2]  # (batch, units), which has read the whole text and ends at its start
        target = keras.Input((None,), dtype="int32", name="target")
        x = target_embedding(target)  # (batch, time, embedding)
        before, contexts, _ = decoder(x, annotations, initial(backward))
        seen = keras.layers.Concatenate(name="seen")([before, x, contexts])  # (batch, time, 3 units + embedding)
        logits = head(drop(readout(seen)))
        if not self.scheduled_sampling:
            return keras.Model([source, target], logits, name="seq2seq")
        return zoo.layers.ScheduledSampling([source, target], logits, rate=self.scheduled_sampling, name="seq2seq")

    def make_decoder(self, model: keras.Model) -> "Decoder":
        return _Decoder(model)

    def make_attention(self, model: keras.Model) -> keras.Model:
        return keras.Model(model.inputs, model.get_layer("decoder").output[2], name="attention")

    def _make_reader(self, kernel_initializer: keras.initializers.Initializer) -> keras.layers.Layer:
        kind = {"gru": keras.layers.GRU, "lstm": keras.layers.LSTM, "rnn": keras.layers.SimpleRNN}[self.cell]
        options = {"reset_after": False} if self.cell == "gru" else {}  # as the paper
        return kind(
            self.units,
            kernel_initializer=kernel_initializer,
            return_sequences=True,
            return_state=True,
            name=self.cell,
            **options,
        )

    def _initializers(self) -> tuple[Callable[[], keras.initializers.Initializer], ...]:
        """What makes the initializers of embeddings, kernels, the alignment's kernels and its scores."""
        if self.initialization == "glorot":
            glorot = keras.initializers.GlorotUniform
            return keras.initializers.RandomUniform, glorot, glorot, glorot
        small, smaller = (functools.partial(keras.initializers.RandomNormal, stddev=one) for one in (0.01, 0.001))
        return small, small, smaller, keras.initializers.Zeros


class _Decoder:
    """`zoo.decoding.Decoder` of a seq2seq: the text is read once, and what attention needs of it made once."""

    def __init__(self, model: keras.Model) -> None:
        encoder = model.get_layer("encoder").output
        self._encode = keras.Model(model.inputs[0], [encoder[0], model.get_layer("initial").output])
        self._embedding, self._rnn = model.get_layer("target_embedding"), model.get_layer("decoder")
        self._seen, self._readout = model.get_layer("seen"), model.get_layer("features")
        self._head = model.get_layer("head")

    def start(self, inputs: typing.Any, length: typing.Any) -> tuple[typing.Any, typing.Any]:
        annotations, state = self._encode(inputs)
        return self._rnn.begin(state), self._rnn.project(annotations, keras.ops.not_equal(inputs, 0))

    def step(
        self, tokens: typing.Any, index: typing.Any, state: typing.Any, memory: typing.Any
    ) -> tuple[typing.Any, typing.Any]:
        x = self._embedding(tokens)  # (n, embedding)
        context, after = self._rnn.step(x, state, memory)
        return self._head(self._readout(self._seen([state[0], x, context]))), after
