// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// example is one case of the ONNX project.
type example struct {
	name       string
	rtol, atol float64
	model      []byte
	sets       []set
}

// set is inputs, in the order of the graph's, with the outputs that they must give.
type set struct{ inputs, outputs []tensor.Tensor }

// readArchive reads what cases.py wrote.
func readArchive(t *testing.T, file string) []example {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var list []example
	for archive := tar.NewReader(unpacked); ; {
		member, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return list
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		record, err := io.ReadAll(archive)
		if err != nil {
			t.Fatalf("%s: %s: %v", file, member.Name, err)
		}
		list = append(list, parse(t, member.Name, record))
	}
}

// described is a tensor as a record's first line has it.
type described struct {
	Elem  onnx.ElemType
	Shape tensor.Shape
	Bytes int
}

func parse(t *testing.T, name string, record []byte) example {
	t.Helper()
	line, rest, _ := bytes.Cut(record, []byte("\n"))
	var head struct {
		Rtol, Atol float64
		Model      int
		Sets       []struct{ Inputs, Outputs []described }
	}
	if err := json.Unmarshal(line, &head); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	take := func(n int) []byte {
		if n > len(rest) {
			t.Fatalf("%s: the record is too short", name)
		}
		taken := rest[:n]
		rest = rest[n:]
		return taken
	}
	tensors := func(list []described) []tensor.Tensor {
		var all []tensor.Tensor
		for _, d := range list {
			all = append(all, tensor.Tensor{Datatype: d.Elem.Datatype(), Shape: d.Shape, Data: take(d.Bytes)})
		}
		return all
	}
	e := example{name: name, rtol: head.Rtol, atol: head.Atol, model: take(head.Model)}
	for _, s := range head.Sets {
		e.sets = append(e.sets, set{tensors(s.Inputs), tensors(s.Outputs)})
	}
	return e
}
