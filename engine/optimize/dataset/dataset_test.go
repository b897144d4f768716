// SPDX-License-Identifier: Apache-2.0

package dataset_test

import (
	"archive/zip"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/optimize/dataset"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func write(t *testing.T, name string, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// npy is the content of an .npy file.
func npy(descr, order, shape string, data []byte) []byte {
	header := "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': (" + shape + "), }"
	header += strings.Repeat(" ", 63-(len(header)+10)%64) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), 0, 0)
	binary.LittleEndian.PutUint16(out[8:], uint16(len(header)))
	return append(append(out, header...), data...)
}

func npz(t *testing.T, arrays map[string][]byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "data.npz")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := zip.NewWriter(f)
	for name, content := range arrays {
		member, err := w.Create(name + ".npy")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := member.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return file
}

func floats(values ...float32) []byte { return onnx.TensorOf("", values).Raw }

func matrix(columns int64) []engine.TensorSpec {
	return []engine.TensorSpec{{Name: "x", Datatype: tensor.FP32, Shape: tensor.Shape{-1, columns}}}
}

func TestCSV(t *testing.T) {
	file := write(t, "rows.csv", []byte("\ufeffage,clicked, income\n1,yes,2.5\n\" 3\",no,-4e1\n5,no,6\n"))
	d, err := dataset.ReadFile(file, dataset.Options{Inputs: matrix(2), Label: "clicked"})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(d.Inputs[0].Data, floats(1, 2.5, 3, -40, 5, 6)) || !slices.Equal(d.Labels, []string{"yes", "no", "no"}) || d.Rows != 3 || d.Unit != 1 {
		t.Errorf("got %+v", d)
	}
	if d, err = dataset.ReadFile(file, dataset.Options{Inputs: matrix(2), Label: "clicked", RowsMax: 2}); err != nil || d.Rows != 2 || len(d.Labels) != 2 {
		t.Errorf("two rows: %+v, %v", d, err)
	}
	columns := []engine.TensorSpec{
		{Name: "clicked", Datatype: tensor.Bytes, Shape: tensor.Shape{-1, 1}}, {Name: "age", Datatype: tensor.Int64, Shape: tensor.Shape{-1}},
	}
	d, err = dataset.ReadFile(file, dataset.Options{Inputs: columns})
	if err != nil {
		t.Fatal(err)
	}
	part := d.Slice(1, 3)
	if string(part[0].Data) != "\x02\x00\x00\x00no\x02\x00\x00\x00no" || !slices.Equal(part[1].Data, onnx.TensorOf("", []int64{3, 5}).Raw) ||
		part[0].Shape.String() != "[2,1]" || part[1].Shape.String() != "[2]" {
		t.Errorf("got %+v", part)
	}
}

func TestArrays(t *testing.T) {
	doubles := onnx.TensorOf("", []float64{1, 2, 3, 4, 5, 6}).Raw
	want := map[string][]byte{
		"<f4 False": npy("<f4", "False", "3, 2", floats(1, 2, 3, 4, 5, 6)),
		"<f8 True":  npy("<f8", "True", "3, 2", onnx.TensorOf("", []float64{1, 3, 5, 2, 4, 6}).Raw),
		"<f8 False": npy("<f8", "False", "3, 2", doubles),
		"|i1 False": npy("|i1", "False", "3, 2", []byte{1, 2, 3, 4, 5, 6}),
		"<f2 False": npy("<f2", "False", "3, 2", onnx.TensorOf("", []uint16{0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600}).Raw),
	}
	for name, content := range want {
		d, err := dataset.ReadFile(write(t, "x.npy", content), dataset.Options{Inputs: matrix(2)})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !slices.Equal(d.Inputs[0].Data, floats(1, 2, 3, 4, 5, 6)) {
			t.Errorf("%s: got %v", name, d.Inputs[0].Data)
		}
	}
	text := append(slices.Concat(onnx.TensorOf("", []uint32{'é', 0}).Raw), onnx.TensorOf("", []uint32{'a', 'b'}).Raw...)
	archive := npz(t, map[string][]byte{
		"x": npy("<f4", "False", "2, 1", floats(1, 2)), "word": npy("<U2", "False", "2,", text), "y": npy("<i8", "False", "2,", onnx.TensorOf("", []int64{-7, 1}).Raw),
	})
	specs := append(matrix(1), engine.TensorSpec{Name: "word", Datatype: tensor.Bytes, Shape: tensor.Shape{-1}})
	d, err := dataset.ReadFile(archive, dataset.Options{Inputs: specs, Label: "y"})
	if err != nil {
		t.Fatal(err)
	}
	if string(d.Inputs[1].Data) != "\x02\x00\x00\x00é\x02\x00\x00\x00ab" || !slices.Equal(d.Labels, []string{"-7", "1"}) {
		t.Errorf("got %q and %v", d.Inputs[1].Data, d.Labels)
	}
}

// TestRefused checks that errors say where the fault is.
func TestRefused(t *testing.T) {
	nan := float32(math.NaN())
	huge := npy("<f4", "False", "4611686018427387904, 4611686018427387904", nil)
	tests := []struct {
		name    string
		content []byte
		options dataset.Options
		text    string
	}{
		{"a.csv", []byte("a,b\n1,2\n3,oops\n"), dataset.Options{Inputs: matrix(2)}, `line 3, column "b": "oops" is not a number`},
		{"a.csv", []byte("a,b\n1,2\n3,NaN\n"), dataset.Options{Inputs: matrix(2)}, `line 3, column "b": NaN`},
		{"a.csv", []byte("a,b\n1,\n"), dataset.Options{Inputs: matrix(2)}, `line 2, column "b": the cell is empty`},
		{"a.csv", []byte("a,b\n1,2\n3\n"), dataset.Options{Inputs: matrix(2)}, "wrong number of fields"},
		{"a.csv", []byte("a,b,c\n1,2,3\n"), dataset.Options{Inputs: matrix(2)}, `3 columns beside the label, input "x" takes 2`},
		{"a.csv", []byte("a,b\n1,2\n"), dataset.Options{Inputs: matrix(1), Label: "c"}, `no column "c" for the labels; the header has a, b`},
		{"a.csv", []byte("a,b\n"), dataset.Options{Inputs: matrix(2)}, "no rows"},
		{"a.csv", nil, dataset.Options{Inputs: matrix(2)}, "the file is empty"},
		{"a.csv", []byte("a\n1e99\n"), dataset.Options{Inputs: matrix(1)}, `line 2, column "a": "1e99" is not a number that fits`},
		{"a.csv", []byte("a\n1.5\n"), dataset.Options{Inputs: []engine.TensorSpec{{Name: "x", Datatype: tensor.Int64, Shape: tensor.Shape{-1, 1}}}}, `"1.5" is not a whole number of INT64`},
		{"a.npy", npy("<f4", "False", "2, 2", floats(1, 2, 3, nan)), dataset.Options{Inputs: matrix(2)}, "row 1, column 1 (counted from 0) is NaN"},
		{"a.npy", npy("<f8", "False", "1, 2", onnx.TensorOf("", []float64{1, math.NaN()}).Raw), dataset.Options{Inputs: matrix(2)}, "row 0, column 1 (counted from 0): NaN"},
		{"a.npy", npy("<f4", "False", "2, 2", floats(1, 2, 3)), dataset.Options{Inputs: matrix(2)}, "12 bytes of data, shape [2,2]"},
		{"a.npy", npy("<f4", "False", "1, 3", floats(1, 2, 3)), dataset.Options{Inputs: matrix(2)}, "shape [1,3], the model takes [-1,2]"},
		{"a.npy", npy(">f4", "False", "1, 2", floats(1, 2)), dataset.Options{Inputs: matrix(2)}, "big-endian"},
		{"a.npy", npy("|O", "False", "1, 2", floats(1, 2)), dataset.Options{Inputs: matrix(2)}, "elements of type O"},
		{"a.npy", npy("<U0", "False", "9000000000, 2", nil), dataset.Options{Inputs: matrix(2)}, "elements of type U0"},
		{"a.npy", huge, dataset.Options{Inputs: matrix(2)}, "overflow"},
		{"a.npy", []byte("PK and the rest"), dataset.Options{Inputs: matrix(2)}, "not an .npy file"},
		{"a.npy", npy("<f4", "False", "1, 1", floats(1))[:20], dataset.Options{Inputs: matrix(2)}, "header"},
		{"a.npz", []byte("not an archive at all"), dataset.Options{Inputs: matrix(2)}, "zip"},
		{"a.parquet", nil, dataset.Options{Inputs: matrix(2)}, "none of .csv, .npy, .npz"},
	}
	for _, test := range tests {
		file := write(t, test.name, test.content)
		_, err := dataset.ReadFile(file, test.options)
		if err == nil || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), file) {
			t.Errorf("%.40q: got %v, want %q", test.content, err, test.text)
		}
	}
	if _, err := dataset.ReadFile(write(t, "a.csv", []byte("a,b\n1,\n")), dataset.Options{Inputs: matrix(2), AllowNaN: true}); err != nil {
		t.Errorf("NaN was allowed: %v", err)
	}
}

// TestRows checks which rows belong to one run.
func TestRows(t *testing.T) {
	of := func(name string, shape ...int64) (engine.TensorSpec, func(shape ...int64) tensor.Tensor) {
		return engine.TensorSpec{Name: name, Datatype: tensor.Uint8, Shape: shape}, func(shape ...int64) tensor.Tensor {
			n, _ := tensor.Shape(shape).Elements()
			return tensor.Tensor{Name: name, Datatype: tensor.Uint8, Shape: shape, Data: make([]byte, n)}
		}
	}
	open, openData := of("open", -1, 2)
	fixed, fixedData := of("fixed", 4, 2)
	scalar, scalarData := of("scalar")
	tests := []struct {
		specs      []engine.TensorSpec
		data       []tensor.Tensor
		rows, unit int
		text       string
	}{
		{[]engine.TensorSpec{open, open}, []tensor.Tensor{openData(6, 2), openData(6, 2)}, 6, 1, ""},
		{[]engine.TensorSpec{open, open}, []tensor.Tensor{openData(6, 2), openData(5, 2)}, 0, 0, "has 6 rows"},
		{[]engine.TensorSpec{fixed}, []tensor.Tensor{fixedData(12, 2)}, 12, 4, ""},
		{[]engine.TensorSpec{fixed}, []tensor.Tensor{fixedData(10, 2)}, 0, 0, "the model takes [4,2]"},
		{[]engine.TensorSpec{open, scalar}, []tensor.Tensor{openData(6, 2), scalarData()}, 6, 6, ""},
		{[]engine.TensorSpec{open}, []tensor.Tensor{openData(0, 2)}, 0, 0, "no rows"},
		{[]engine.TensorSpec{open}, nil, 0, 0, "0 inputs given"},
	}
	for i, test := range tests {
		d, err := dataset.New(test.data, nil, dataset.Options{Inputs: test.specs})
		switch {
		case test.text != "":
			if err == nil || !strings.Contains(err.Error(), test.text) {
				t.Errorf("%d: got %v, want %q", i, err, test.text)
			}
		case err != nil:
			t.Errorf("%d: %v", i, err)
		case d.Rows != test.rows || d.Unit != test.unit:
			t.Errorf("%d: %d rows in %ds, want %d in %ds", i, d.Rows, d.Unit, test.rows, test.unit)
		}
	}
}
