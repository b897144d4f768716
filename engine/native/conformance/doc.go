// SPDX-License-Identifier: Apache-2.0

// Package conformance holds the native engine to the operator cases of the ONNX
// project (onnx.backend.test): each is a small model with inputs and the outputs that
// the standard wants.
//
// TestAllCases has cases.py write every case of the Python package onnx, which it
// fetches in the version that requirements.txt pins; where that cannot be had it skips,
// with the reason. TestKeptCases runs those in testdata/cases.tar.gz, which needs no
// Python.
//
// A case is run as it is, and again with its inputs turned into constants, since
// exported models have shapes, axes and weights as such. What is loaded must give the
// right answer at every CPU level. How many cases are refused, and why, is kept in
// testdata, so that coverage cannot shrink unseen; after a change to it:
//
//	go test ./engine/native/conformance -update
package conformance
