// SPDX-License-Identifier: Apache-2.0

// Package zoo makes the small models of demos, tests and benchmarks: networks with
// weights drawn from a seed, the models that clients of the inference protocol ask
// for in their examples, and models for the awkward cases (an output whose shape is
// known only after the run, a run that fails).
//
// Invariants:
//
//   - The same call gives the same bytes on every machine and at every time.
//   - A network's Predict computes what its Model does, in float64, by plain loops.
//
// Values of this package are read-only once made and may be used from many
// goroutines.
package zoo
