// SPDX-License-Identifier: Apache-2.0

package calibration

import (
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/training/learn"
)

// Export adds the calibrator to a graph. Scores are of shape [rows, outputs]; the result
// names the probabilities of all classes, FP32 of shape [rows, max(outputs, 2)].
func (c *Calibrator) Export(g *learn.Graph, scores string) (probabilities string, err error) {
	if c.outputs == 1 {
		return c.exportBinary(g, scores), nil
	}
	if c.method == None || c.method == Temperature {
		return g.Apply("Softmax", []string{c.scaled(g, scores)}, onnx.IntAttribute("axis", 1)), nil
	}
	logs := g.Apply("LogSoftmax", []string{scores}, onnx.IntAttribute("axis", 1))
	var shares string
	if c.method == Platt {
		shares = exportLines(g, logs, c.lines)
	} else {
		columns := make([]string, c.outputs)
		for k, f := range c.curves {
			column := g.Apply("Gather", []string{logs, g.Integers("class", []int64{int64(k)}, 1)}, onnx.IntAttribute("axis", 1))
			columns[k] = f.export(g, column)
		}
		shares = g.Apply("Concat", columns, onnx.IntAttribute("axis", 1))
	}
	return normalise(g, shares, c.outputs), nil
}

func (c *Calibrator) exportBinary(g *learn.Graph, scores string) string {
	var one string
	switch c.method {
	case Platt:
		one = exportLines(g, scores, c.lines)
	case Isotonic:
		one = c.curves[0].export(g, scores)
	default:
		one = g.Apply("Sigmoid", []string{c.scaled(g, scores)})
	}
	zero := g.Apply("Sub", []string{g.Floats("one", []float32{1}, 1, 1), one})
	return g.Apply("Concat", []string{zero, one}, onnx.IntAttribute("axis", 1))
}

// scaled divides by the temperature.
func (c *Calibrator) scaled(g *learn.Graph, scores string) string {
	if c.inverse == 1 {
		return scores
	}
	return g.Apply("Mul", []string{scores, g.Floats("inverse_temperature", []float32{float32(c.inverse)}, 1, 1)})
}

func exportLines(g *learn.Graph, scores string, lines []line) string {
	slopes, offsets := make([]float32, len(lines)), make([]float32, len(lines))
	for k, l := range lines {
		slopes[k], offsets[k] = float32(l.slope), float32(l.offset)
	}
	n := int64(len(lines))
	z := g.Apply("Mul", []string{scores, g.Floats("platt_slope", slopes, 1, n)})
	z = g.Apply("Add", []string{z, g.Floats("platt_offset", offsets, 1, n)})
	return g.Apply("Sigmoid", []string{z})
}

// normalise divides each row by its sum; a row of zeros becomes equal shares.
func normalise(g *learn.Graph, shares string, classes int) string {
	sum := g.Apply("ReduceSum", []string{shares, g.Integers("classes", []int64{1}, 1)}, onnx.IntAttribute("keepdims", 1))
	some := g.Apply("Greater", []string{sum, g.Floats("nothing", []float32{0}, 1, 1)})
	divisor := g.Apply("Where", []string{some, sum, g.Floats("one", []float32{1}, 1, 1)})
	equal := g.Floats("equal_shares", []float32{float32(1 / float64(classes))}, 1, 1)
	return g.Apply("Where", []string{some, g.Apply("Div", []string{shares, divisor}), equal})
}

// export writes the curve as a sum over its pieces: how much of the piece lies left of the
// score, from 0 to 1, times its rise. All terms are positive and in the order of the
// points, so that the sum cannot fall as the score rises, whatever the rounding.
func (c *curve) export(g *learn.Graph, scores string) string {
	n := len(c.at) - 1
	start, inverse, rise := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range n {
		start[i] = c.at[i]
		inverse[i] = float32(1 / (float64(c.at[i+1]) - float64(c.at[i])))
		rise[i] = float32(c.to[i+1] - c.to[i])
	}
	size := int64(n)
	z := g.Apply("Sub", []string{scores, g.Floats("curve_start", start, 1, size)})
	z = g.Apply("Mul", []string{z, g.Floats("curve_inverse", inverse, 1, size)})
	zero, one := g.Floats("zero", []float32{0}), g.Floats("one", []float32{1})
	z = g.Apply("Clip", []string{z, zero, one})
	z = g.Apply("MatMul", []string{z, g.Floats("curve_rise", rise, size, 1)})
	z = g.Apply("Add", []string{z, g.Floats("curve_base", []float32{float32(c.to[0])}, 1, 1)})
	return g.Apply("Clip", []string{z, zero, one})
}
