// SPDX-License-Identifier: Apache-2.0

package optimize_test

import (
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
	"github.com/millrace-ml/millrace/engine/optimize"
	"github.com/millrace-ml/millrace/engine/optimize/dataset"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// network draws the weights of a graph that is built.
type network struct {
	*onnx.Builder
	random *rand.Rand
}

func newNetwork(name string, seed uint64) *network {
	return &network{onnx.NewBuilder(name), rand.New(rand.NewPCG(seed, 1))}
}

// matrix adds weights that keep the size of signals.
func (n *network) matrix(name string, rows, columns int) string {
	values := make([]float32, rows*columns)
	for i := range values {
		values[i] = float32(n.random.NormFloat64() / (1 + float64(rows)/8))
	}
	n.Initializer(onnx.TensorOf(name, values, int64(rows), int64(columns)))
	return name
}

func (n *network) vector(name string, size int, mean float64) string {
	values := make([]float32, size)
	for i := range values {
		values[i] = float32(mean + n.random.NormFloat64()/10)
	}
	n.Initializer(onnx.TensorOf(name, values, int64(size)))
	return name
}

// dense adds a product with a bias, as exporters of PyTorch write it for more than two
// dimensions.
func (n *network) dense(x, name string, rows, columns int) string {
	n.Node("MatMul", []string{x, n.matrix(name+".weight", rows, columns)}, []string{name + ".product"})
	n.Node("Add", []string{n.vector(name+".bias", columns, 0), name + ".product"}, []string{name})
	return name
}

const (
	transformerWidth  = 32
	transformerTokens = 6
)

// transformer is a block of self-attention and a network with GELU, with residuals and
// norms: input [batch, 6, 32].
func transformer(t testing.TB) *onnx.Model {
	t.Helper()
	n := newNetwork("transformer", 3)
	n.Input("tokens", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(transformerTokens), onnx.Extent(transformerWidth))
	const heads = 4
	n.Initializer(onnx.TensorOf("split", []int64{0, 0, heads, transformerWidth / heads}, 4))
	n.Initializer(onnx.TensorOf("join", []int64{0, 0, transformerWidth}, 3))
	part := func(name string, perm ...int64) string {
		value := n.dense("tokens", name, transformerWidth, transformerWidth)
		n.Node("Reshape", []string{value, "split"}, []string{name + ".split"})
		n.Node("Transpose", []string{name + ".split"}, []string{name + ".heads"}, onnx.IntsAttribute("perm", perm...))
		return name + ".heads"
	}
	q, k, v := part("query", 0, 2, 1, 3), part("key", 0, 2, 3, 1), part("value", 0, 2, 1, 3)
	n.Initializer(onnx.TensorOf("scale", []float32{0.35355338}, 1))
	n.Node("MatMul", []string{q, k}, []string{"scores"})
	n.Node("Mul", []string{"scores", "scale"}, []string{"scaled"})
	n.Node("Softmax", []string{"scaled"}, []string{"attention"}, onnx.IntAttribute("axis", -1))
	n.Node("MatMul", []string{"attention", v}, []string{"mixed"})
	n.Node("Transpose", []string{"mixed"}, []string{"unheaded"}, onnx.IntsAttribute("perm", 0, 2, 1, 3))
	n.Node("Reshape", []string{"unheaded", "join"}, []string{"joined"})
	n.dense("joined", "output", transformerWidth, transformerWidth)
	n.Node("Add", []string{"tokens", "output"}, []string{"residual"})
	n.Node("LayerNormalization", []string{"residual", n.vector("norm.weight", transformerWidth, 1), n.vector("norm.bias", transformerWidth, 0)}, []string{"normed"})
	n.dense("normed", "up", transformerWidth, 4*transformerWidth)
	n.Initializer(onnx.TensorOf("half", []float32{0.5}))
	n.Initializer(onnx.TensorOf("one", []float32{1}))
	n.Initializer(onnx.TensorOf("root", []float32{1.4142135}))
	n.Node("Div", []string{"up", "root"}, []string{"up.scaled"})
	n.Node("Erf", []string{"up.scaled"}, []string{"up.erf"})
	n.Node("Add", []string{"up.erf", "one"}, []string{"up.one"})
	n.Node("Mul", []string{"up", "up.one"}, []string{"up.curve"})
	n.Node("Mul", []string{"up.curve", "half"}, []string{"gelu"})
	n.dense("gelu", "down", 4*transformerWidth, transformerWidth)
	n.Node("Add", []string{"normed", "down"}, []string{"out"})
	n.Output("out", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(transformerTokens), onnx.Extent(transformerWidth))
	return built(t, n.Builder)
}

// wideAndDeep adds a linear part to a network over the same features and embeddings of
// two categories: inputs dense [batch, 20] and categories [batch, 2].
func wideAndDeep(t testing.TB) *onnx.Model {
	t.Helper()
	n := newNetwork("wide_and_deep", 4)
	n.Input("dense", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(20))
	n.Input("categories", tensor.Int64, onnx.Symbol("batch"), onnx.Extent(2))
	n.matrix("table", 10, 8)
	n.Initializer(onnx.TensorOf("flat", []int64{0, 16}, 2))
	n.Node("Gather", []string{"table", "categories"}, []string{"embedded"})
	n.Node("Reshape", []string{"embedded", "flat"}, []string{"embeddings"})
	n.Node("Concat", []string{"dense", "embeddings"}, []string{"features"}, onnx.IntAttribute("axis", 1))
	n.Node("Gemm", []string{"features", n.matrix("deep1.weight", 64, 36), n.vector("deep1.bias", 64, 0)}, []string{"deep1"}, onnx.IntAttribute("transB", 1))
	n.Node("Relu", []string{"deep1"}, []string{"hidden1"})
	n.Node("Gemm", []string{"hidden1", n.matrix("deep2.weight", 32, 64), n.vector("deep2.bias", 32, 0)}, []string{"deep2"}, onnx.IntAttribute("transB", 1))
	n.Node("Relu", []string{"deep2"}, []string{"hidden2"})
	n.Node("Gemm", []string{"hidden2", n.matrix("deep3.weight", 32, 3), n.vector("deep3.bias", 3, 0)}, []string{"deep"})
	n.Node("Gemm", []string{"dense", n.matrix("wide.weight", 20, 3)}, []string{"wide"})
	n.Node("Add", []string{"wide", "deep"}, []string{"sum"})
	n.Node("Softmax", []string{"sum"}, []string{"probabilities"}, onnx.IntAttribute("axis", -1))
	n.Output("probabilities", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(3))
	return built(t, n.Builder)
}

func built(t testing.TB, b *onnx.Builder) *onnx.Model {
	t.Helper()
	m, err := b.Model()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// source writes a model and reads it as a user would.
func source(t testing.TB, m *onnx.Model) *optimize.Source {
	t.Helper()
	file := filepath.Join(t.TempDir(), "model.onnx")
	if _, err := optimize.Write(m, file, false); err != nil {
		t.Fatal(err)
	}
	s, err := optimize.Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rows draws data for a model.
func rows(t testing.TB, s *optimize.Source, count int, labels []string) *dataset.Data {
	t.Helper()
	random := rand.New(rand.NewPCG(9, 9))
	var inputs []tensor.Tensor
	for _, spec := range s.Inputs {
		shape := append(tensor.Shape{int64(count)}, spec.Shape[1:]...)
		n, err := shape.Elements()
		if err != nil {
			t.Fatal(err)
		}
		var raw []byte
		if spec.Datatype == tensor.Int64 {
			values := make([]int64, n)
			for i := range values {
				values[i] = int64(random.IntN(10))
			}
			raw = onnx.TensorOf("", values).Raw
		} else {
			values := make([]float32, n)
			for i := range values {
				values[i] = float32(random.NormFloat64())
			}
			raw = onnx.TensorOf("", values).Raw
		}
		inputs = append(inputs, tensor.Tensor{Name: spec.Name, Datatype: spec.Datatype, Shape: shape, Data: raw})
	}
	d, err := dataset.New(inputs, labels, dataset.Options{Inputs: s.Inputs})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func nativeEngine() optimize.Engine {
	return optimize.Engine{Name: "native", Backend: native.Backend{}}
}

// bothEngines skips the test where ONNX Runtime is not installed.
func bothEngines(t testing.TB) []optimize.Engine {
	t.Helper()
	return []optimize.Engine{nativeEngine(), {Name: "onnxruntime", Backend: onnxrttest.Backend(t)}}
}
