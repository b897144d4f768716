// SPDX-License-Identifier: Apache-2.0

// Package onnxrt runs ONNX models on ONNX Runtime, whose shared library is found
// and loaded when the first model needs it. The binary starts and serves other
// backends without it.
//
// How a model runs:
//
//   - A model's instances on one device share a session when each runs on its
//     caller's thread alone (Threads is 1) or on a GPU: weights are held once, and
//     the session is safe for concurrent runs. An instance of several threads has a
//     session of its own, because a session's thread pool is what bounds the cores
//     of a run.
//   - An instance has one region of memory off the Go heap. Every set of input
//     shapes gets its tensors laid over that same region, so that any number of rows
//     runs without padding and without a copy, and a set once seen is kept.
//   - Where every tensor is of fixed size and every output's extent follows from the
//     inputs, tensors are bound once and a run is one call into the library that
//     allocates nothing. All others (BYTES, scalars, extents that depend on data,
//     GPUs) take the direct path, which hands tensors over at each run and allocates.
//
// Invariants:
//
//   - Model files are read by engine/onnx first; external data that would leave the
//     model's folder is refused before the library sees the file.
//   - Input memory does not move between Bind and the end of Run, even when the run
//     is repeated because an output was not of the shape that the graph declares.
//
// Concurrency: Open, Backend and Model may be used from many goroutines. An
// instance belongs to one goroutine at a time. A run cannot be interrupted: the
// binding offers no way to stop a bound run, so a context is heeded before it only.
//
// The library is never unloaded, since it does not support being loaded twice in
// one process.
package onnxrt
