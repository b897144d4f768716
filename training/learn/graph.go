// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// The opsets that exported models use: what every runtime of the last years loads.
const (
	IRVersion  = 8
	Opset      = 17
	OpsetML    = 3
	DomainML   = "ai.onnx.ml"
	MatrixName = "features"
)

// Graph is the ONNX model that is being written. Names made by Name are unique, and none
// of those that were reserved.
type Graph struct {
	*onnx.Builder
	// Matrix is the value with the features, FP32 of shape [rows, features], missing ones
	// NaN, categorical ones codes.
	Matrix string
	// Features are its columns.
	Features []Feature
	names    map[string]int
	taken    map[string]bool
}

// NewGraph starts a model. Matrix is the name of the value with the features.
func NewGraph(b *onnx.Builder, matrix string, features []Feature) *Graph {
	return &Graph{Builder: b, Matrix: matrix, Features: features, names: map[string]int{}, taken: map[string]bool{matrix: true}}
}

// Reserve keeps names for inputs and outputs, which clients know and users choose.
func (g *Graph) Reserve(names ...string) {
	for _, name := range names {
		g.taken[name] = true
	}
}

// Name makes a name for a value that no other has.
func (g *Graph) Name(stem string) string {
	for {
		g.names[stem]++
		name := stem
		if n := g.names[stem]; n > 1 {
			name = fmt.Sprintf("%s_%d", stem, n)
		}
		if !g.taken[name] {
			g.taken[name] = true
			return name
		}
	}
}

// Apply adds a standard operator with one output, whose name it returns.
func (g *Graph) Apply(opType string, inputs []string, attributes ...onnx.Attribute) string {
	output := g.Name(opType)
	g.Node(opType, inputs, []string{output}, attributes...)
	return output
}

// Floats adds a constant of 32-bit floats and returns its name. No dims is a scalar.
func (g *Graph) Floats(stem string, values []float32, dims ...int64) string {
	name := g.Name(stem)
	g.Initializer(onnx.TensorOf(name, values, dims...))
	return name
}

// Integers adds a constant of 64-bit integers and returns its name.
func (g *Graph) Integers(stem string, values []int64, dims ...int64) string {
	name := g.Name(stem)
	g.Initializer(onnx.TensorOf(name, values, dims...))
	return name
}
