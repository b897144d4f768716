// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"context"
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/bench/kernels/turns"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
	"github.com/millrace-ml/millrace/kernels/quant"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// operatorRows is the batch size of the models of one operator.
const operatorRows = 64

// operatorCase is a model of one operator, with the kernel that it is made of.
type operatorCase struct {
	name  string
	model func() (*onnx.Model, error)
	sets  []inputs
	run   func() error
	// tolerance is how far outputs may lie apart.
	tolerance float64
}

// Operators measures models of one operator on 64 rows, whole runs against the peer:
// LayerNorm of 768 columns, embedding bags of 20 rows out of 100,000 of 32 columns, f32
// to bf16, f32 to 8 bits, and the 10 largest of 1000.
func Operators(ctx context.Context, l *Lab) ([]float64, any, error) {
	var cases []Case
	var values []float64
	for _, o := range l.operatorCases() {
		c, err := l.operator(ctx, &o)
		if err != nil {
			return nil, cases, fmt.Errorf("%s: %w", o.name, err)
		}
		cases = append(cases, c)
		values = append(values, c.Value.Median)
	}
	return values, cases, nil
}

func (l *Lab) operatorCases() []operatorCase {
	return []operatorCase{l.layerNorm(), l.embeddingBag(), l.toBF16(), l.quantize(), l.topK()}
}

func (l *Lab) operator(ctx context.Context, o *operatorCase) (c Case, err error) {
	m, err := o.model()
	if err != nil {
		return Case{}, err
	}
	p, err := l.both(ctx, "operator", m, o.sets...)
	if err != nil {
		return Case{}, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	sum, err := p.agree(o.tolerance)
	if err != nil {
		return Case{}, err
	}
	r, c, err := l.measure(ctx, o.name, "ns/row", p.native.contender(ours, operatorRows), p.other.contender(peer, operatorRows),
		turns.Contender{Name: kernel, Run: o.run, Work: operatorRows})
	if err != nil {
		return Case{}, err
	}
	c.ratio(r, peer, ours)
	c.also(r, "onnxruntime over kernel", peer, kernel)
	c.Checksum = sum
	return c, nil
}

func (l *Lab) layerNorm() operatorCase {
	const cols = 768
	r := l.random()
	x, gamma, beta := normal(r, operatorRows*cols, 1), normal(r, cols, 1), normal(r, cols, 1)
	out := make([]float32, len(x))
	return operatorCase{
		name: "layernorm/cols=768", tolerance: outputTolerance,
		sets: []inputs{{floats("x", x, operatorRows, cols)}},
		run: func() error {
			act.LayerNorm(out, x, operatorRows, cols, gamma, beta, 1e-5)
			return nil
		},
		model: func() (*onnx.Model, error) {
			b := onnx.NewBuilder("layernorm")
			b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(cols))
			b.Initializer(onnx.TensorOf("gamma", gamma, cols))
			b.Initializer(onnx.TensorOf("beta", beta, cols))
			b.Node("LayerNormalization", []string{"x", "gamma", "beta"}, []string{"y"}, onnx.FloatAttribute("epsilon", 1e-5))
			b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(cols))
			return b.Model()
		},
	}
}

// bagSets is how many batches of indices come in turn, so that the rows that they look
// up are not those of the batch before.
const bagSets = 64

func (l *Lab) embeddingBag() operatorCase {
	const entries, dim, bag = 100_000, 32, 20
	r := l.random()
	table, out := normal(r, entries*dim, 1), make([]float32, operatorRows*dim)
	o := operatorCase{name: "embedding bag/rows=100000/dim=32/bag=20", tolerance: outputTolerance}
	var lists [][]int64
	for range bagSets {
		indices := make([]int64, operatorRows*bag)
		for i := range indices {
			indices[i] = r.Int64N(entries)
		}
		lists = append(lists, indices)
		o.sets = append(o.sets, inputs{tensorOf("indices", tensor.Int64, indices, []int{operatorRows, bag})})
	}
	at := 0
	o.run = func() error {
		at = (at + 1) % bagSets
		return vec.EmbeddingBags(out, table, dim, lists[at], bag, nil, vec.BagSum)
	}
	o.model = func() (*onnx.Model, error) {
		b := onnx.NewBuilder("embedding_bag")
		b.Input("indices", tensor.Int64, onnx.Symbol("batch"), onnx.Extent(bag))
		b.Initializer(onnx.TensorOf("table", table, entries, dim))
		b.Initializer(onnx.TensorOf("axes", []int64{1}, 1))
		b.Node("Gather", []string{"table", "indices"}, []string{"rows"}, onnx.IntAttribute("axis", 0))
		b.Node("ReduceSum", []string{"rows", "axes"}, []string{"y"}, onnx.IntAttribute("keepdims", 0))
		b.Output("y", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(dim))
		return b.Model()
	}
	return o
}

// convertCols is the width of the rows that are converted.
const convertCols = 1024

func (l *Lab) toBF16() operatorCase {
	x, out := normal(l.random(), operatorRows*convertCols, 1), make([]uint16, operatorRows*convertCols)
	return operatorCase{
		name: "f32 to bf16/cols=1024",
		sets: []inputs{{floats("x", x, operatorRows, convertCols)}},
		run: func() error {
			vec.F32ToBF16(out, x)
			return nil
		},
		model: func() (*onnx.Model, error) {
			b := onnx.NewBuilder("to_bf16")
			b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(convertCols))
			b.Node("Cast", []string{"x"}, []string{"y"}, onnx.IntAttribute("to", int64(onnx.ElemBFloat16)))
			b.Output("y", tensor.BF16, onnx.Symbol("batch"), onnx.Extent(convertCols))
			return b.Model()
		},
	}
}

func (l *Lab) quantize() operatorCase {
	const scale, zero = 0.03, 128
	x, out := normal(l.random(), operatorRows*convertCols, 1), make([]uint8, operatorRows*convertCols)
	return operatorCase{
		name: "f32 to uint8/cols=1024",
		sets: []inputs{{floats("x", x, operatorRows, convertCols)}},
		run: func() error {
			quant.QuantizeU8(out, x, scale, zero)
			return nil
		},
		model: func() (*onnx.Model, error) {
			b := onnx.NewBuilder("quantize")
			b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(convertCols))
			b.Initializer(onnx.TensorOf("scale", []float32{scale}))
			b.Initializer(onnx.TensorOf("zero", []uint8{zero}))
			b.Node("QuantizeLinear", []string{"x", "scale", "zero"}, []string{"y"})
			b.Output("y", tensor.Uint8, onnx.Symbol("batch"), onnx.Extent(convertCols))
			return b.Model()
		},
	}
}

func (l *Lab) topK() operatorCase {
	const cols, k = 1000, 10
	x := normal(l.random(), operatorRows*cols, 1)
	values, indices := make([]float32, operatorRows*k), make([]int64, operatorRows*k)
	return operatorCase{
		name: "top 10 of 1000",
		sets: []inputs{{floats("x", x, operatorRows, cols)}},
		run: func() error {
			vec.TopK(values, indices, x, operatorRows, cols, k, true, true)
			return nil
		},
		model: func() (*onnx.Model, error) {
			b := onnx.NewBuilder("top_k")
			b.Input("x", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(cols))
			b.Initializer(onnx.TensorOf("k", []int64{k}, 1))
			b.Node("TopK", []string{"x", "k"}, []string{"values", "indices"})
			b.Output("values", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(k))
			b.Output("indices", tensor.Int64, onnx.Symbol("batch"), onnx.Extent(k))
			return b.Model()
		},
	}
}
