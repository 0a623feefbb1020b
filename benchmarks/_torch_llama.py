"""The network of benchmarks/pretrained.py in transformers; run, it trains or decodes whenever it is asked.

python benchmarks/_torch_llama.py step:30 eager     (or compiled; decode:30 decodes)
"""

import sys

import torch
from _torch_networks import main
from transformers import LlamaConfig, LlamaForCausalLM

SIZES = {
    "vocab_size": 49_152,
    "hidden_size": 576,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
"""SmolLM2-135M, but for its 30 layers."""


def make_step(name, mode):
    """A callable that trains on 1 x 64 tokens, or writes 32 tokens after 8, greedily and with a cache."""
    what, _, layers = name.partition(":")
    model = LlamaForCausalLM(LlamaConfig(**SIZES, num_hidden_layers=int(layers)))
    forward = torch.compile(model) if mode == "compiled" else model
    if what == "decode":
        prompt = torch.randint(4, SIZES["vocab_size"], (1, 8))
        given = {"attention_mask": torch.ones_like(prompt), "pad_token_id": 0, "do_sample": False}
        return lambda: model.generate(prompt, min_new_tokens=32, max_new_tokens=32, **given)
    ids = torch.randint(4, SIZES["vocab_size"], (1, 65))
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-4), torch.nn.CrossEntropyLoss()

    def step():
        optimizer.zero_grad()
        loss(forward(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten()).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main(make_step, *sys.argv[1:])
