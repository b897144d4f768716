// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// codeMark precedes the code of an error inside the library's text.
const codeMark = "[ONNXRuntimeError] : "

// libraryError words an error of the library as users of other servers know it,
// without the binding's words around it. The binding passes the library's text on
// but not its code, so the code is the one that the text names, or else 1, which
// stands for any failure.
func libraryError(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	code := 1
	if _, after, found := strings.Cut(err.Error(), codeMark); found {
		digits, _, _ := strings.Cut(after, " ")
		if n, bad := strconv.Atoi(digits); bad == nil {
			code = n
		}
	}
	return fmt.Errorf("onnx runtime error %d: %w", code, err)
}

// shapeMismatches are what the library says, from one place or another, when an
// output turns out to have another shape than the tensor given for it.
var shapeMismatches = []string{
	"but the computed output shape for this run is",
	"OrtValue shape verification failed",
	"Shape mismatch attempting to re-use buffer",
}

func isShapeMismatch(err error) bool {
	text := err.Error()
	for _, words := range shapeMismatches {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}
