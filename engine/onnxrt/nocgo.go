// SPDX-License-Identifier: Apache-2.0

//go:build !cgo || !unix

package onnxrt

import (
	"errors"

	"github.com/millrace-ml/millrace/engine"
)

// supported is false: the library is reached through cgo. Open says so before
// anything below could be called.
const supported = false

func initialise(string) (string, error) {
	return "", errors.ErrUnsupported
}

func newModel(string, *graph, settings) engine.Model {
	return nil
}
