// SPDX-License-Identifier: Apache-2.0

package zoo

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// MLP is a network of fully connected layers: ReLU between them, a sigmoid at the
// end. Its model takes input FP32 [batch, first width] and gives output FP32
// [batch, last width].
type MLP struct {
	name   string
	widths []int
	// weights[l] is layer l's matrix, [in, out] in row-major order.
	weights [][]float32
	biases  [][]float32
}

// NewMLP draws a network from a seed. The widths, all positive, are those of the
// input and of each layer's output.
func NewMLP(name string, seed uint64, input, first int, more ...int) *MLP {
	m := &MLP{name: name, widths: append([]int{input, first}, more...)}
	source := newWeights(seed)
	for l, out := range m.widths[1:] {
		in := m.widths[l]
		m.weights = append(m.weights, source.draw(in*out, in, out))
		m.biases = append(m.biases, source.draw(out, in, out))
	}
	return m
}

// SmallMLP is 32-64-32-1, a model whose run costs less than any transport.
func SmallMLP() *MLP { return NewMLP("mlp_small", 1, 32, 64, 32, 1) }

// MiddleMLP is 256-512-256-1.
func MiddleMLP() *MLP { return NewMLP("mlp_middle", 2, 256, 512, 256, 1) }

// LargeMLP is 1024-2048-2048-1, about 25 MB of weights.
func LargeMLP() *MLP { return NewMLP("mlp_large", 3, 1024, 2048, 2048, 1) }

// InputWidth is the number of values of one input row.
func (m *MLP) InputWidth() int { return m.widths[0] }

// OutputWidth is the number of values of one output row.
func (m *MLP) OutputWidth() int { return m.widths[len(m.widths)-1] }

// Model writes the network as an ONNX model.
func (m *MLP) Model() *onnx.Model {
	b := onnx.NewBuilder(m.name)
	b.Input("input", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(int64(m.InputWidth())))
	value := "input"
	for l := range m.weights {
		in, out := int64(m.widths[l]), int64(m.widths[l+1])
		weight, bias, sum := fmt.Sprintf("weight_%d", l), fmt.Sprintf("bias_%d", l), fmt.Sprintf("sum_%d", l)
		b.Initializer(onnx.TensorOf(weight, m.weights[l], in, out))
		b.Initializer(onnx.TensorOf(bias, m.biases[l], out))
		b.Node("Gemm", []string{value, weight, bias}, []string{sum})
		activation := "Relu"
		value = fmt.Sprintf("hidden_%d", l)
		if l == len(m.weights)-1 {
			activation, value = "Sigmoid", "output"
		}
		b.Node(activation, []string{sum}, []string{value})
	}
	b.Output("output", tensor.FP32, onnx.Symbol("batch"), onnx.Extent(int64(m.OutputWidth())))
	return finish(b)
}

// Predict computes one output row from one input row.
func (m *MLP) Predict(row []float32) []float64 {
	values := widen(row)
	for l := range m.weights {
		values = dense(values, m.weights[l], m.biases[l])
		if l < len(m.weights)-1 {
			relu(values)
		}
	}
	for i, v := range values {
		values[i] = 1 / (1 + math.Exp(-v))
	}
	return values
}

// dense multiplies a row by an [in, out] matrix and adds the bias.
func dense(row []float64, weights, bias []float32) []float64 {
	out := widen(bias)
	for i, v := range row {
		for j, w := range weights[i*len(bias) : (i+1)*len(bias)] {
			out[j] += v * float64(w)
		}
	}
	return out
}

func relu(values []float64) {
	for i, v := range values {
		values[i] = max(v, 0)
	}
}

func widen(values []float32) []float64 {
	wide := make([]float64, len(values))
	for i, v := range values {
		wide[i] = float64(v)
	}
	return wide
}

// finish gives the model built. The zoo's own graphs are sound; one that is not is
// a mistake in this package.
func finish(b *onnx.Builder) *onnx.Model {
	m, err := b.Model()
	if err != nil {
		panic(err)
	}
	return m
}
