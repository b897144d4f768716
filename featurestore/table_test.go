// SPDX-License-Identifier: Apache-2.0

package featurestore_test

import (
	"errors"
	"io"
	"math"
	"os"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// table is a Parquet file with flat columns, read whole.
type table struct {
	t       *testing.T
	columns map[string]int
	rows    [][]parquet.Value
}

func readTable(t *testing.T, path string) *table {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := parquet.NewReader(f)
	defer r.Close()
	all := &table{t: t, columns: map[string]int{}}
	for i, path := range r.Schema().Columns() {
		all.columns[path[0]] = i
	}
	for buffer := make([]parquet.Row, 256); ; {
		n, err := r.ReadRows(buffer)
		for _, row := range buffer[:n] {
			all.rows = append(all.rows, row.Clone())
		}
		if errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func (a *table) len() int { return len(a.rows) }

func (a *table) value(name string, row int) parquet.Value {
	a.t.Helper()
	i, ok := a.columns[name]
	if !ok {
		a.t.Fatalf("no column %s in %v", name, a.columns)
	}
	return a.rows[row][i]
}

// number is a value as a vector has it: NaN is null.
func (a *table) number(name string, row int) float64 {
	v := a.value(name, row)
	switch {
	case v.IsNull():
		return math.NaN()
	case v.Kind() == parquet.Double:
		return v.Double()
	case v.Kind() == parquet.Boolean:
		if v.Boolean() {
			return 1
		}
		return 0
	}
	return float64(v.Int64())
}

func (a *table) text(name string, row int) (text string, null bool) {
	v := a.value(name, row)
	return string(v.ByteArray()), v.IsNull()
}
