// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

var everyType = []ParquetColumn{
	{Name: "b", Type: column.Bool}, {Name: "i", Type: column.Int64}, {Name: "f", Type: column.Float64},
	{Name: "s", Type: column.Float64, Float32: true}, {Name: "x", Type: column.String}, {Name: "t", Type: column.Timestamp},
	{Name: "r", Type: column.Int64, Required: true},
}

// randomBatch has columns of everyType.
func randomBatch(rng *rand.Rand, rows int) *column.Batch {
	b := &column.Batch{Rows: rows}
	for _, p := range everyType {
		c := column.Column{Name: p.Name, Type: p.Type}
		for range rows {
			switch v := rng.IntN(1 << (1 + rng.IntN(20))); {
			case !p.Required && rng.IntN(9) == 0:
				c.AppendNull()
			case c.Type == column.Bool:
				c.AppendNumber(float64(v % 2))
			case c.Type == column.Float64:
				c.AppendNumber(float64(v) / 16)
			case c.Type == column.String:
				c.AppendText(fmt.Sprint("text ", v))
			default:
				c.AppendInt(int64(v) * 1_000_000)
			}
		}
		b.Columns = append(b.Columns, c)
	}
	return b
}

// part of a batch, from a row to another.
func cut(b *column.Batch, from, to int) *column.Batch {
	out := &column.Batch{Rows: to - from}
	for _, c := range b.Columns {
		part := column.Column{Name: c.Name, Type: c.Type}
		switch c.Type {
		case column.Bool, column.Float64:
			part.Numbers = c.Numbers[from:to]
		case column.String:
			part.Texts = c.Texts[from:to]
		default:
			part.Ints = c.Ints[from:to]
		}
		if c.Nulls != nil {
			part.Nulls = c.Nulls[from:to]
		}
		out.Columns = append(out.Columns, part)
	}
	return out
}

// The bytes depend on the rows alone: not on workers, nor on how they come. What is read
// back is what was written.
func TestWriterIsDeterministic(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	b := randomBatch(rng, 30_000)
	for _, c := range []Compression{Snappy, Zstandard, Uncompressed} {
		var first []byte
		for _, workers := range []int{1, 2, 7} {
			path := filepath.Join(t.TempDir(), "out.parquet")
			w, err := NewParquetWriter(path, everyType, WriterOptions{Workers: workers, RowGroupRows: 4321, Compression: c, Notes: []Note{{"definitions", "abc"}}})
			must(t, err)
			for from := 0; from < b.Rows; {
				to := min(b.Rows, from+rng.IntN(9000))
				must(t, w.Write(cut(b, from, to)))
				from = to
			}
			must(t, w.Close())
			must(t, w.Close())
			if w.Rows() != int64(b.Rows) {
				t.Errorf("%d rows", w.Rows())
			}
			data, err := os.ReadFile(path)
			must(t, err)
			if first == nil {
				first = data
				s := &definition.Source{Name: "out", ID: -1, Timestamp: -1, Arrival: -1, Inputs: []definition.Input{{Format: definition.Parquet, Path: path}}}
				for _, p := range everyType {
					s.Fields = append(s.Fields, field(p.Name, p.Type.String()))
				}
				got, _ := readAll(t, s, Options{})
				same(t, "read back", got, rows(b))
			}
			if !bytes.Equal(first, data) {
				t.Errorf("compression %d, %d workers: other bytes", c, workers)
			}
		}
		f, err := parquet.OpenFile(bytes.NewReader(first), int64(len(first)))
		must(t, err)
		if v, _ := f.Lookup("definitions"); v != "abc" || len(f.RowGroups()) != 7 || f.NumRows() != 30_000 {
			t.Errorf("note %q, %d row groups, %d rows", v, len(f.RowGroups()), f.NumRows())
		}
	}
}

func TestWriterWithoutRows(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.parquet")
	w, err := NewParquetWriter(path, everyType, WriterOptions{})
	must(t, err)
	must(t, w.Close())
	r, err := OpenFile(t.Context(), definition.Parquet, path, nil, Options{})
	must(t, err)
	if n := len(r.Fields()); n != len(everyType) {
		t.Errorf("%d fields", n)
	}
	var b column.Batch
	if more, err := r.Next(&b); more || err != nil {
		t.Error(more, err)
	}
	must(t, r.Close())
}

// A file that is not finished is not seen, and one that was there stays.
func TestWriterIsAllOrNothing(t *testing.T) {
	dir := t.TempDir()
	path := put(t, filepath.Join(dir, "out.parquet"), "before")
	begin := func() *ParquetWriter {
		w, err := NewParquetWriter(path, []ParquetColumn{{Name: "f", Type: column.Float64, Float32: true, Required: true}}, WriterOptions{RowGroupRows: 2, Workers: 1})
		must(t, err)
		return w
	}
	batch := func(numbers ...float64) *column.Batch {
		return &column.Batch{Rows: len(numbers), Columns: []column.Column{{Type: column.Float64, Numbers: numbers}}}
	}
	untouched := func(what string) {
		t.Helper()
		data, err := os.ReadFile(path)
		must(t, err)
		entries, err := os.ReadDir(dir)
		must(t, err)
		if string(data) != "before" || len(entries) != 1 {
			t.Errorf("%s: %q in %v", what, data, entries)
		}
	}
	w := begin()
	must(t, w.Write(batch(1, 2, 3)))
	must(t, errors.Join(w.Abort(), w.Abort(), w.Close()))
	untouched("given up")

	w = begin()
	if err := errors.Join(w.Write(batch(1, math.NaN(), 3)), w.Close()); err == nil || !strings.Contains(err.Error(), `"f" is required and has 1 nulls`) {
		t.Error("a null:", err)
	}
	untouched("a null")

	w = begin()
	if err := errors.Join(w.Write(batch(1e300)), w.Close()); err == nil || !strings.Contains(err.Error(), "does not fit 32 bits") {
		t.Error("a large number:", err)
	}
	untouched("a large number")

	w = begin()
	must(t, w.Write(batch(1)))
	must(t, w.Close())
	if err := w.Write(batch(1)); !errors.Is(err, ErrWriter) {
		t.Error("written after the end:", err)
	}
	if data, err := os.ReadFile(path); err != nil || !bytes.HasPrefix(data, []byte("PAR1")) {
		t.Error("the new file is not there:", err)
	}
}

func TestWriterRefuses(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.parquet")
	for what, columns := range map[string][]ParquetColumn{
		"none": nil, "no name": {{Type: column.Bool}}, "twice": {{Name: "a", Type: column.Bool}, {Name: "a", Type: column.Bool}},
		"no type": {{Name: "a"}}, "float32 texts": {{Name: "a", Type: column.String, Float32: true}},
	} {
		if _, err := NewParquetWriter(path, columns, WriterOptions{}); !errors.Is(err, ErrWriter) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := NewParquetWriter(path, everyType, WriterOptions{Workers: -1, RowGroupRows: 1 << 30, Compression: 9}); err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("options: %v", err)
	}
	if _, err := NewParquetWriter(filepath.Join(path, "no", "folder"), everyType, WriterOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	w, err := NewParquetWriter(path, everyType, WriterOptions{})
	must(t, err)
	if err := w.Write(&column.Batch{Rows: 1}); !errors.Is(err, ErrWriter) {
		t.Errorf("no columns: %v", err)
	}
	b := randomBatch(rand.New(rand.NewPCG(1, 1)), 3)
	b.Columns[2].Type = column.Bool
	if err := w.Write(b); !errors.Is(err, ErrWriter) {
		t.Errorf("other types: %v", err)
	}
	must(t, w.Abort())
}
