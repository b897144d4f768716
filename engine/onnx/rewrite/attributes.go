// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// attribute finds an attribute of a type; nil says that it is not set. One of another
// type is as good as none: no rule applies its default then, see has.
func (n *node) attribute(name string, t onnx.AttributeType) *onnx.Attribute {
	for i := range n.attributes {
		a := &n.attributes[i]
		if a.Name == name && (a.Type == t || a.Type == onnx.AttributeUndefined) && a.Ref == "" {
			return a
		}
	}
	return nil
}

// has reports whether an attribute is set, whatever its type.
func (n *node) has(name string) bool {
	return slices.ContainsFunc(n.attributes, func(a onnx.Attribute) bool { return a.Name == name })
}

func (n *node) int(name string, otherwise int64) int64 {
	if a := n.attribute(name, onnx.AttributeInt); a != nil {
		return a.Int
	}
	return otherwise
}

func (n *node) float(name string, otherwise float32) float32 {
	if a := n.attribute(name, onnx.AttributeFloat); a != nil {
		return a.Float
	}
	return otherwise
}

func (n *node) string(name, otherwise string) string {
	if a := n.attribute(name, onnx.AttributeString); a != nil {
		return string(a.String)
	}
	return otherwise
}

func (n *node) ints(name string) ([]int64, bool) {
	if a := n.attribute(name, onnx.AttributeInts); a != nil {
		return a.Ints, true
	}
	return nil, false
}

// set changes or adds an attribute. The list is not shared with the model given.
func (n *node) set(a onnx.Attribute) {
	n.attributes = append(without(n.attributes, a.Name), a)
}

// without is a list of attributes less some, in memory of its own.
func without(attributes []onnx.Attribute, names ...string) []onnx.Attribute {
	var kept []onnx.Attribute
	for _, a := range attributes {
		if !slices.Contains(names, a.Name) {
			kept = append(kept, a)
		}
	}
	return kept
}

// axes are the axes of an operator that has them as an attribute up to some opset and
// as an input from then on. known is false where they are not constant. Without axes
// the list is nil.
func (n *node) axes(input int) (axes []int64, known bool) {
	if v := n.in(input); v != nil {
		return intList(v)
	}
	axes, _ = n.ints("axes")
	return axes, true
}
