"""Tokenizers and the reader of texts."""

import functools
import itertools
import json
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests import warm
from zoo.data.english import topics
from zoo.data.tokens import END, START, UNKNOWN
from zoo.errors import InputError
from zoo.readers.texts import TextReader
from zoo.readers.tokenizer import KINDS, REPLACEMENT, Tokenizer
from zoo.readers.vocabulary import learn

ODD = [
    "",
    " ",
    "  two  spaces ",
    "naïve ☃ snow",
    "a\n\n b\n",
    "tab\there",
    "\N{GRINNING FACE}",
    "\u2581 sign",
    "-" * 40,
]


@pytest.fixture(scope="module")
def paragraphs():
    """(paragraphs to learn from, held-out paragraphs)."""
    found = [part for text in topics().values() for part in text.split("\n\n")]
    return found[::8], found[1::16]


@pytest.fixture(scope="module")
def tokenizers(paragraphs):
    """{kind: one learned of the first paragraphs}."""
    return {kind: learn(paragraphs[0], kind, 600 if kind == "subwords" else None) for kind in KINDS}


@functools.cache
def compiled(function, spec):
    return tf.function(function, input_signature=[spec])


def encoded(tokenizer, texts):
    """A list of ids for each text."""
    return compiled(tokenizer.encode, tf.TensorSpec([None], tf.string))(tf.constant(texts, tf.string)).to_list()


def decoded(tokenizer, ids):
    return [
        text.decode() for text in tf.function(tokenizer.decode)(tf.ragged.constant(ids, tf.int32).to_tensor()).numpy()
    ]


# Laws of all kinds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_comes_back_but_for_unknown_tokens(kind, tokenizers, paragraphs):
    tokenizer, texts = tokenizers[kind], [*paragraphs[1], *ODD]
    ids = encoded(tokenizer, texts)
    known = [text for text, one in zip(texts, ids, strict=True) if UNKNOWN not in one]
    assert len(known) > len(texts) / 10
    for text, one, back in zip(texts, ids, decoded(tokenizer, ids), strict=True):
        assert one[-1] == END
        assert min(one) >= END
        assert max(one) < tokenizer.size
        assert (back == text) == (UNKNOWN not in one)
        assert back.count(REPLACEMENT) == one.count(UNKNOWN)


@pytest.mark.parametrize("kind", KINDS)
def test_a_text_is_read_alike_alone_and_among_others(kind, tokenizers):
    tokenizer = tokenizers[kind]
    assert encoded(tokenizer, ODD) == [encoded(tokenizer, [text])[0] for text in ODD]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_written_behind_the_end(kind, tokenizers):
    ids = np.array(encoded(tokenizers[kind], ["a class"])[0])
    padded = np.stack(
        [np.pad(ids, (0, 3)), np.concatenate([ids, ids[:3]]), np.concatenate([[1], ids, [0, 7]])[: len(ids) + 3]]
    )
    written = tf.function(tokenizers[kind].decode)(tf.constant(padded[:, None])).numpy()  # (3, 1)
    assert written.tolist() == [[b"a class"]] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_that_are_not_utf_8_are_the_replacement_character(kind, tokenizers):
    read = [encoded(tokenizers[kind], [text])[0] for text in (b"a\xffb", f"a{REPLACEMENT}b".encode())]
    assert read[0] == read[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_is_its_config(kind, tokenizers):
    tokenizer = tokenizers[kind]
    again = Tokenizer.from_config(json.loads(json.dumps(tokenizer.get_config())))
    assert encoded(again, ODD) == encoded(tokenizer, ODD)
    assert again.get_config() == tokenizer.get_config()


def test_ids_are_by_frequency_and_what_is_left_out_is_unknown():
    tokenizer = learn(["aab", "aac"], "characters", 6)
    assert tokenizer.tokens == ("a", "b")
    assert encoded(tokenizer, ["abc"]) == [[4, 5, UNKNOWN, END]]
    assert tokenizer.spelled([1, 4, 5, UNKNOWN, END, 0]) == ["<start>", "a", "b", REPLACEMENT, "<end>"]


def test_bytes_are_numbered_as_they_are():
    assert encoded(Tokenizer("bytes"), ["é\x00"]) == [[0xC3 + 4, 0xA9 + 4, 4, END]]


def test_words_are_the_same_wherever_they_stand():
    tokenizer = learn(["one two, two."], "words")
    assert set(tokenizer.tokens) == {" one", " two", ",", "."}
    (ids,) = encoded(tokenizer, ["two one"])
    assert ids[:-1] == encoded(tokenizer, ["one two"])[0][-2::-1]


# Subwords ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def library(paragraphs):
    """(a tokenizer, SentencePiece's own encoder of the same model)."""
    import sentencepiece

    made = []
    own = sentencepiece.SentencePieceTrainer.train

    def kept(**options):
        own(**options)
        made.append(options["model_writer"])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sentencepiece.SentencePieceTrainer, "train", kept)
        tokenizer = learn(paragraphs[0], "subwords", 1200)
    return tokenizer, sentencepiece.SentencePieceProcessor(model_proto=made[0].getvalue())


def together(ids):
    """`ids` with one UNKNOWN for several in a row, as SentencePiece has it."""
    runs = ((one, len(list(run))) for one, run in itertools.groupby(ids))
    return [one for one, count in runs for _ in range(1 if one == UNKNOWN else count)]


def test_held_out_words_have_the_pieces_that_sentencepiece_gives(library, paragraphs):
    tokenizer, theirs = library
    words = sorted({word for text in paragraphs[1] for word in text.split()} | {"☃☃snow☃", "x" * 50})
    assert len(words) > 1000
    ours = encoded(tokenizer, words)
    assert [together(ids[:-1]) for ids in ours] == theirs.encode(words)


def test_held_out_texts_have_the_best_sum_of_scores(library, paragraphs):
    """Whole texts may differ from SentencePiece's where two segmentations are equally good."""
    tokenizer, theirs = library
    scores = np.array([0.0] * 4 + list(tokenizer.scores))
    texts = [*paragraphs[1], *(text for text in ODD if "\u2581" not in text)]  # its sign for a space, no text to ours
    equal = 0
    for ids, expected in zip(encoded(tokenizer, texts), theirs.encode(texts), strict=True):
        found = together(ids[:-1])
        equal += found == expected
        assert scores[found].sum() == pytest.approx(scores[expected].sum(), abs=1e-3)
    assert equal > 0.95 * len(texts)


def test_few_texts_have_few_subwords():
    tokenizer = learn(["abab abab", "ba ba"], "subwords", 1000)
    assert 4 < tokenizer.size < 100
    assert decoded(tokenizer, encoded(tokenizer, ["abba"])) == ["abba"]


# What cannot be learned -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "size", "message"), [
    ("characters", 4, "leaves no room"),
    ("words", 3, "Give more than 4"),
    ("subwords", None, "need a size"),
    ("subwords", 7, "must be at least 17 for these texts"),
    ("letters", None, "must be one of characters, bytes, words, subwords"),
])  # fmt: skip
def test_a_vocabulary_that_cannot_be_is_named(kind, size, message):
    with pytest.raises(InputError, match=message):
        learn(["a text of ten letters", "and another"], kind, size)


@pytest.mark.parametrize("texts", [["a text of ten letters", "and another"], ["two\nlines", "two lines"]])
def test_subwords_need_an_id_for_each_character(texts):
    least = 4 + len(set("".join(texts)))
    assert set("".join(texts)) <= set(learn(texts, "subwords", least).tokens)
    with pytest.raises(InputError, match=f"at least {least} for these texts"):
        learn(texts, "subwords", least - 1)


# The reader -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [2, 3, 4, 9])
@pytest.mark.parametrize(("start", "end"), [(False, True), (True, True), (True, False)])
def test_a_text_is_framed_and_its_tokens_are_cut(length, start, end):
    reader = TextReader(Tokenizer("bytes"), length, target_length=3, start=start, end=end)
    texts = ["", "a", "abc"]
    tokens = [ids[:-1] for ids in encoded(reader.tokenizer, texts)]
    framed = [[START] * start + ids[: length - start - end] + [END] * end for ids in tokens]
    assert reader.encode(tf.constant(texts)).to_list() == framed
    assert reader.encode_targets(tf.constant(texts)).to_list() == [[*ids[:2], END] for ids in tokens]


@pytest.fixture
def reader(tokenizers):
    return TextReader(tokenizers["characters"], 8)


def test_texts_are_padded_with_zeros_to_the_longest(reader):
    names, ids = reader.read_raw(["abc", "", b"abcde"])
    assert names == ["#0", "#1", "#2"]
    assert ids.shape == (3, 6)
    assert ids.dtype == np.int32
    assert ids[1].tolist() == [END, 0, 0, 0, 0, 0]
    assert reader.read_raw([])[1].shape[0] == 0


@pytest.mark.parametrize(("bad", "message"), [
    (b"ab\xff", "#1 is not UTF-8 .byte 2."),
    ("abcdefgh", "#1 has 9 tokens, but the network takes 8"),
])  # fmt: skip
def test_a_text_that_cannot_be_read_whole_is_told_refused_or_left_out(bad, message, reader):
    with pytest.warns(UserWarning, match=message):
        names, ids = reader.read_raw(["a", bad])
    assert names == ["#0", "#1"]
    assert (ids[1] != 0).sum() <= 8
    with pytest.raises(InputError, match=message):
        reader.read_raw(["a", bad], strict=True)
    assert reader.read_raw(["a", bad, "b"], skip_bad=True)[0] == ["#0", "#2"]


def test_what_is_no_text_is_refused(reader):
    with pytest.raises(InputError, match=r"must be a str, or UTF-8 bytes\. Received: int as input #1"):
        reader.read_raw(["a", 7])


def test_a_path_is_a_file_of_lines_each_of_them_a_text(reader, tmp_path):
    path = tmp_path / "lines.txt"
    path.write_bytes(b"abc\r\n\nab\xff")
    with pytest.warns(UserWarning, match="lines.txt:3 is not UTF-8"):
        names, ids = reader.read_raw(["a", path, "b"])
    assert names == ["#0", f"{path}:1", f"{path}:2", f"{path}:3", "#2"]
    assert (ids[1] == reader.read_raw(["abc"])[1][0]).all()
    with pytest.raises(InputError, match=r"none\.txt cannot be read: No such file"):
        reader.read_raw([tmp_path / "none.txt"])
    assert reader.read_raw([tmp_path / "none.txt", "b"], skip_bad=True)[0] == ["#1"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "bytes"])
def test_out_of_vocabulary_tokens_are_those_that_read_as_unknown(kind, paragraphs):
    tokenizer = learn(["the cat sat on the mat, the dog too"], kind, 22 if kind == "subwords" else None)
    texts = ["", "the cat", "ß the ßcat ☃", "\u4e2d\u6587 mat", f"the {REPLACEMENT}", "  the  x"]
    ids = encoded(tokenizer, texts)
    found = tokenizer.out_of_vocabulary([text.encode() for text in texts], ids)
    for text, one, tokens in zip(texts, ids, found, strict=True):
        assert len(tokens) == one.count(UNKNOWN) - (text.count(REPLACEMENT)), text
        assert all(token in text for token in tokens), text
    assert found[2][0] == "ß"
    assert tokenizer.out_of_vocabulary([b"\xff\xc3\x9f"], encoded(tokenizer, [b"\xff\xc3\x9f"])) == [[]]


def test_out_of_vocabulary_tokens_are_counted_once_for_all_texts():
    reader = TextReader(Tokenizer("characters", "abc"), 8)
    with pytest.warns(UserWarning, match="^3 tokens of 2 texts are out of the vocabulary, such as 'ß'.$") as told:
        reader.read_raw(["abß", "a", "xay"])
    assert len(told) == 1
    with pytest.warns(UserWarning, match="^1 token of 1 text is out of the vocabulary, such as 'z'.$"):
        reader.read_raw(["z"])
    reader.read_raw(["abc", f"a{REPLACEMENT}"])  # what a masked language model is to find is no warning


@pytest.mark.filterwarnings("ignore:.*out of the vocabulary")
@pytest.mark.parametrize("kind", KINDS)
def test_a_reader_comes_back_from_its_file(kind, tokenizers, tmp_path):
    from zoo import runs

    reader = TextReader(tokenizers[kind], 5, labels=("ham", "spam"))
    runs.save_reader(reader, tmp_path / "reader.keras")
    again = keras.saving.load_model(tmp_path / "reader.keras", compile=False)
    assert again.labels == reader.labels
    assert again.writer is again.tokenizer
    with pytest.warns(UserWarning, match="takes 5"):
        assert (again.read_raw(ODD)[1] == reader.read_raw(ODD)[1]).all()
    pair = TextReader(tokenizers[kind], 12, tokenizers["bytes"])
    runs.save_reader(pair, tmp_path / "pair.keras")
    assert keras.saving.load_model(tmp_path / "pair.keras", compile=False).writer.kind == "bytes"


ALONE = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
texts = tf.constant([one.encode() for one in json.loads(sys.argv[2])])
found = {name: function(text=texts)["text"].numpy() for name, function in model.signatures.items()}
print(json.dumps({name: [one.decode() for one in texts] for name, texts in found.items()}))
"""


def there_and_back(reader):
    return lambda text: {"text": reader.writer.decode(reader.read_texts(text))}


@pytest.mark.slow
def test_an_export_reads_and_writes_where_there_is_only_tensorflow(tokenizers, tmp_path):
    archive = keras.export.ExportArchive()
    for kind, tokenizer in tokenizers.items():
        reader = TextReader(tokenizer, 1000)
        archive.track(reader)
        spec = tf.TensorSpec([None], tf.string, name="text")
        archive.add_endpoint(kind, there_and_back(reader), input_signature=[spec])
    archive.write_out(str(tmp_path / "export"), verbose=False)
    command = [sys.executable, "-I", "-c", ALONE, str(tmp_path / "export"), json.dumps(ODD)]
    said = warm.run(command, check=True, cwd=tmp_path).stdout
    found = json.loads(said.splitlines()[-1])
    for kind, tokenizer in tokenizers.items():
        assert found[kind] == decoded(tokenizer, encoded(tokenizer, ODD)), kind
