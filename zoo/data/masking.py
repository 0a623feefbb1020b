"""Tokens hidden at random, for networks that learn to fill them in."""

from zoo.data._tensorflow import Tensor, tensorflow
from zoo.data.tokens import SPECIAL, UNKNOWN


def hide_tokens(ids: Tensor, seed: Tensor, *, size: int, rate: float, mask: int = UNKNOWN) -> tuple[Tensor, Tensor]:
    """(ids with some hidden, booleans that are true where a token was chosen), both (batch, tokens).

    A token is chosen with the probability `rate`; of those 80 % are hidden, which is to be read as `mask`, 10 % are
    replaced by any token, 10 % stay as they are (Devlin et al. 2019). Padding, START, END, UNKNOWN and `mask` are never
    chosen.

    Args:
        ids: int32 (batch, tokens).
        seed: an integer pair; equal pairs choose alike.
        size: how many ids there are.
        mask: the id that hides a token.
    """
    tf = tensorflow()

    seeds = tf.random.split(tf.convert_to_tensor(seed, tf.int64), 3)
    shape = tf.shape(ids)
    chosen = (tf.random.stateless_uniform(shape, seeds[0]) < rate) & (ids >= SPECIAL) & (ids != mask)
    fate = tf.random.stateless_uniform(shape, seeds[1])
    other = tf.random.stateless_uniform(shape, seeds[2], minval=SPECIAL, maxval=size, dtype=ids.dtype)
    changed = tf.where(fate < 0.8, mask, tf.where(fate < 0.9, other, ids))
    return tf.where(chosen, changed, ids), chosen
