// SPDX-License-Identifier: Apache-2.0

package op

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// Node is a node of a graph as Build sees it.
type Node struct {
	*onnx.Node
	// Version is that of the operator set of the node's domain.
	Version int64
	// Const are the inputs that are constant; nil for the others and those left out.
	Const []*Value
	// Build makes a body of a graph that the node holds; nil where there is no model
	// around the node.
	Build func(g *onnx.Graph) (Body, error)
	// problem is the first attribute that was not what the operator takes.
	problem error
}

// In is the constant input i, nil where there is none.
func (n *Node) In(i int) *Value {
	if i < len(n.Const) {
		return n.Const[i]
	}
	return nil
}

// Has reports whether input i is given.
func (n *Node) Has(i int) bool { return i < len(n.Inputs) && n.Inputs[i] != "" }

// Arity reports a node with too few or too many inputs or outputs.
func (n *Node) Arity(inMin, inMax, outMin, outMax int) error {
	if len(n.Inputs) < inMin || len(n.Inputs) > inMax {
		return Invalid("%d inputs, want %d to %d", len(n.Inputs), inMin, inMax)
	}
	if len(n.Outputs) < outMin || len(n.Outputs) > outMax {
		return Invalid("%d outputs, want %d to %d", len(n.Outputs), outMin, outMax)
	}
	for i := range inMin {
		if n.Inputs[i] == "" {
			return Invalid("input %d is left out", i)
		}
	}
	return nil
}

func (n *Node) attribute(name string, kind onnx.AttributeType) *onnx.Attribute {
	a := n.Attribute(name)
	if a == nil {
		return nil
	}
	// Files of the first version of the format leave the type out.
	if a.Type != kind && a.Type != onnx.AttributeUndefined {
		n.fail("attribute %q is of type %d, want %d", name, a.Type, kind)
		return nil
	}
	if a.Ref != "" {
		n.fail("attribute %q refers to %q outside a function", name, a.Ref)
		return nil
	}
	return a
}

func (n *Node) fail(format string, args ...any) {
	if n.problem == nil {
		n.problem = Invalid(format, args...)
	}
}

// Err is the first attribute that was not of the type it was read as.
func (n *Node) Err() error { return n.problem }

// Int is an attribute's value, or missing where it is not set.
func (n *Node) Int(name string, missing int64) int64 {
	if a := n.attribute(name, onnx.AttributeInt); a != nil {
		return a.Int
	}
	return missing
}

// Float is an attribute's value, or missing where it is not set.
func (n *Node) Float(name string, missing float32) float32 {
	if a := n.attribute(name, onnx.AttributeFloat); a != nil {
		return a.Float
	}
	return missing
}

// Text is an attribute's value, or missing where it is not set.
func (n *Node) Text(name, missing string) string {
	if a := n.attribute(name, onnx.AttributeString); a != nil {
		return string(a.String)
	}
	return missing
}

// Ints is an attribute's value, nil where it is not set.
func (n *Node) Ints(name string) []int64 {
	if a := n.attribute(name, onnx.AttributeInts); a != nil {
		return a.Ints
	}
	return nil
}

// Floats is an attribute's value, nil where it is not set.
func (n *Node) Floats(name string) []float32 {
	if a := n.attribute(name, onnx.AttributeFloats); a != nil {
		return a.Floats
	}
	return nil
}

// Texts is an attribute's value, nil where it is not set.
func (n *Node) Texts(name string) [][]byte {
	if a := n.attribute(name, onnx.AttributeStrings); a != nil {
		return a.Strings
	}
	return nil
}

// TensorValue is an attribute's value, nil where it is not set.
func (n *Node) TensorValue(name string) *Value {
	a := n.attribute(name, onnx.AttributeTensor)
	if a == nil || a.Tensor == nil {
		return nil
	}
	v, err := Constant(a.Tensor)
	if err != nil {
		n.fail("attribute %q: %w", name, err)
		return nil
	}
	return v
}

// Only reports an attribute of the node that is none of those named. Operators call
// it where an attribute that they do not know would change the answer.
func (n *Node) Only(names ...string) error {
	for i := range n.Attributes {
		known := false
		for _, name := range names {
			known = known || n.Attributes[i].Name == name
		}
		if !known {
			return NotCovered("attribute %q", n.Attributes[i].Name)
		}
	}
	return nil
}

// Title is how errors and plans speak of the node.
func (n *Node) Title() string {
	if n.Name != "" {
		return fmt.Sprintf("node %.100q (%.40s)", n.Name, n.OpType)
	}
	if len(n.Outputs) > 0 {
		return fmt.Sprintf("node of output %.100q (%.40s)", n.Outputs[0], n.OpType)
	}
	return fmt.Sprintf("node (%.40s)", n.OpType)
}
