"""The networks of benchmarks/sequences.py as a PyTorch user writes them; run, it trains one whenever it is asked.

python benchmarks/_torch_sequences.py seq2seq eager     (or compiled)
"""

import sys

import torch
from _torch_networks import main
from torch import nn

MODES = ("eager", "compiled")


class Translator(nn.Module):
    """`torch.nn.Transformer` between embeddings and an output layer."""

    def __init__(self, vocabulary=1000, width=256, heads=8, depth=4, hidden=1024, length=64):
        super().__init__()
        self.source, self.target = nn.Embedding(vocabulary, width), nn.Embedding(vocabulary, width)
        self.places = nn.Parameter(torch.randn(length, width) * 0.02)
        self.body = nn.Transformer(width, heads, depth, depth, hidden, dropout=0.0, batch_first=True, norm_first=True)
        self.head = nn.Linear(width, vocabulary)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(length))

    def forward(self, source, target):
        padding = source == 0
        x = self.body(
            self.source(source) + self.places,
            self.target(target) + self.places,
            tgt_mask=self.mask,
            tgt_is_causal=True,
            src_key_padding_mask=padding,
            memory_key_padding_mask=padding,
        )
        return self.head(x)


class Seq2Seq(nn.Module):
    """The attention decoder of PyTorch's tutorial on translation: a loop over the steps, attention and all."""

    def __init__(self, vocabulary=2000, embedding=128, units=256):
        super().__init__()
        self.source, self.target = nn.Embedding(vocabulary, embedding), nn.Embedding(vocabulary, embedding)
        self.encoder = nn.GRU(embedding, units, batch_first=True, bidirectional=True)
        self.initial = nn.Linear(units, units)
        self.query, self.key, self.score = nn.Linear(units, units), nn.Linear(2 * units, units), nn.Linear(units, 1)
        self.decoder = nn.GRU(embedding + 2 * units, units, batch_first=True)
        self.head = nn.Linear(units, vocabulary)

    def forward(self, source, target):
        annotations, last = self.encoder(self.source(source))
        state = torch.tanh(self.initial(last[1:]))  # (1, batch, units)
        padding = (source == 0)[..., None]
        logits = []
        for x in self.target(target).split(1, dim=1):
            scores = self.score(torch.tanh(self.query(state.transpose(0, 1)) + self.key(annotations)))
            weights = torch.softmax(scores.masked_fill(padding, -1e9), dim=1)
            context = torch.bmm(weights.transpose(1, 2), annotations)
            answer, state = self.decoder(torch.cat([x, context], dim=-1), state)
            logits.append(self.head(answer))
        return torch.cat(logits, dim=1)


NETWORKS = {"transformer": (Translator, 1000, (32, 64)), "seq2seq": (Seq2Seq, 2000, (64, 32))}


def make_step(name, mode):
    """A callable that trains a network on a batch."""
    make, vocabulary, shape = NETWORKS[name]
    model = make()
    source, target, labels = (torch.randint(4, vocabulary, shape) for _ in range(3))
    if mode == "compiled":
        model = torch.compile(model)
    optimizer, loss = torch.optim.Adam(model.parameters(), 1e-4), nn.CrossEntropyLoss(ignore_index=0)

    def step():
        optimizer.zero_grad()
        loss(model(source, target).flatten(0, 1), labels.flatten()).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main(make_step, *sys.argv[1:])
