// SPDX-License-Identifier: Apache-2.0

package native

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine/native/control"
	"github.com/millrace-ml/millrace/engine/native/elementwise"
	"github.com/millrace-ml/millrace/engine/native/movement"
	"github.com/millrace-ml/millrace/engine/native/neural"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/native/product"
	"github.com/millrace-ml/millrace/engine/native/quantized"
	"github.com/millrace-ml/millrace/engine/native/reduction"
	"github.com/millrace-ml/millrace/engine/native/tabular"
	"github.com/millrace-ml/millrace/engine/native/text"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
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
	control.Operators(),
	text.Operators(),
	neural.Operators(),
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

// Covered is an operator that this backend runs, in versions Since to Until of its
// domain's operator set; Until 0 is no end. Not every type and attribute of an operator
// is covered: opening a model tells.
type Covered struct {
	Domain, Name string
	Since, Until int64
}

// Operators lists what is covered of the standard's domains, by domain and name.
func Operators() []Covered {
	var list []Covered
	for key, definitions := range operators {
		if key.domain == rewrite.Domain {
			continue
		}
		c := Covered{Domain: key.domain, Name: key.name, Since: definitions[0].Since, Until: definitions[0].Until}
		for _, d := range definitions[1:] {
			c.Since = min(c.Since, d.Since)
			if c.Until != 0 && (d.Until == 0 || d.Until > c.Until) {
				c.Until = d.Until
			}
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Covered) int {
		return cmp.Or(strings.Compare(a.Domain, b.Domain), strings.Compare(a.Name, b.Name))
	})
	return list
}
