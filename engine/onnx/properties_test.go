// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// propertiesModel is a model with metadata and a constant that is larger than a buffer.
func propertiesModel(t testing.TB) []byte {
	t.Helper()
	b := NewBuilder("big")
	b.Input("x", tensor.FP32, Symbol("rows"), Extent(20000))
	b.Initializer(TensorOf("w", make([]float32, 20000), 1, 20000))
	b.Node("Add", []string{"x", "w"}, []string{"y"})
	b.Output("y", tensor.FP32, Symbol("rows"), Extent(20000))
	b.Metadata("first", "1")
	b.Metadata("signature", `{"features": ["ä"]}`)
	data, err := b.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func TestReadProperties(t *testing.T) {
	data := propertiesModel(t)
	path := filepath.Join(t.TempDir(), "model.onnx")
	write := func(data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(data)
	got, err := ReadProperties(path)
	if want := []Property{{"first", "1"}, {"signature", `{"features": ["ä"]}`}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for _, cut := range []int{1, 100, len(data) / 2, len(data) - 1} {
		write(data[:cut])
		if _, err := ReadProperties(path); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut at %d of %d: %v", cut, len(data), err)
		}
	}
	if _, err := ReadProperties(t.TempDir()); err == nil {
		t.Error("a folder has properties")
	}
	if _, err := ReadProperties(path + "no"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// FuzzReadProperties: what Parse reads, this reads alike.
func FuzzReadProperties(f *testing.F) {
	f.Add(propertiesModel(f)[80000:])
	f.Add([]byte{0x72, 0x04, 0x0a, 0x00, 0x12, 0x00})
	path := filepath.Join(f.TempDir(), "model.onnx")
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := ReadProperties(path)
		m, parseErr := Parse(data, ReadOptions{})
		if parseErr == nil && (err != nil || !slices.Equal(got, m.Metadata)) {
			t.Errorf("%q, %v; Parse has %q", got, err, m.Metadata)
		}
	})
}
