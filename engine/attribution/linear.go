// SPDX-License-Identifier: Apache-2.0

package attribution

import (
	"github.com/millrace-ml/millrace/engine/onnx"
)

// term is a weighted column of a linear model.
type term struct {
	output, column int
	weight         float64
}

func (e *Explainer) readLinear(w *walker, n *onnx.Node) error {
	weights, base, byOutput, err := e.linearOf(w, n)
	if err != nil {
		return err
	}
	columns := len(e.columns)
	if columns == 0 || len(weights) == 0 || len(weights)%columns != 0 {
		return refuse("%d weights for %d columns", len(weights), columns)
	}
	e.outputs = len(weights) / columns
	if len(base) == 1 && e.outputs > 1 {
		one := base[0]
		for len(base) < e.outputs {
			base = append(base, one)
		}
	}
	if e.bases, err = basesOf(base, e.outputs); err != nil {
		return err
	}
	for k := range e.outputs {
		for c := range columns {
			weight := weights[c*e.outputs+k]
			if byOutput {
				weight = weights[k*columns+c]
			}
			t := term{k, c, float64(weight)}
			if len(e.columns[c].sources) == 0 { // a constant belongs to the base
				e.bases[k] += t.weight * float64(e.columns[c].eval(nil))
				continue
			}
			e.terms = append(e.terms, t)
		}
	}
	return nil
}

// linearOf reads the weights, by column or by output, and the bases.
func (e *Explainer) linearOf(w *walker, n *onnx.Node) (weights, base []float32, byOutput bool, err error) {
	if n.OpType == "LinearRegressor" || n.OpType == "LinearClassifier" {
		return floatList(n, "coefficients"), floatList(n, "intercepts"), true, nil
	}
	if len(n.Inputs) < 2 {
		return nil, nil, false, refuse("it has no weights")
	}
	t, weights, err := w.constOf(n.Inputs[1])
	if err != nil {
		return nil, nil, false, err
	}
	if len(t.Dims) != 2 || intOf(n, "transA", 0) != 0 || floatOf(n, "alpha", 1) != 1 || floatOf(n, "beta", 1) != 1 {
		return nil, nil, false, refuse("a product of another form than rows by weights")
	}
	byOutput = intOf(n, "transB", 0) != 0
	bias := ""
	if n.OpType == "Gemm" && len(n.Inputs) > 2 {
		bias = n.Inputs[2]
	} else if n.OpType == "MatMul" && len(n.Outputs) == 1 {
		bias = w.addedTo(n.Outputs[0])
	}
	if bias != "" {
		if _, base, err = w.constOf(bias); err != nil {
			return nil, nil, false, err
		}
	}
	return weights, base, byOutput, nil
}

// addedTo is the constant that the only Add of a value adds, or "".
func (w *walker) addedTo(name string) string {
	for i := range w.graph.Nodes {
		n := &w.graph.Nodes[i]
		if n.OpType != "Add" || len(n.Inputs) != 2 {
			continue
		}
		for k, in := range n.Inputs {
			if _, ok := w.consts[n.Inputs[1-k]]; in == name && ok {
				return n.Inputs[1-k]
			}
		}
	}
	return ""
}
