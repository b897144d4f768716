// SPDX-License-Identifier: Apache-2.0

// Package rewrite turns an ONNX graph into one that gives the same answers with less
// work: constants are folded, what nobody reads is removed, what is computed twice is
// computed once, functions are inlined, and groups of nodes become one.
//
// A rewritten model is either standard (Options.Standard), so that any runtime reads
// it, or uses the internal operators that ops.go defines, for an engine that knows
// them.
//
// A rewrite is a rule on one node: it looks at the nodes before it and replaces them,
// or leaves them. Rules are applied to the nodes in order of execution, round by
// round, until a round changes nothing or roundsMax are done.
//
// Invariants:
//
//   - W1: graph inputs and outputs keep names and order. Their types stay, save what
//     Options.DropZipMap says.
//   - W2: answers stay the same up to rounding of float32 arithmetic. Nothing is
//     assumed of the data: rows, NaN and infinities included.
//   - W3: nodes of domains that are not known stay, even when nobody reads them.
//   - W4: the model given is never changed. Tensors may be shared by both models.
//   - W5: time and memory are bounded by the size of the model, and a model that is
//     not a graph gives an error that wraps onnx.ErrInvalidGraph.
//
// Types and shapes come from the graph's inputs, from inference over the common
// operators and, where that says nothing, from the model's value infos.
//
// Concurrency: Apply may be called from many goroutines, for the same model too.
package rewrite
