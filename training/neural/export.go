// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/training/learn"
)

// Export implements learn.Model.
func (m *model) Export(g *learn.Graph) (string, error) {
	var parts []string
	if len(m.recipe.numbers) > 0 {
		parts = m.exportNumbers(g)
	}
	for i := range m.recipe.categories {
		parts = append(parts, m.exportCategory(g, i))
	}
	at := parts[0]
	if len(parts) > 1 {
		at = g.Apply("Concat", parts, onnx.IntAttribute("axis", 1))
	}
	for i := range m.layers {
		l := &m.layers[i]
		w := g.Floats("weights", l.weights, int64(l.in), int64(l.out))
		at = g.Apply("Gemm", []string{at, w, g.Floats("bias", l.bias, int64(l.out))})
		if i+1 == len(m.layers) {
			break
		}
		if m.relu {
			at = g.Apply("Relu", []string{at})
		} else {
			at = g.Apply("Tanh", []string{at})
		}
	}
	if m.targetScale != 1 || m.targetMean != 0 {
		at = g.Apply("Mul", []string{at, g.Floats("target_scale", []float32{m.targetScale})})
		at = g.Apply("Add", []string{at, g.Floats("target_mean", []float32{m.targetMean})})
	}
	return at, nil
}

// exportNumbers does to the numbers what recipe.denseRow does.
func (m *model) exportNumbers(g *learn.Graph) []string {
	r := m.recipe
	width := int64(len(r.numbers))
	places := make([]int64, width)
	fill, mean, scale := make([]float32, width), make([]float32, width), make([]float32, width)
	logarithms, anyLogarithm := make([]bool, width), false
	for i, n := range r.numbers {
		places[i], fill[i], mean[i], scale[i] = int64(n.feature), n.fill, n.mean, n.scale
		logarithms[i] = n.logarithm
		anyLogarithm = anyLogarithm || n.logarithm
	}
	axis := onnx.IntAttribute("axis", 1)
	at := g.Apply("Gather", []string{g.Matrix, g.Integers("numbers", places, width)}, axis)
	absent := g.Apply("IsNaN", []string{at})
	at = g.Apply("Where", []string{absent, g.Floats("fill", fill, 1, width), at})
	if anyLogarithm {
		one := g.Floats("one", []float32{1})
		size := g.Apply("Log", []string{g.Apply("Add", []string{g.Apply("Abs", []string{at}), one})})
		signed := g.Apply("Mul", []string{g.Apply("Sign", []string{at}), size})
		name := g.Name("logarithms")
		g.Initializer(onnx.TensorOf(name, logarithms, 1, width))
		at = g.Apply("Where", []string{name, signed, at})
	}
	at = g.Apply("Sub", []string{at, g.Floats("mean", mean, 1, width)})
	at = g.Apply("Mul", []string{at, g.Floats("scale", scale, 1, width)})
	at = g.Apply("Clip", []string{at, g.Floats("low", []float32{-deviationsMax}), g.Floats("high", []float32{deviationsMax})})
	if len(r.missing) == 0 {
		return []string{at}
	}
	missing := make([]int64, len(r.missing))
	for i, place := range r.missing {
		missing[i] = int64(place)
	}
	flags := g.Apply("Cast", []string{absent}, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
	return []string{at, g.Apply("Gather", []string{flags, g.Integers("missing", missing, int64(len(missing)))}, axis)}
}

// exportCategory looks an embedding up.
func (m *model) exportCategory(g *learn.Graph, i int) string {
	c := m.recipe.categories[i]
	at := g.Apply("Gather", []string{g.Matrix, g.Integers("category", []int64{int64(c.feature)})}, onnx.IntAttribute("axis", 1))
	unseen := g.Apply("IsNaN", []string{at})
	at = g.Apply("Where", []string{unseen, g.Floats("unseen", []float32{float32(c.size - 1)}), at})
	at = g.Apply("Cast", []string{at}, onnx.IntAttribute("to", int64(onnx.ElemInt64)))
	table := g.Floats("table", m.tables[i], int64(c.size), int64(c.width))
	return g.Apply("Gather", []string{table, at}, onnx.IntAttribute("axis", 0))
}
