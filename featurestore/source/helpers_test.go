// SPDX-License-Identifier: Apache-2.0

package source

import (
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// field is a field without rules but those of its definition's short form: a type and
// perhaps "required".
func field(name, kind string) definition.Field {
	f := plainField(name)
	kind, f.Required = strings.CutSuffix(kind, " required")
	var err error
	if f.Type, err = column.ParseType(kind); err != nil {
		panic(err)
	}
	return f
}

// payments is a source with a field of every type.
func payments(inputs ...definition.Input) *definition.Source {
	s := &definition.Source{Name: "payments", ID: 0, Timestamp: 1, Arrival: -1, Inputs: inputs, Fields: []definition.Field{
		field("id", "string"), field("time", "timestamp"), field("customer", "int64"), field("amount", "float64 required"),
		field("channel", "string"), field("fraud", "bool"),
	}}
	s.Fields[3].Min = 0
	s.Fields[4].Values = []string{"pos", "web", "atm"}
	return s
}

// put writes a file, packed as its name says.
func put(t testing.TB, path, content string) string {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	switch {
	case strings.HasSuffix(path, ".gz"):
		z := gzip.NewWriter(f)
		_, err = z.Write([]byte(content))
		err = errors.Join(err, z.Close())
	case strings.HasSuffix(path, ".zst"):
		z, made := zstd.NewWriter(f)
		must(t, made)
		_, err = z.Write([]byte(content))
		err = errors.Join(err, z.Close())
	default:
		_, err = f.WriteString(content)
	}
	must(t, errors.Join(err, f.Close()))
	return path
}

func csvInput(t testing.TB, content string) definition.Input {
	t.Helper()
	return definition.Input{Format: definition.CSV, Path: put(t, filepath.Join(t.TempDir(), "in.csv"), content)}
}

// rows are the rows of a batch as text, "null" for nulls.
func rows(b *column.Batch) []string {
	var all []string
	for i := range b.Rows {
		var row []string
		for j := range b.Columns {
			c := &b.Columns[j]
			switch {
			case c.Len() == 0:
				row = append(row, "-")
			case c.Null(i):
				row = append(row, "null")
			case c.Type == column.String:
				row = append(row, c.Texts[i])
			case c.Type == column.Int64 || c.Type == column.Timestamp:
				row = append(row, fmt.Sprint(c.Ints[i]))
			default:
				row = append(row, fmt.Sprint(c.Numbers[i]))
			}
		}
		all = append(all, strings.Join(row, " "))
	}
	return all
}

// sound checks what every batch promises.
func sound(t testing.TB, b *column.Batch) {
	t.Helper()
	for i := range b.Columns {
		c := &b.Columns[i]
		if n := c.Len(); n != 0 && n != b.Rows || c.Nulls != nil && len(c.Nulls) != b.Rows {
			t.Fatalf("column %s: %d values and %d marks in a batch of %d rows", c.Name, n, len(c.Nulls), b.Rows)
		}
	}
}

// readAll reads everything one batch after another.
func readAll(t testing.TB, s *definition.Source, o Options) ([]string, *Reader) {
	t.Helper()
	all, r, err := tryAll(t, s, o)
	must(t, err)
	return all, r
}

func tryAll(t testing.TB, s *definition.Source, o Options) ([]string, *Reader, error) {
	t.Helper()
	r, err := Open(t.Context(), s, o)
	if err != nil {
		return nil, nil, err
	}
	defer func() { must(t, r.Close()) }()
	var all []string
	var b column.Batch
	for {
		more, err := r.Next(&b)
		if err != nil || !more {
			return all, r, err
		}
		sound(t, &b)
		if b.Rows == 0 || o.BatchRows > 0 && b.Rows > o.BatchRows {
			t.Fatalf("a batch of %d rows", b.Rows)
		}
		all = append(all, rows(&b)...)
	}
}

func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("%s: row %d is %q, want %q", what, i, got[i], want[i])
		}
	}
	t.Fatalf("%s: %d rows, want %d: %q", what, len(got), len(want), got[:min(len(got), 10)])
}

// expectError checks that an error is of a kind and says what it should.
func expectError(t testing.TB, err, kind error, parts ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("error %v, want one that is %v", err, kind)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
}
