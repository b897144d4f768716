// SPDX-License-Identifier: Apache-2.0

package rewrite_test

import (
	"errors"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
)

// FuzzApply holds rewriting to its promises for any file that can be read: no panic,
// errors of one class, and a graph that is sound with its outputs as they were.
func FuzzApply(f *testing.F) {
	for seed := range uint64(12) {
		data, err := randomModel(seed).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, byte(seed))
	}
	for _, test := range quantizedCases {
		b := rowModel(4)
		scales(b, "x", 0.03, 128)
		test.build(b)
		data, err := b.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, byte(0))
	}
	for _, m := range []*onnx.Model{functionModel()} {
		data, err := m.Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, byte(1))
	}
	data, err := loopModel().Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, byte(1))
	f.Fuzz(func(t *testing.T, data []byte, options byte) {
		m, err := onnx.Parse(data, onnx.ReadOptions{})
		if err != nil {
			return
		}
		checkApply(t, m, rewrite.Options{Standard: options&1 != 0, DropZipMap: options&2 != 0})
	})
}

func checkApply(t *testing.T, m *onnx.Model, o rewrite.Options) {
	result, _, err := rewrite.Apply(m, o)
	if err != nil {
		if !errors.Is(err, onnx.ErrInvalidGraph) {
			t.Errorf("error %v is not of class %v", err, onnx.ErrInvalidGraph)
		}
		if m.Check() == nil && len(m.Functions) == 0 {
			t.Errorf("a sound graph gives the error %v", err)
		}
		return
	}
	if len(result.Graph.Outputs) != len(m.Graph.Outputs) {
		t.Fatalf("%d outputs become %d", len(m.Graph.Outputs), len(result.Graph.Outputs))
	}
	for i := range m.Graph.Outputs {
		if result.Graph.Outputs[i].Name != m.Graph.Outputs[i].Name {
			t.Errorf("output %d is %q, want %q", i, result.Graph.Outputs[i].Name, m.Graph.Outputs[i].Name)
		}
	}
	if o.Standard && !standardOnly(result) && standardOnly(m) {
		t.Error("an internal operator was produced")
	}
}
