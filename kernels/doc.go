// SPDX-License-Identifier: Apache-2.0

// Package kernels is the folder of the arithmetic on slices that models are made of.
// It holds no code of its own:
//
//	cpu         the instruction sets of this machine, as levels
//	gemm        matrix products of prepacked weights, in f32 and bf16
//	quant       8-bit matrix products and conversions
//	trees       ensembles of decision trees
//	act         activations, softmax, normalisation
//	conv        convolutions and pools over pictures and sequences
//	vec         everything else on rows and columns: arithmetic, conversions,
//	            embeddings, buckets, hashes, top-k, gather and scatter
//	kerneltest  what the tests of all of them share
//
// Every kernel has a reference in plain Go, which is what runs where no assembly
// fits and what the tests hold the assembly to. Assembly is written by the programs
// in _gen (a module of its own) and checked in; the tag purego leaves it out.
//
// Kernels hold no state and start no goroutines. They do not allocate: what they need
// beyond registers is in a scratch that the caller keeps, one for each goroutine.
package kernels
