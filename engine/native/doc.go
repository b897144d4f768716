// SPDX-License-Identifier: Apache-2.0

// Package native runs ONNX models on the kernels of this project: no C library is
// needed, and small models of tables run many times faster than elsewhere.
//
// A model goes through three forms:
//
//	program  the graph, rewritten (constants folded, nodes fused) and its operators
//	         built, which packs the weights; shared by all instances
//	bound    the program for one set of input shapes: every shape is known, every
//	         value has its place in the instance's arena, every step is a function
//	run      the steps, one after the other
//
// Invariants:
//
//   - N1: a graph that is not covered is refused when it is opened, with the list of
//     operators that are missing; ErrNotCovered tells it from a graph that is at fault.
//   - N2: a run does not allocate, apart from BYTES outputs that outgrow their memory.
//   - N3: the answer to a row does not depend on the rows beside it nor on how rows are
//     split over cores, and on the CPU level only within rounding. Graphs that look at
//     the whole batch are the exception, such as those that quantise by its range.
//   - N4: no model file makes this package panic or allocate without bound.
//
// Concurrency: a model may be used from many goroutines, an instance from one at a
// time. An instance with several threads owns that many goroutines less one, which
// Close ends.
package native
