// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/training/learn"
)

var lastAxis = onnx.IntAttribute("axis", 1)

// Export implements learn.Model: terms side by side, then one product with the weights.
func (m *model) Export(g *learn.Graph) (scores string, err error) {
	e := &exporter{Graph: g, recipe: m.recipe}
	e.prepare()
	parts := e.parts()
	outputs := int64(m.outputs)
	intercepts := make([]float32, m.outputs)
	for k, b := range m.intercepts {
		intercepts[k] = float32(b)
	}
	bias := g.Floats("intercepts", intercepts, outputs)
	if len(parts) == 0 { // nothing varies: every row has the intercepts
		return e.constant(bias), nil
	}
	terms := parts[0]
	if len(parts) > 1 {
		terms = g.Apply("Concat", parts, lastAxis)
	}
	columns := m.recipe.columns()
	weights := make([]float32, 0, columns*m.outputs)
	for j := range columns {
		for k := range m.outputs {
			weights = append(weights, float32(m.weights[k][j]))
		}
	}
	return g.Apply("Gemm", []string{terms, g.Floats("weights", weights, int64(columns), outputs), bias}), nil
}

// exporter writes the terms of a recipe.
type exporter struct {
	*learn.Graph
	recipe     *recipe
	raw, ready string // numbers, by the recipe's order
}

// constant repeats the intercepts for each row.
func (e *exporter) constant(bias string) string {
	column := e.pick(e.Matrix, []int64{0})
	none := e.Apply("Where", []string{e.Apply("IsNaN", []string{column}), e.Floats("zero", []float32{0}, 1, 1), e.Floats("zero", []float32{0}, 1, 1)})
	return e.Apply("Add", []string{none, bias})
}

// pick takes columns of a matrix.
func (e *exporter) pick(matrix string, columns []int64) string {
	return e.Apply("Gather", []string{matrix, e.Integers("columns", columns, int64(len(columns)))}, lastAxis)
}

// row adds a constant with a number for each column.
func (e *exporter) row(stem string, values []float32) string {
	return e.Floats(stem, values, 1, int64(len(values)))
}

// binary is an operator on a matrix and a row of constants.
func (e *exporter) binary(opType, matrix, stem string, values []float32) string {
	return e.Apply(opType, []string{matrix, e.row(stem, values)})
}

// float turns truth values into 0 and 1.
func (e *exporter) float(truths string) string {
	return e.Apply("Cast", []string{truths}, onnx.IntAttribute("to", int64(onnx.ElemFloat)))
}

// prepare writes the numbers: picked, filled, and as logarithms.
func (e *exporter) prepare() {
	numbers := e.recipe.numbers
	if len(numbers) == 0 {
		return
	}
	columns, fills, logs := make([]int64, len(numbers)), make([]float32, len(numbers)), make([]float32, len(numbers))
	some, all := false, true
	for i := range numbers {
		columns[i], fills[i], logs[i] = int64(numbers[i].feature), numbers[i].fill, truth(numbers[i].log)
		some, all = some || numbers[i].log, all && numbers[i].log
	}
	picked := e.pick(e.Matrix, columns)
	e.raw = e.Apply("Where", []string{e.Apply("IsNaN", []string{picked}), e.row("fill", fills), picked})
	e.ready = e.raw
	if !some {
		return
	}
	one := e.Floats("one", []float32{1}, 1, 1)
	magnitude := e.Apply("Log", []string{e.Apply("Add", []string{e.Apply("Abs", []string{e.raw}), one})})
	e.ready = e.Apply("Mul", []string{e.Apply("Sign", []string{e.raw}), magnitude})
	if !all {
		half := e.Floats("half", []float32{0.5}, 1, 1)
		chosen := e.Apply("Greater", []string{e.row("is_logarithm", logs), half})
		e.ready = e.Apply("Where", []string{chosen, e.ready, e.raw})
	}
}

// parts writes the terms, in the order of the weights.
func (e *exporter) parts() []string {
	var parts []string
	byKind := make(map[kind][]term)
	for _, t := range e.recipe.terms {
		byKind[t.kind] = append(byKind[t.kind], t)
	}
	if terms := byKind[lineTerm]; len(terms) > 0 {
		parts = append(parts, e.lines(terms))
	}
	if terms := byKind[stepTerm]; len(terms) > 0 {
		sources, low := make([]int64, len(terms)), make([]float32, len(terms))
		for i, t := range terms {
			sources[i], low[i] = int64(t.source), t.low
		}
		parts = append(parts, e.float(e.binary("Greater", e.pick(e.raw, sources), "edge", low)))
	}
	if terms := byKind[absentTerm]; len(terms) > 0 {
		sources := make([]int64, len(terms))
		for i, t := range terms {
			sources[i] = int64(t.source)
		}
		parts = append(parts, e.float(e.Apply("IsNaN", []string{e.pick(e.Matrix, sources)})))
	}
	if terms := byKind[productTerm]; len(terms) > 0 {
		parts = append(parts, e.products(terms))
	}
	for _, c := range e.recipe.categories {
		codes := make([]float32, c.size)
		for i := range codes {
			codes[i] = float32(i)
		}
		parts = append(parts, e.float(e.binary("Equal", e.pick(e.Matrix, []int64{int64(c.feature)}), "codes", codes)))
	}
	return parts
}

func (e *exporter) lines(terms []term) string {
	n := len(terms)
	sources, low, high, mean := make([]int64, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for i, t := range terms {
		sources[i], low[i], high[i], mean[i] = int64(t.source), t.low, t.high, t.mean
	}
	held := e.binary("Min", e.binary("Max", e.pick(e.ready, sources), "low", low), "high", high)
	return e.binary("Sub", held, "mean", mean)
}

func (e *exporter) products(terms []term) string {
	numbers := e.recipe.numbers
	n := len(numbers)
	low, high, mean, scale := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range numbers {
		low[i], high[i], mean[i], scale[i] = numbers[i].factor()
	}
	held := e.binary("Min", e.binary("Max", e.ready, "low", low), "high", high)
	factors := e.binary("Mul", e.binary("Sub", held, "mean", mean), "scale", scale)
	first, second, means := make([]int64, len(terms)), make([]int64, len(terms)), make([]float32, len(terms))
	for i, t := range terms {
		first[i], second[i], means[i] = int64(t.source), int64(t.other), t.mean
	}
	product := e.Apply("Mul", []string{e.pick(factors, first), e.pick(factors, second)})
	return e.binary("Sub", product, "mean", means)
}
