// SPDX-License-Identifier: Apache-2.0

package onnx_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// The functions here write protobuf by hand, so that the reader is not tested
// against our own writer alone.

func varint(number int, v uint64) string {
	return string(binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3), v))
}

func sub(number int, body ...string) string {
	joined := strings.Join(body, "")
	head := binary.AppendUvarint(binary.AppendUvarint(nil, uint64(number)<<3|2), uint64(len(joined)))
	return string(head) + joined
}

func fixed32(number int, v uint32) string {
	head := binary.AppendUvarint(nil, uint64(number)<<3|5)
	return string(binary.LittleEndian.AppendUint32(head, v))
}

// file wraps the fields of a graph into a model.
func file(graph ...string) string { return varint(1, 8) + sub(7, graph...) }

func parse(t *testing.T, data string) *onnx.Model {
	t.Helper()
	m, err := onnx.Parse([]byte(data), onnx.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestParseModelFields(t *testing.T) {
	m := parse(t, varint(1, 8)+sub(2, "maker")+sub(3, "1.2")+sub(4, "org.example")+varint(5, 7)+sub(6, "about")+
		sub(7, sub(2, "g"))+sub(8, varint(2, 17))+sub(8, sub(1, "ai.onnx.ml"), varint(2, 3))+sub(14, sub(1, "k"), sub(2, "v"))+
		sub(25, sub(1, "F"), sub(10, "own"), sub(4, "x"), sub(5, "y"), sub(6, "alpha"), sub(7, sub(4, "Relu"))))
	want := &onnx.Model{
		IRVersion: 8, ProducerName: "maker", ProducerVersion: "1.2", Domain: "org.example", ModelVersion: 7, Doc: "about",
		Graph:    &onnx.Graph{Name: "g"},
		Opsets:   []onnx.OpsetImport{{Version: 17}, {Domain: "ai.onnx.ml", Version: 3}},
		Metadata: []onnx.Property{{Key: "k", Value: "v"}},
		Functions: []onnx.Function{{Name: "F", Domain: "own", Inputs: []string{"x"}, Outputs: []string{"y"},
			Attributes: []string{"alpha"}, Nodes: []onnx.Node{{OpType: "Relu"}}}},
	}
	if !reflect.DeepEqual(m, want) {
		t.Errorf("got %+v, want %+v", m, want)
	}
	for domain, version := range map[string]int64{"": 17, "ai.onnx": 17, "ai.onnx.ml": 3, "other": 0} {
		if got := m.Opset(domain); got != version {
			t.Errorf("opset of %q is %d, want %d", domain, got, version)
		}
	}
}

func TestParseTypes(t *testing.T) {
	tensor := func(elem uint64, shape ...string) string {
		fields := varint(1, elem)
		if shape != nil {
			fields += sub(2, shape...)
		}
		return sub(1, fields)
	}
	minusOne := uint64(1<<64 - 1)
	for _, c := range []struct{ encoded, want string }{
		{tensor(1, sub(1, sub(2, "batch")), sub(1, varint(1, 16)), sub(1)), "tensor(float)[batch,16,?]"},
		{tensor(7, ""), "tensor(int64)[]"},
		{tensor(16), "tensor(bfloat16)"},
		{tensor(17, sub(1, varint(1, minusOne))), "tensor(float8e4m3fn)[?]"},
		{tensor(99), "tensor(elem_type(99))"},
		{sub(8, varint(1, 1), sub(2, sub(1, varint(1, 3)))), "sparse_tensor(float)[3]"},
		{sub(4, sub(1, sub(5, varint(1, 7), sub(2, tensor(1))))), "seq(map(int64,tensor(float)))"},
		{sub(9, sub(1, tensor(8))), "optional(tensor(string))"},
		{sub(4), "seq(unknown)"},
		{sub(7, sub(1, "org"), sub(2, "thing")), "opaque(org.thing)"},
		{tensor(1) + sub(4, sub(1, tensor(1))), "seq(tensor(float))"},
		{"", "unknown"},
	} {
		m := parse(t, file(sub(12, sub(1, "y"), sub(2, c.encoded))))
		if got := m.Outputs()[0].Type.String(); got != c.want {
			t.Errorf("type is %s, want %s", got, c.want)
		}
	}
}

func TestParsePackedAndUnpackedAreEqual(t *testing.T) {
	attribute := func(fields ...string) string { return file(sub(1, sub(5, append(fields, sub(1, "a"))...))) }
	unpacked := parse(t, attribute(varint(20, 7), varint(8, 1), varint(8, 300), fixed32(7, 0x3f800000)))
	packed := parse(t, attribute(varint(20, 7), sub(8, "\x01\xac\x02"), sub(7, "\x00\x00\x80\x3f")))
	if !reflect.DeepEqual(packed, unpacked) {
		t.Errorf("packed %+v, unpacked %+v", packed, unpacked)
	}
	a := packed.Graph.Nodes[0].Attribute("a")
	if a == nil || !reflect.DeepEqual(a.Ints, []int64{1, 300}) || !reflect.DeepEqual(a.Floats, []float32{1}) {
		t.Errorf("attribute is %+v", a)
	}
}

func TestParseSkipsUnknownFields(t *testing.T) {
	m := parse(t, file(sub(14, "whatever"), varint(200, 1), fixed32(201, 1), sub(1, sub(4, "Relu"), sub(10, "devices"))))
	if len(m.Graph.Nodes) != 1 || m.Graph.Nodes[0].OpType != "Relu" {
		t.Errorf("graph is %+v", m.Graph)
	}
}

// A type that a later version of ONNX adds does not make a file unreadable.
func TestParseKeepsUnknownElementType(t *testing.T) {
	w := parse(t, file(sub(5, varint(1, 3), varint(2, 99), sub(9, "ab")))).Graph.Initializers[0]
	if w.Elem != 99 || string(w.Raw) != "ab" {
		t.Errorf("tensor is %+v", w)
	}
}

func TestParseMergesRepeatedGraph(t *testing.T) {
	m := parse(t, file(sub(2, "g"))+sub(7, sub(1, sub(4, "Relu"))))
	if m.Graph.Name != "g" || len(m.Graph.Nodes) != 1 {
		t.Errorf("graph is %+v", m.Graph)
	}
}

func TestParseAliasesRawData(t *testing.T) {
	data := []byte(file(sub(5, varint(1, 2), varint(2, 3), sub(8, "w"), sub(9, "ab"))))
	m, err := onnx.Parse(data, onnx.ReadOptions{})
	if err != nil {
		t.Fatal(err)
	}
	raw := m.Graph.Initializers[0].Raw
	data[len(data)-1] = 'c'
	if string(raw) != "ac" {
		t.Errorf("raw data is %q, want it to alias the input", raw)
	}
}

func TestParseSkipTensorData(t *testing.T) {
	data := []byte(file(
		sub(5, varint(1, 2), varint(2, 3), sub(8, "raw"), sub(9, "ab")),
		sub(5, varint(1, 2), varint(2, 7), sub(8, "typed"), sub(7, "\x01\x02")),
		sub(11, sub(1, "raw")), sub(11, sub(1, "x"))))
	m, err := onnx.Parse(data, onnx.ReadOptions{SkipTensorData: true})
	if err != nil {
		t.Fatal(err)
	}
	want := []onnx.Tensor{{Name: "raw", Dims: []int64{2}, Elem: onnx.ElemInt8}, {Name: "typed", Dims: []int64{2}, Elem: onnx.ElemInt64}}
	if !reflect.DeepEqual(m.Graph.Initializers, want) {
		t.Errorf("initializers are %+v, want %+v", m.Graph.Initializers, want)
	}
	if inputs := m.Inputs(); len(inputs) != 1 || inputs[0].Name != "x" {
		t.Errorf("inputs are %+v, want x alone", inputs)
	}
}

func TestParseCorrupt(t *testing.T) {
	tensor := func(fields ...string) string { return file(sub(5, append([]string{sub(8, "w")}, fields...)...)) }
	attribute := func(fields ...string) string {
		return file(sub(1), sub(1), sub(1), sub(1, sub(5, append([]string{sub(1, "to")}, fields...)...)))
	}
	deep := varint(1, 1)
	for range 60 {
		deep = sub(4, sub(1, deep))
	}
	for _, c := range []struct{ name, data, want string }{
		{"empty", "", "graph: is missing"},
		{"no graph", varint(1, 8), "graph: is missing"},
		{"no version", sub(7), "ir_version: 0 is not a version"},
		{"text", "this is not a model", "wire type 4"},
		{"page", "<!DOCTYPE html>", "wire type 4"},
		{"pointer", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"},
		{"key cut off", file() + "\x80", "file: a field's key is cut off"},
		{"field zero", file("\x00\x00"), "graph: field number 0"},
		{"group", file("\x0b\x0c"), "graph: field 1 has wire type 3"},
		{"longer than file", varint(1, 8) + "\x3a\x7f", "file: field 7 is cut off"},
		{"length of all ones", varint(1, 8) + "\x3a" + strings.Repeat("\xff", 9) + "\x01", "file: field 7 is cut off"},
		{"endless varint", file(varint(2, 1)[:1] + strings.Repeat("\xff", 11)), "graph: field 2 is cut off or malformed"},
		{"wrong wire type", file(varint(2, 5)), "graph.name: has wire type 0, want 2"},
		{"name not UTF-8", file(sub(2, "\xff\xfe")), "graph.name: is not valid UTF-8"},
		{"input's name", file(sub(11, sub(1, "\xff"))), "graph.input[0].name: is not valid UTF-8"},
		{"attribute", attribute(sub(3, "x")), `graph.node[3].attribute "to".i: has wire type 2, want 0`},
		{"attribute's type", attribute(varint(20, 99)), `graph.node[3].attribute "to".type: 99 is not`},
		{"attribute without a name", file(sub(1, sub(5, varint(3, 1)))), "graph.node[0].attribute[0].name: is missing"},
		{"packed ints", attribute(sub(8, "\x01\x80")), `attribute "to".ints: a number is cut off`},
		{"packed floats", attribute(sub(7, "\x01\x02\x03")), `attribute "to".floats: 3 bytes are not`},
		{"subgraph", attribute(sub(6, sub(1, sub(4, "\xff")))), `attribute "to".g.node[0].op_type: is not valid UTF-8`},
		{"nesting", file(sub(12, sub(1, "y"), sub(2, deep))), "nested deeper than 100 levels"},
		{"tensor without type", tensor(varint(1, 1)), `graph.initializer "w": has no element type`},
		{"negative extent", tensor(varint(1, 1<<63), varint(2, 1)), `initializer "w": dimension`},
		{"absurd extents", tensor(varint(1, 1<<40), varint(1, 1<<40), varint(2, 1)), `initializer "w": element count overflows`},
		{"absurd bytes", tensor(varint(1, 1<<62), varint(2, 11)), `initializer "w": element count overflows`},
		{"raw too short", tensor(varint(1, 3), varint(2, 1), sub(9, "12345678")), "has 8 bytes of raw data, dims [3] of float need 12"},
		{"no data", tensor(varint(1, 3), varint(2, 1)), "has 0 entries of typed data"},
		{"data of other type", tensor(varint(1, 1), varint(2, 1), sub(7, "\x01")), "has 0 entries of typed data"},
		{"raw strings", tensor(varint(1, 1), varint(2, 8), sub(9, "a")), "type string have no fixed size"},
		{"segment", tensor(varint(2, 1), sub(3)), `initializer "w".segment: tensors in segments`},
		{"external nowhere", tensor(varint(2, 1), varint(14, 1)), "no location is given"},
		{"external offset", tensor(varint(2, 1), varint(14, 1), sub(13, sub(1, "offset"), sub(2, "-1"))), `"-1" is not a number of bytes`},
		{"sparse", file(sub(15)), "sparse_initializer[0]: values or indices are missing"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m, err := onnx.Parse([]byte(c.data), onnx.ReadOptions{})
			if !errors.Is(err, onnx.ErrCorrupt) {
				t.Fatalf("got %v and error %v, want %v", m, err, onnx.ErrCorrupt)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %q does not say %q", err, c.want)
			}
		})
	}
}

// Every prefix of a good file is either an error or a smaller model.
func TestParseTruncated(t *testing.T) {
	data := []byte(file(sub(1, sub(1, "x"), sub(2, "y"), sub(4, "Cast"), sub(5, sub(1, "to"), varint(3, 1), varint(20, 2))),
		sub(5, varint(1, 1), varint(2, 1), sub(8, "w"), sub(9, "1234"))))
	for n := range data {
		if _, err := onnx.Parse(data[:n], onnx.ReadOptions{}); !errors.Is(err, onnx.ErrCorrupt) {
			t.Errorf("first %d of %d bytes: got error %v", n, len(data), err)
		}
	}
}

// memoryPerByteMax is the most memory that Parse may take for each byte it is given.
const memoryPerByteMax = 512

// parseMemory is how many bytes Parse allocates.
func parseMemory(data []byte) (uint64, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := onnx.Parse(data, onnx.ReadOptions{})
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc, err
}

func TestParseMemoryIsBounded(t *testing.T) {
	const n = 20_000
	for name, data := range map[string]string{
		"nodes":      file(strings.Repeat(sub(1), n)),
		"values":     file(strings.Repeat(sub(11), n)),
		"attributes": file(sub(1, strings.Repeat(sub(5, sub(1, "a")), n))),
		"strings":    file(sub(1, strings.Repeat(sub(1), n))),
		"packed":     file(sub(1, sub(5, sub(1, "a"), sub(8, strings.Repeat("\x01", n))))),
		"dims":       file(sub(11, sub(2, sub(1, sub(2, strings.Repeat(sub(1), n)))))),
	} {
		taken, err := parseMemory([]byte(data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if limit := uint64(len(data)) * memoryPerByteMax; taken > limit {
			t.Errorf("%s: %d bytes of file took %d bytes of memory, more than %d", name, len(data), taken, limit)
		}
	}
}

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.onnx"), filepath.Join(dir, "bad.onnx")
	for path, data := range map[string]string{good: file(sub(2, "g")), bad: "\xff"} {
		if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m, err := onnx.ReadFile(good, onnx.ReadOptions{})
	if err != nil || m.Graph.Name != "g" {
		t.Errorf("got %v, %v", m, err)
	}
	if _, err := onnx.ReadFile(bad, onnx.ReadOptions{}); !errors.Is(err, onnx.ErrCorrupt) || !strings.Contains(fmt.Sprint(err), bad) {
		t.Errorf("corrupt file gave %v", err)
	}
	if _, err := onnx.ReadFile(filepath.Join(dir, "none.onnx"), onnx.ReadOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file gave %v", err)
	}
	if _, err := onnx.ReadFile(dir, onnx.ReadOptions{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("folder gave %v", err)
	}
}

func TestReadFileTooLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "large.onnx")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 31); err != nil {
		t.Skip("no sparse files here:", err)
	}
	if _, err := onnx.ReadFile(path, onnx.ReadOptions{}); !errors.Is(err, onnx.ErrCorrupt) {
		t.Errorf("got error %v", err)
	}
}
