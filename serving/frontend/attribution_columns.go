// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/attribution"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

// matrixPart is an input of a model that has one for each feature, and how it becomes a
// column of the matrix that the scores are made of.
type matrixPart struct {
	input string
	// coded: numbers stand for its values, as the model's LabelEncoder has it.
	coded   bool
	texts   map[string]float32
	numbers map[float32]float32
	unknown float32
}

// matrixColumn is a part of the matrix, by the place of its feature in the vector.
type matrixColumn struct {
	feature int
	// text is the place among the texts, -1 for a number.
	text int
	part *matrixPart // nil for a number as it is
}

// of is the column of the vector that was served.
func (c *matrixColumn) of(v *plan.Vectors) float32 {
	if c.text >= 0 {
		if code, known := c.part.texts[v.TextRow(0)[c.text]]; known {
			return code
		}
		return c.part.unknown
	}
	x := float32(v.Row(0)[c.feature])
	if c.part == nil || !c.part.coded {
		return x
	}
	if code, known := c.part.numbers[x]; known {
		return code
	}
	return c.part.unknown
}

// partsOf finds the inputs that a matrix is made of; an input that is a matrix has none.
func partsOf(g *onnx.Graph, e *attribution.Explainer) ([]matrixPart, error) {
	makers := map[string]*onnx.Node{}
	for i := range g.Nodes {
		for _, out := range g.Nodes[i].Outputs {
			makers[out] = &g.Nodes[i]
		}
	}
	matrix := makers[e.Matrix()]
	if matrix == nil {
		return nil, nil
	}
	parts := make([]matrixPart, len(matrix.Inputs))
	for i, name := range matrix.Inputs {
		p := &parts[i]
		p.input = name
		if coder := makers[name]; coder != nil {
			if err := p.readCodes(coder); err != nil {
				return nil, err
			}
		}
	}
	return parts, nil
}

// readCodes reads which numbers stand for which values of an input.
func (p *matrixPart) readCodes(n *onnx.Node) error {
	if n.OpType != "LabelEncoder" || len(n.Inputs) != 1 {
		return fmt.Errorf("%w: %s makes a column of its matrix of features", attribution.ErrNoAttribution, n.OpType)
	}
	p.input, p.coded = n.Inputs[0], true
	var texts [][]byte
	var numbers, codes []float32
	for i := range n.Attributes {
		switch a := &n.Attributes[i]; a.Name {
		case "keys_strings":
			texts = a.Strings
		case "keys_floats":
			numbers = a.Floats
		case "values_floats":
			codes = a.Floats
		case "default_float":
			p.unknown = a.Float
		}
	}
	if len(codes) == 0 || len(texts)+len(numbers) != len(codes) || len(texts) > 0 && len(numbers) > 0 {
		return fmt.Errorf("%w: its codes of input %q are not of texts or floats to floats", attribution.ErrNoAttribution, p.input)
	}
	p.texts, p.numbers = make(map[string]float32, len(texts)), make(map[float32]float32, len(numbers))
	for i, text := range texts {
		p.texts[string(text)] = codes[i]
	}
	for i, number := range numbers {
		p.numbers[number] = codes[i]
	}
	return nil
}

// columnsOf finds the features of a matrix in the vector of a binding.
func columnsOf(b *binding, x *explained) ([]matrixColumn, error) {
	n := x.explainer.Features()
	if x.parts == nil {
		in := &b.inputs[0]
		if len(b.inputs) != 1 || in.datatype != tensor.FP32 || n != len(in.features) {
			return nil, fmt.Errorf("%w: it does not take the %d features that its scores are made of as one FP32 matrix", attribution.ErrNoAttribution, n)
		}
		columns := make([]matrixColumn, n)
		for k, f := range in.features {
			columns[k] = matrixColumn{feature: f, text: -1}
		}
		return columns, nil
	}
	columns := make([]matrixColumn, len(x.parts))
	for i := range x.parts {
		p := &x.parts[i]
		in := b.inputOf(p.input)
		switch {
		case len(x.parts) != n || in == nil:
			return nil, fmt.Errorf("%w: column %d of its matrix of features is no feature", attribution.ErrNoAttribution, i)
		case in.datatype == tensor.Bytes && p.texts != nil:
			columns[i] = matrixColumn{feature: in.features[0], text: in.texts[0], part: p}
		case in.datatype == tensor.FP32 && (!p.coded || len(p.numbers) > 0):
			columns[i] = matrixColumn{feature: in.features[0], text: -1, part: p}
		default:
			return nil, fmt.Errorf("%w: input %s of type %s does not fit its codes", attribution.ErrNoAttribution, p.input, in.datatype)
		}
	}
	return columns, nil
}

// inputOf finds an input that is one feature.
func (b *binding) inputOf(name string) *boundInput {
	for i := range b.inputs {
		if in := &b.inputs[i]; in.name == name && len(in.features) == 1 {
			return in
		}
	}
	return nil
}
