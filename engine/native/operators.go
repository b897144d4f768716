// SPDX-License-Identifier: Apache-2.0

package native

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/elementwise"
	"github.com/millrace-ml/millrace/engine/native/movement"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/native/product"
	"github.com/millrace-ml/millrace/engine/native/quantized"
	"github.com/millrace-ml/millrace/engine/native/reduction"
	"github.com/millrace-ml/millrace/engine/native/tabular"
)

// operatorKey finds the definitions of an operator.
type operatorKey struct{ domain, name string }

// operators are all that the backend runs.
var operators = tableOf(
	movement.Operators(),
	elementwise.Operators(),
	reduction.Operators(),
	product.Operators(),
	quantized.Operators(),
	tabular.Operators(),
)

func tableOf(families ...[]op.Definition) map[operatorKey][]op.Definition {
	table := make(map[operatorKey][]op.Definition)
	for _, d := range slices.Concat(families...) {
		key := operatorKey{d.Domain, d.Name}
		table[key] = append(table[key], d)
	}
	return table
}

// definition finds what builds a node, nil when there is nothing.
func definition(n *op.Node) *op.Definition {
	domain := n.Domain
	if domain == "ai.onnx" {
		domain = ""
	}
	all := operators[operatorKey{domain, n.OpType}]
	for i := range all {
		if d := &all[i]; n.Version >= d.Since && (d.Until == 0 || n.Version <= d.Until) {
			return d
		}
	}
	return nil
}

// operatorName is how a missing operator is listed.
func operatorName(n *op.Node) string {
	if n.Domain == "" || n.Domain == "ai.onnx" {
		return fmt.Sprintf("%s (opset %d)", n.OpType, n.Version)
	}
	return fmt.Sprintf("%s:%s (opset %d)", n.Domain, n.OpType, n.Version)
}
