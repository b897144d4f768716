// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/gemm"
)

// networkWidths are those of the small network, with a ReLU after each layer.
var networkWidths = []int{64, 128, 64, 32}

// networkRows are the batch sizes of the small network.
var networkRows = []int{1, 4, 64}

// layer is a layer of the small network.
type layer struct {
	k, n          int
	weights, bias []float32
}

func (l *Lab) layers() (layers []layer) {
	r := l.random()
	for i, n := range networkWidths[1:] {
		k := networkWidths[i]
		layers = append(layers, layer{k, n, normal(r, k*n, math.Sqrt(2/float64(k))), normal(r, n, 0.1)})
	}
	return layers
}

// network is the small network.
func (l *Lab) network() (*onnx.Model, error) {
	b := onnx.NewBuilder("network")
	b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(int64(networkWidths[0])))
	value := "x"
	for i, y := range l.layers() {
		weights, bias, sum, out := fmt.Sprintf("w%d", i), fmt.Sprintf("b%d", i), fmt.Sprintf("s%d", i), fmt.Sprintf("y%d", i)
		b.Initializer(onnx.TensorOf(weights, y.weights, int64(y.k), int64(y.n)))
		b.Initializer(onnx.TensorOf(bias, y.bias, int64(y.n)))
		b.Node("Gemm", []string{value, weights, bias}, []string{sum})
		b.Node("Relu", []string{sum}, []string{out})
		value = out
	}
	b.Output(value, tensor.FP32, onnx.Symbol("batch"), onnx.Extent(int64(networkWidths[len(networkWidths)-1])))
	return b.Model()
}

// narrowRun is a whole run on a CPU with less.
const narrowRun = "engine at avx2"

// bareNetwork is the network by calls of the kernels alone, whose outputs must be those
// of the peer.
func (l *Lab) bareNetwork(rows int, other *subject) (run func() error, err error) {
	x := normal(l.random(), rows*networkWidths[0], 1)
	var packed []*gemm.Packed
	var epilogues []*gemm.Epilogue
	var values [][]float32
	var scratch gemm.Scratch
	for _, y := range l.layers() {
		w := gemm.Pack(y.k, y.n, y.weights, y.n, false)
		scratch.Reserve(rows, w)
		packed = append(packed, w)
		epilogues = append(epilogues, &gemm.Epilogue{Bias: y.bias, Activation: gemm.Relu})
		values = append(values, make([]float32, rows*y.n))
	}
	run = func() error {
		in := x
		for i, w := range packed {
			gemm.Gemm(rows, in, w.K(), w, values[i], w.N(), epilogues[i], &scratch)
			in = values[i]
		}
		return nil
	}
	want, err := other.outputsOf(0)
	if err != nil {
		return nil, err
	}
	return run, errors.Join(run(), agree(widened(values[len(values)-1]), want, outputTolerance))
}

// Networks measures whole runs of a small network of 1, 4 and 64 rows: ours with its
// Bind, the peer's without.
func Networks(ctx context.Context, l *Lab) (values []float64, details any, err error) {
	m, err := l.network()
	if err != nil {
		return nil, nil, err
	}
	p, err := l.both(ctx, "network", m, l.networkInputs(1))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	var cases []Case
	for _, rows := range networkRows {
		name := fmt.Sprintf("network/rows=%d", rows)
		if err := p.rebind(l.networkInputs(rows)); err != nil {
			return nil, cases, err
		}
		sum, err := p.agree(outputTolerance)
		if err != nil {
			return nil, cases, fmt.Errorf("%s: %w", name, err)
		}
		bare, err := l.bareNetwork(rows, p.other)
		if err != nil {
			return nil, cases, fmt.Errorf("%s: %w", name, err)
		}
		r, c, err := l.measure(ctx, name, "ns/row", p.other.contender(peer, rows),
			turns.Contender{Name: ours, Run: p.native.bindAndRun, Work: float64(rows)},
			turns.Contender{Name: narrowRun, Run: p.native.bindAndRun, Work: float64(rows), Around: atAVX2},
			turns.Contender{Name: kernel, Run: bare, Work: float64(rows)})
		if err != nil {
			return nil, cases, err
		}
		c.ratio(r, peer, ours)
		c.also(r, "onnxruntime over engine at avx2", peer, narrowRun)
		c.also(r, "onnxruntime over kernel", peer, kernel)
		c.Checksum = sum
		cases = append(cases, c)
		values = append(values, c.Value.Median)
	}
	return values, cases, nil
}

func (l *Lab) networkInputs(rows int) inputs {
	return inputs{floats("x", normal(l.random(), rows*networkWidths[0], 1), rows, networkWidths[0])}
}
