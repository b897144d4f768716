// SPDX-License-Identifier: Apache-2.0

package native

import "github.com/millrace-ml/millrace/engine/onnx"

// Evaluate computes a node whose inputs are all constant on the operators of this
// backend: it is a rewrite.Evaluate for callers that rewrite graphs themselves. Nodes
// that are not covered give an error.
func Evaluate(node *onnx.Node, opset func(domain string) int64, inputs []onnx.Tensor) ([]onnx.Tensor, error) {
	return evaluate(node, opset, inputs)
}
