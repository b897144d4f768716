// SPDX-License-Identifier: Apache-2.0

// Package op is the contract between the native engine's plans and its operators.
//
// An operator goes through four steps, each of which does what the next need not:
//
//	Build  once a model: attributes are read and checked, weights packed
//	Infer  once a set of input shapes: types and shapes of the outputs
//	Bind   once a set of input shapes and an instance: memory is fixed, the
//	       function that computes is made
//	run    every run: that function, which does not allocate
//
// Shapes are concrete when Infer is called, so operators know no symbols. Values whose
// contents are known before the run (weights, and whatever is computed from shapes
// alone) are Const; the plan computes operators with only such inputs when it binds.
//
// Operators are immutable after Build and shared by instances. What a run needs beyond
// its tensors is in the Scratch that Bind gets, which belongs to one instance.
package op
