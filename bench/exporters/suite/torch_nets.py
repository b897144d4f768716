# SPDX-License-Identifier: Apache-2.0
"""Networks for tables, as they are written for PyTorch."""

import torch
from torch import nn
from torch.nn import functional

HOURS, DAYS, TERMINALS = 24, 7, 50


def mlp(width, activation, norm=None, dropout=0.0, out=1, head=None):
    layers = []
    for inner in (24, 12):
        layers += [nn.Linear(width, inner), *([norm(inner)] if norm else []), activation()]
        layers += [nn.Dropout(dropout)] if dropout else []
        width = inner
    return nn.Sequential(*layers, nn.Linear(width, out), *([head] if head else []))


class WideAndDeep(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.wide = nn.ModuleList(nn.Embedding(n, 1) for n in (HOURS, DAYS, TERMINALS))
        self.embeddings = nn.ModuleList(nn.Embedding(n, 4) for n in (HOURS, DAYS, TERMINALS))
        self.deep = mlp(features + 12, nn.ReLU)

    def forward(self, features, categories):
        embedded = [table(categories[:, i]) for i, table in enumerate(self.embeddings)]
        wide = sum(table(categories[:, i]) for i, table in enumerate(self.wide))
        return torch.sigmoid(self.deep(torch.cat([features, *embedded], 1)) + wide).squeeze(1)


class DeepFM(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Embedding(HOURS + DAYS + TERMINALS, 1)
        self.factors = nn.Embedding(HOURS + DAYS + TERMINALS, 4)
        self.deep = mlp(12, nn.ReLU)
        self.register_buffer("offsets", torch.tensor([0, HOURS, HOURS + DAYS]))

    def forward(self, categories):
        ids = categories + self.offsets
        factors = self.factors(ids)
        pairs = 0.5 * (factors.sum(1).pow(2) - factors.pow(2).sum(1)).sum(1, keepdim=True)
        return torch.sigmoid(self.first(ids).sum(1) + pairs + self.deep(factors.flatten(1)))


class DLRM(nn.Module):
    """Dot products of all pairs of a dense vector and of embeddings, each of which sums
    a bag of categories."""

    def __init__(self, features, bag=None):
        super().__init__()
        self.bag = bag
        self.bottom = nn.Sequential(nn.Linear(features, 16), nn.ReLU(), nn.Linear(16, 4), nn.ReLU())
        self.tables = nn.ModuleList((bag or nn.Embedding)(n, 4, **({"mode": "sum"} if bag else {})) for n in (HOURS, DAYS, TERMINALS))
        rows, columns = torch.tril_indices(4, 4, -1)
        self.register_buffer("rows", rows)
        self.register_buffer("columns", columns)
        self.top = nn.Sequential(nn.Linear(4 + 6, 16), nn.ReLU(), nn.Linear(16, 1))

    def forward(self, features, categories):
        dense = self.bottom(features)
        columns = categories.split(1, 1) if self.bag else categories.unbind(1)
        vectors = torch.stack([dense, *(table(c) for table, c in zip(self.tables, columns))], 1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))[:, self.rows, self.columns]
        return torch.sigmoid(self.top(torch.cat([dense, products], 1)))


class CrossNetwork(nn.Module):
    """Layers of DCN version 2, and two tasks over a mixture of experts."""

    def __init__(self, features):
        super().__init__()
        self.crosses = nn.ModuleList(nn.Linear(features, features) for _ in range(2))
        self.experts = nn.ModuleList(nn.Linear(features, 6) for _ in range(3))
        self.gates = nn.ModuleList(nn.Linear(features, 3) for _ in range(2))
        self.towers = nn.ModuleList(nn.Linear(6, 1) for _ in range(2))

    def forward(self, features):
        crossed = features
        for layer in self.crosses:
            crossed = features * layer(crossed) + crossed
        experts = torch.stack([functional.relu(expert(crossed)) for expert in self.experts], 1)
        mixed = [torch.einsum("be,bed->bd", torch.softmax(gate(crossed), 1), experts) for gate in self.gates]
        return tuple(torch.sigmoid(tower(x)) for tower, x in zip(self.towers, mixed))


class Autoencoder(nn.Module):
    """What it makes of its input, and by how much that is wrong."""

    def __init__(self, features):
        super().__init__()
        self.inner = nn.Sequential(nn.Linear(features, 6), nn.Tanh(), nn.Linear(6, 3))
        self.outer = nn.Sequential(nn.Linear(3, 6), nn.ELU(), nn.Linear(6, features))

    def forward(self, features):
        again = self.outer(self.inner(features))
        return again, ((again - features) ** 2).mean(1)


class Transformer(nn.Module):
    """PyTorch's own encoder over one token for each feature."""

    def __init__(self, features, **how):
        super().__init__()
        self.token = nn.Linear(1, 8)
        self.places = nn.Parameter(torch.randn(features, 8))
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, **how)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(8, 2)

    def forward(self, features):
        tokens = self.token(features.unsqueeze(-1)) + self.places
        return torch.softmax(self.head(self.encoder(tokens).mean(1)), -1)


class FTTransformer(nn.Module):
    """A token for each feature and category, and one whose end is the answer. Attention
    is written out, or PyTorch's own."""

    def __init__(self, features, fused):
        super().__init__()
        self.fused = fused
        self.weight = nn.Parameter(torch.randn(features, 8))
        self.bias = nn.Parameter(torch.randn(features, 8))
        self.answer = nn.Parameter(torch.randn(1, 1, 8))
        self.table = nn.Embedding(TERMINALS, 8)
        self.norms = nn.ModuleList(nn.LayerNorm(8) for _ in range(3))
        self.project, self.out = nn.Linear(8, 24), nn.Linear(8, 8)
        self.inner, self.outer = nn.Linear(8, 32), nn.Linear(16, 8)
        self.head = nn.Linear(8, 1)

    def attend(self, tokens):
        heads = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.project(tokens).chunk(3, -1))
        query, key, value = heads
        if self.fused:
            mixed = functional.scaled_dot_product_attention(query, key, value)
        else:
            mixed = torch.softmax(query @ key.transpose(-1, -2) / 2, -1) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))

    def forward(self, features, categories):
        numbers = features.unsqueeze(-1) * self.weight + self.bias
        answer = self.answer.expand(features.shape[0], -1, -1)
        tokens = torch.cat([answer, numbers, self.table(categories)], 1)
        tokens = tokens + self.attend(self.norms[0](tokens))
        value, gate = self.inner(self.norms[1](tokens)).chunk(2, -1)
        tokens = tokens + self.outer(value * functional.gelu(gate))
        return self.head(functional.relu(self.norms[2](tokens[:, 0])))


class Cleaned(nn.Module):
    """Features are filled in, scaled, bounded and squeezed inside the graph."""

    def __init__(self, features):
        super().__init__()
        self.register_buffer("mean", torch.randn(features))
        self.register_buffer("deviation", torch.rand(features) + 0.5)
        self.linear = nn.Linear(features, 3)

    def forward(self, features):
        known = torch.where(torch.isnan(features), self.mean, features)
        scaled = torch.clamp((known - self.mean) / self.deviation, -5, 5)
        return functional.log_softmax(self.linear(torch.sign(scaled) * torch.log1p(scaled.abs())), 1)


class Convolution(nn.Module):
    """Over the last steps of two series."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(2, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
            nn.Conv1d(8, 4, 3, stride=2, groups=2), nn.SiLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 1),
        )  # fmt: skip

    def forward(self, series):
        return self.layers(series)


class Image(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(4, 4, 3, groups=4), nn.Hardswish(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3),
        )  # fmt: skip

    def forward(self, image):
        return self.layers(image)


class Sequence(nn.Module):
    """The mean of the embeddings of what came last, with zero for nothing."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(TERMINALS, 8, padding_idx=0)
        self.head = nn.Linear(8, 4)

    def forward(self, visited):
        mask = (visited != 0).unsqueeze(-1).float()
        mean = (self.table(visited) * mask).sum(1) / mask.sum(1).clamp(min=1)
        scores = self.head(mean)
        return scores, torch.argmax(scores, 1)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.cell, self.head = kind(2, 8, batch_first=True), nn.Linear(8, 1)

    def forward(self, series):
        steps, _ = self.cell(series.transpose(1, 2))
        return self.head(steps[:, -1])
