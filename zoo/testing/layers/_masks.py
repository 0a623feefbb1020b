"""Laws of masks."""

import keras
import numpy as np

from zoo.testing.layers._case import flat, number, numbers


class _Marked(keras.layers.Layer):
    """Attaches a mask to a tensor, as Masking and Embedding do."""

    def __init__(self):
        super().__init__(autocast=False)
        self.supports_masking = True

    def call(self, inputs):
        return inputs[0]

    def compute_mask(self, inputs, previous_mask):
        return inputs[1]


class _Seen(keras.layers.Layer):
    """Keeps the mask that comes with a tensor."""

    def __init__(self):
        super().__init__(autocast=False)
        self.supports_masking = True

    def call(self, inputs, mask=None):
        self.mask = mask
        return inputs


def check_masks(case, layer, masks, axes):
    name = case.name
    given = any(mask is not None for mask in masks)
    if not layer.supports_masking:
        assert not given, f"{name} is given a mask and would drop it: set supports_masking in __init__, and honour it"
        return
    if not given:
        first = case.arrays[case.first]
        if first.ndim != 3:  # only of (batch, time, features) is it plain what a mask looks like
            return
        made = np.ones(first.shape[:2], bool)
        made[1:, -1:] = first.shape[1] == 1
        _masked_answers(
            case, layer, case.arrays, [made if place == case.first else None for place in range(len(masks))]
        )
        return
    answers, valid = _masked_answers(case, layer, case.arrays, masks)
    hidden = [_hide(array, mask) for array, mask in zip(case.arrays, masks, strict=True)]
    others, _ = _masked_answers(case, layer, hidden, masks)
    case.agree(_only(others, valid), _only(answers, valid), "lets what its mask hides change its answers")
    longer = [_longer(*each) for each in zip(case.arrays, masks, axes, strict=True)]
    if any(len(mask[0]) != len(grown[0]) for mask, (_, grown) in zip(masks, longer, strict=True) if mask is not None):
        padded, _ = _masked_answers(case, layer, [array for array, _ in longer], [mask for _, mask in longer])
        padded = [
            output[tuple(slice(size) for size in answer.shape)] for output, answer in zip(padded, answers, strict=True)
        ]
        case.agree(_only(padded, valid), _only(answers, valid), "lets the length of its padding change its answers")


def _masked_answers(case, layer, arrays, masks):
    """(outputs, where each is valid or None), of inputs with their masks; the mask must go on with the output."""
    marked = [
        keras.ops.convert_to_tensor(array) if mask is None else _Marked()([array, mask])
        for array, mask in zip(arrays, masks, strict=True)
    ]
    with case.doing("when its input carries a mask"):
        outputs = flat(case.call(layer, marked, training=False))
    seen = []
    for output in outputs:
        look = _Seen()
        look(output)
        seen.append(None if look.mask is None else np.asarray(number(look.mask)))
    shapes = [tuple(output.shape) for output in outputs]
    mask = masks[case.first]  # Keras passes on that of the first input; the others' are used up
    kept = [mask is not None and shape[: mask.ndim] == mask.shape for shape in shapes]
    if kept[0]:
        assert seen[0] is not None, (
            f"{case.name} has supports_masking and drops its input's mask, although its output has the masked axes: "
            "let compute_mask return it, or leave supports_masking False"
        )
    for shape, one in zip(shapes, seen, strict=True):
        assert one is None or shape[: one.ndim] == one.shape, (
            f"{case.name} puts a mask of {one.shape} on an output of {shape}: correct compute_mask"
        )
    valid = [mask if one is None and keeps else one for keeps, one in zip(kept, seen, strict=True)]
    answers = numbers(outputs)
    for output, where in zip(answers, valid, strict=True):
        shown = output if where is None else output[where]
        assert np.isfinite(shown.astype("float64")).all(), f"{case.name} answers NaN or infinity under a mask"
    return answers, valid


def _only(answers, valid):
    return [output if where is None else output[where] for output, where in zip(answers, valid, strict=True)]


def _hide(array, mask):
    """Other content, of the kind that was there, where the mask is False."""
    if mask is None:
        return array
    other = np.flip(array, axis=tuple(range(mask.ndim)))
    if np.issubdtype(array.dtype, np.floating):
        other = 3 * other + 1
    elif array.dtype == bool:
        other = ~array
    return np.where(mask.reshape(mask.shape + (1,) * (array.ndim - mask.ndim)), array, other)


def _longer(array, mask, axes):
    """(array, mask), twice as long on the mask's last axis where that may be unknown; the new half is hidden."""
    if mask is None or mask.ndim - 1 not in axes:
        return array, mask
    axis = mask.ndim - 1
    grown = np.concatenate([mask, np.zeros_like(mask)], axis=axis)
    return _hide(np.concatenate([array, array], axis=axis), grown), grown
