# SPDX-License-Identifier: Apache-2.0
"""PyTorch's networks, by both of its exporters.

Most are not trained: with their first weights they answer as differently as they ever
will, and what is compared is the arithmetic. The first learns, as an example should.
"""

import io
import logging

import numpy as np
import onnx
import torch
from torch import nn

from . import torch_nets as nets
from .case import BATCHED, Case

SCRIPT, DYNAMO = "script", "dynamo"

ACTIVATIONS = {
    "mlp_leaky_relu": nn.LeakyReLU,
    "mlp_softplus": nn.Softplus,
    "mlp_selu": nn.SELU,
    "mlp_prelu": nn.PReLU,
    "mlp_hard_sigmoid": nn.Hardsigmoid,
}


def cases(data):
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    torch.set_num_threads(2)
    torch.manual_seed(1)
    inputs = sources(data)
    for name, net, names in models(inputs["features"].shape[1], data):
        # Of activations that both write as one operator, one exporter's graph is enough.
        for exporter in (SCRIPT,) if name in ACTIVATIONS else (SCRIPT, DYNAMO):
            yield case(f"torch_{name}_{exporter}", net, {n: inputs[n] for n in names}, exporter)
    dense = nets.mlp(inputs["features"].shape[1], nn.GELU, norm=nn.LayerNorm)
    for exporter, opset in ((SCRIPT, 12), (SCRIPT, 20), (DYNAMO, 18), (DYNAMO, 23)):
        yield case(f"torch_opset{opset}_{exporter}", dense, {"features": inputs["features"]}, exporter, opset)


def sources(data):
    """The inputs that there are: the payments of the test, scaled, and what is made of
    them."""
    rows, known = data.categories.rows, data.categories.train
    features = (rows[:, :8] - known[:, :8].mean(0)) / known[:, :8].std(0)
    generator = np.random.default_rng(3)
    count = len(rows)
    gaps = features.copy()
    gaps[generator.random(gaps.shape) < 0.1] = np.nan
    return {
        "features": features,
        "gaps": gaps,
        "categories": np.column_stack([rows[:, 1], generator.integers(0, nets.DAYS, count), rows[:, 8]]).astype(np.int64),
        "series": generator.standard_normal((count, 2, 12)).astype(np.float32),
        "image": generator.standard_normal((count, 1, 10, 10)).astype(np.float32),
        "visited": generator.integers(0, nets.TERMINALS, (count, 6)) * (generator.random((count, 6)) < 0.7),
    }


def models(width, data):
    """Name, network and inputs."""
    alone = ["features"]
    both = ["features", "categories"]
    yield "mlp", trained(nets.mlp(width, nn.ReLU, head=nn.Sigmoid()), data), alone
    yield "mlp_gelu", nets.mlp(width, nn.GELU, out=3, head=nn.Softmax(-1)), alone
    yield "mlp_silu", nets.mlp(width, nn.SiLU, norm=nn.LayerNorm), alone
    yield "mlp_mish", nets.mlp(width, nn.Mish), alone
    yield "mlp_norm", moved(nets.mlp(width, nn.ReLU, norm=nn.BatchNorm1d, dropout=0.2), width), alone
    for name, activation in ACTIVATIONS.items():
        yield name, nets.mlp(width, activation), alone
    yield "wide_and_deep", nets.WideAndDeep(width), both
    yield "deepfm", nets.DeepFM(), ["categories"]
    yield "dlrm", nets.DLRM(width), both
    yield "dlrm_bags", nets.DLRM(width, nn.EmbeddingBag), both
    yield "cross", nets.CrossNetwork(width), alone
    yield "autoencoder", nets.Autoencoder(width), alone
    yield "transformer", nets.Transformer(width), alone
    yield "transformer_gelu", nets.Transformer(width, norm_first=True, activation="gelu"), alone
    yield "ft_transformer", nets.FTTransformer(width, fused=False), both
    yield "ft_transformer_fused", nets.FTTransformer(width, fused=True), both
    yield "cleaned", nets.Cleaned(width), ["gaps"]
    yield "convolution", nets.Convolution(), ["series"]
    yield "image", nets.Image(), ["image"]
    yield "sequence", nets.Sequence(), ["visited"]
    for kind in (nn.GRU, nn.LSTM):
        yield kind.__name__.lower(), nets.Recurrent(kind), ["series"]


def moved(net, width):
    """Gives batch normalisations a mean and a variance that are not zero and one."""
    net.train()
    with torch.no_grad():
        for _ in range(20):
            net(torch.randn(64, width) * 2 + 0.5)
    return net


def trained(net, data):
    table = data.payments
    rows = torch.from_numpy((table.train - table.train.mean(0)) / table.train.std(0))
    truth = torch.from_numpy(table.truth).float().unsqueeze(1)
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy(net(rows), truth).backward()
        optimizer.step()
    return net


def case(name, net, inputs, exporter, opset=None):
    net.eval()
    values = tuple(torch.from_numpy(value) for value in inputs.values())
    with torch.no_grad():
        answer = net(*values)
    answers = [part.numpy() for part in (answer if isinstance(answer, tuple) else (answer,))]
    # A name that a parameter or an inner graph has too would make the newer exporter write
    # an invalid graph: it does not tell them apart.
    outputs = dict(zip(["prediction", "second"], answers))
    graph = {SCRIPT: scripted, DYNAMO: traced}[exporter](net, values, [*inputs], [*outputs], opset)
    scale = max(1.0, *(float(np.abs(part).max()) for part in answers))
    return Case(name, "torch", graph, inputs, outputs, config=BATCHED, scale=4 * scale, fixture=True)


def scripted(net, values, names, results, opset):
    """By TorchScript, the older exporter."""
    file = io.BytesIO()
    rows = {name: {0: "rows"} for name in names + results}
    how = {"input_names": names, "output_names": results, "dynamic_axes": rows}
    torch.onnx.export(net, values, file, dynamo=False, opset_version=opset or 17, **how)
    return onnx.load_from_string(file.getvalue())


def traced(net, values, names, results, opset):
    """By torch.export, the newer one."""
    rows = torch.export.Dim("rows")
    shapes = tuple({0: rows} for _ in values)
    how = {"input_names": names, "output_names": results, "dynamic_shapes": shapes, "opset_version": opset}
    return torch.onnx.export(net, values, dynamo=True, verbose=False, **how).model_proto
