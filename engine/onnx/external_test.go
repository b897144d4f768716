// SPDX-License-Identifier: Apache-2.0

package onnx_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// externalModel has one tensor of four bytes whose data is external.
func externalModel(location string, offset, length int64) *onnx.Model {
	return &onnx.Model{IRVersion: 8, Graph: &onnx.Graph{Initializers: []onnx.Tensor{{
		Name: "weights", Dims: []int64{4}, Elem: onnx.ElemInt8,
		External: &onnx.External{Location: location, Offset: offset, Length: length},
	}}}}
}

// modelFolder holds data.bin of 8 bytes, sub/data.bin, links and a pipe; beside it
// stands secret.bin.
func modelFolder(t *testing.T) string {
	t.Helper()
	parent := t.TempDir()
	dir := filepath.Join(parent, "model")
	steps := []error{
		os.MkdirAll(filepath.Join(dir, "sub"), 0o755),
		os.WriteFile(filepath.Join(dir, "data.bin"), []byte("01234567"), 0o600),
		os.WriteFile(filepath.Join(dir, "sub", "data.bin"), []byte("abcdefgh"), 0o600),
		os.WriteFile(filepath.Join(parent, "secret.bin"), []byte("secrets!"), 0o600),
		os.Symlink("sub/data.bin", filepath.Join(dir, "inside")),
		os.Symlink("../secret.bin", filepath.Join(dir, "leaving")),
		os.Symlink(filepath.Join(parent, "secret.bin"), filepath.Join(dir, "absolute")),
		os.Symlink("..", filepath.Join(dir, "up")),
		os.Symlink("loop", filepath.Join(dir, "loop")),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLoadExternal(t *testing.T) {
	dir := modelFolder(t)
	for _, c := range []struct {
		location       string
		offset, length int64
		want           string
	}{
		{"data.bin", 0, 4, "0123"},
		{"data.bin", 4, -1, "4567"},
		{"sub/data.bin", 2, 4, "cdef"},
		{"./data.bin", 1, -1, "1234"},
		{"inside", 0, 4, "abcd"},
	} {
		m := externalModel(c.location, c.offset, c.length)
		if err := m.CheckExternal(dir); err != nil {
			t.Errorf("%s: %v", c.location, err)
		}
		if err := m.LoadExternal(dir, 4); err != nil {
			t.Errorf("%s: %v", c.location, err)
		}
		if w := m.Graph.Initializers[0]; string(w.Raw) != c.want || w.External != nil {
			t.Errorf("%s: tensor is %+v, want data %q", c.location, w, c.want)
		}
	}
}

func TestExternalEscapesAndFaults(t *testing.T) {
	dir := modelFolder(t)
	for _, c := range []struct {
		location       string
		offset, length int64
		want           string
	}{
		{filepath.Join(dir, "data.bin"), 0, 4, "path is absolute"},
		{"../secret.bin", 0, 4, `path has ".."`},
		{"sub/../data.bin", 0, 4, `path has ".."`},
		{"leaving", 0, 4, "escapes"},
		{"absolute", 0, 4, "escapes"},
		{"up/secret.bin", 0, 4, "escapes"},
		{"loop", 0, 4, "too many levels"},
		{"none.bin", 0, 4, "no such file"},
		{"sub", 0, 4, "not a regular file"},
		{"pipe", 0, 4, "not a regular file"},
		{"data.bin\x00", 0, 4, "invalid"},
		{"data.bin", 5, 4, "too short: it has 8 bytes, the tensor needs 4 at offset 5"},
		{"data.bin", 1<<63 - 1, 4, "too short"},
		{"data.bin", 0, 5, "length is 5"},
	} {
		m := externalModel(c.location, c.offset, c.length)
		for _, err := range []error{m.CheckExternal(dir), m.LoadExternal(dir, 1<<20)} {
			if !errors.Is(err, onnx.ErrExternalData) {
				t.Errorf("%q: got error %v, want %v", c.location, err, onnx.ErrExternalData)
				continue
			}
			if text := err.Error(); !strings.Contains(text, c.want) || !strings.Contains(text, `tensor "weights"`) {
				t.Errorf("%q: error %q does not say %q and name the tensor", c.location, text, c.want)
			}
		}
		if m.Graph.Initializers[0].Raw != nil {
			t.Errorf("%q: data was loaded", c.location)
		}
	}
}

func TestLoadExternalIsBounded(t *testing.T) {
	m := externalModel("data.bin", 0, 4)
	m.Graph.Initializers = append(m.Graph.Initializers, m.Graph.Initializers[0])
	if err := m.LoadExternal(modelFolder(t), 7); !errors.Is(err, onnx.ErrExternalData) || !strings.Contains(err.Error(), "more than the 7 bytes") {
		t.Errorf("got error %v", err)
	}
}

func TestExternalIsFoundEverywhere(t *testing.T) {
	outside := onnx.Tensor{Elem: onnx.ElemInt8, Dims: []int64{1}, External: &onnx.External{Location: "none"}}
	sparse := onnx.SparseTensor{Values: outside, Indices: outside}
	attribute := func(a onnx.Attribute) *onnx.Model {
		a.Name = "a"
		return &onnx.Model{Graph: &onnx.Graph{Nodes: []onnx.Node{{Attributes: []onnx.Attribute{a}}}}}
	}
	inner := &onnx.Graph{Initializers: []onnx.Tensor{outside}}
	for name, m := range map[string]*onnx.Model{
		"initializer": {Graph: inner},
		"sparse":      {Graph: &onnx.Graph{SparseInitializers: []onnx.SparseTensor{sparse}}},
		"attribute":   attribute(onnx.TensorAttribute("", outside)),
		"tensors":     attribute(onnx.Attribute{Tensors: []onnx.Tensor{outside}}),
		"sparse one":  attribute(onnx.Attribute{SparseTensor: &sparse}),
		"sparse many": attribute(onnx.Attribute{SparseTensors: []onnx.SparseTensor{sparse}}),
		"subgraph":    attribute(onnx.GraphAttribute("", inner)),
		"subgraphs":   attribute(onnx.Attribute{Graphs: []onnx.Graph{*inner}}),
		"function": {Graph: &onnx.Graph{}, Functions: []onnx.Function{{Nodes: []onnx.Node{{
			Attributes: []onnx.Attribute{onnx.TensorAttribute("value", outside)}}}}}},
		"default": {Graph: &onnx.Graph{}, Functions: []onnx.Function{{Defaults: []onnx.Attribute{onnx.TensorAttribute("value", outside)}}}},
	} {
		if err := m.CheckExternal(t.TempDir()); !errors.Is(err, onnx.ErrExternalData) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
	none := &onnx.Model{Graph: &onnx.Graph{}}
	if err := none.CheckExternal("no such folder"); err != nil {
		t.Errorf("a model without external data needs no folder: %v", err)
	}
}
