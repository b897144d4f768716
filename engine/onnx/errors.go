// SPDX-License-Identifier: Apache-2.0

package onnx

import "errors"

// Errors that callers branch on. Each is wrapped with what is wrong and where;
// trying again without changing the file fails again.
var (
	// ErrCorrupt says that the bytes are not a well-formed ONNX model.
	ErrCorrupt = errors.New("corrupt ONNX model")
	// ErrInvalidGraph says that the model is well formed and its graph is not: a
	// value is defined twice or never, or nodes wait for each other in a circle.
	ErrInvalidGraph = errors.New("invalid ONNX graph")
	// ErrExternalData says that data kept outside the model file is missing, too
	// short, or lies outside the model's folder.
	ErrExternalData = errors.New("invalid external data")
)
