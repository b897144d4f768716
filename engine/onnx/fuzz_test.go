// SPDX-License-Identifier: Apache-2.0

package onnx_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// FuzzParse holds the reader to its promises on any input: no panic, memory in
// proportion, errors of one class, and a model read comes back from what it writes.
func FuzzParse(f *testing.F) {
	seeds := []*onnx.Model{
		everything(),
		zoo.NewMLP("mlp", 1, 2, 3, 1).Model(),
		zoo.SumDifference("simple_string", tensor.Bytes, false),
		zoo.NonZero("nonzero"),
	}
	for _, m := range seeds {
		data, err := m.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		taken, err := parseMemory(data)
		if limit := uint64(64<<10 + memoryPerByteMax*len(data)); taken > limit {
			t.Errorf("%d bytes of file took %d bytes of memory, more than %d", len(data), taken, limit)
		}
		if err != nil {
			if !errors.Is(err, onnx.ErrCorrupt) {
				t.Errorf("error %v is not of class %v", err, onnx.ErrCorrupt)
			}
			return
		}
		checkReread(t, data)
	})
}

func checkReread(t *testing.T, data []byte) {
	m, err := onnx.Parse(data, onnx.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_ = m.Check() // must return, with whatever answer
	written := marshal(t, m)
	again, err := onnx.Parse(written, onnx.ReadOptions{})
	if err != nil {
		t.Fatalf("what was written cannot be read: %v", err)
	}
	if !bytes.Equal(marshal(t, again), written) {
		t.Error("a model changes from one writing to the next")
	}
}
