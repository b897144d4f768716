// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// FuzzNPY checks that no file makes the reader panic, and that what it takes for rows
// are some.
func FuzzNPY(f *testing.F) {
	head := "\x93NUMPY\x01\x00\x40\x00"
	f.Add([]byte(head + "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2), }     12345678"))
	f.Add([]byte(head + "{'descr': '|i1', 'fortran_order': True, 'shape': (3, 2), }      123456"))
	f.Add([]byte(head + "{'descr': '<U1', 'fortran_order': False, 'shape': (1,), }       a\x00\x00\x00"))
	o := Options{Inputs: []engine.TensorSpec{{Name: "x", Datatype: tensor.FP32, Shape: tensor.Shape{-1, 2}}}}
	f.Fuzz(func(t *testing.T, content []byte) {
		a, err := parseArray(content)
		if err != nil {
			return
		}
		if _, err := a.texts(); err == nil && int64(len(content)) < a.shape[0] {
			t.Errorf("%d labels of %d bytes", a.shape[0], len(content))
		}
		d, err := fromArrays(map[string]*array{"x": a}, o)
		if err == nil && (d.Rows == 0 || len(d.Inputs[0].Data) != d.Rows*8) {
			t.Errorf("%d bytes for %d rows", len(d.Inputs[0].Data), d.Rows)
		}
	})
}
