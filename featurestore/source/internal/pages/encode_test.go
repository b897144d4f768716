// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
)

// sample is a column of so many rows with so many distinct values, some null.
func sample(rng *rand.Rand, c *Column, rows, distinct int, nulls float64) *Values {
	v := &Values{Rows: rows}
	for i := range rows {
		x := rng.IntN(distinct)
		null := !c.Required && rng.Float64() < nulls
		switch c.Kind {
		case Bools:
			v.Numbers = append(v.Numbers, float64(x%2))
		case Floats:
			v.Numbers = append(v.Numbers, float64(x)/8-3)
		case Texts:
			v.Texts = append(v.Texts, strings.Repeat("x", x%5)+fmt.Sprint(x))
		default:
			v.Ints = append(v.Ints, int64(x)*1_000_003-50)
		}
		switch {
		case null && (c.Kind == Bools || c.Kind == Floats):
			v.Numbers[i] = math.NaN()
		case null:
			v.Nulls = append(v.Nulls, make([]bool, rows-len(v.Nulls))...)
			v.Nulls[i] = true
		}
	}
	return v
}

func write(t testing.TB, codec Codec, columns []Column, groups [][]*Values) []byte {
	t.Helper()
	e, err := NewEncoder(codec)
	if err != nil {
		t.Fatal(err)
	}
	out := []byte(Magic)
	footer := NewFooter(columns)
	for _, g := range groups {
		offset := int64(len(out))
		var chunks []Encoded
		for i := range columns {
			chunk, err := e.Encode(nil, &columns[i], g[i])
			if err != nil {
				t.Fatal(err)
			}
			chunks = append(chunks, chunk)
			out = append(out, chunk.Bytes...)
		}
		footer.Add(offset, int64(g[0].Rows), chunks)
	}
	end, err := footer.Bytes([]KeyValue{{"made", "here"}})
	if err != nil {
		t.Fatal(err)
	}
	return append(out, end...)
}

var everyColumn = []Column{
	{Name: "b", Kind: Bools}, {Name: "i", Kind: Ints}, {Name: "f", Kind: Floats}, {Name: "s", Kind: Floats, Single: true},
	{Name: "x", Kind: Texts}, {Name: "t", Kind: Times}, {Name: "r", Kind: Ints, Required: true}, {Name: "q", Kind: Texts, Required: true},
}

// What is written comes back, from this package and from another library.
func TestWrittenFilesComeBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, codec := range []Codec{Snappy, Zstd, Plain} {
		for _, distinct := range []int{1, 2, 9, 300, 1 << 20} {
			var groups [][]*Values
			for _, rows := range []int{1, 7, 8, 9000} {
				var g []*Values
				for i := range everyColumn {
					g = append(g, sample(rng, &everyColumn[i], rows, distinct, []float64{0, 0.3, 1}[rng.IntN(3)]))
				}
				groups = append(groups, g)
			}
			data := write(t, codec, everyColumn, groups)
			f, err := Open(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			other, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
			if err != nil {
				t.Fatal(err)
			}
			for i := range everyColumn {
				var want []any
				for _, g := range groups {
					v := *g[i]
					v.Kind = everyColumn[i].Kind
					for row := range v.Rows {
						want = append(want, at(&v, row))
					}
				}
				sameValues(t, fmt.Sprintf("codec %d, %d values, column %s", codec, distinct, everyColumn[i].Name), all(t, f, &f.Leaves()[i]), want)
				sameValues(t, "other library, "+everyColumn[i].Name, elsewhere(t, other, i), want)
			}
		}
	}
}

func sameValues(t *testing.T, what string, got, want []any) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		w := want[i]
		if x, ok := w.(float64); ok && x != x {
			w = nil
		}
		if got[i] != w {
			t.Fatalf("%s: value %d is %v, want %v", what, i, got[i], w)
		}
	}
}

// elsewhere reads a column by the other library.
func elsewhere(t *testing.T, f *parquet.File, column int) []any {
	t.Helper()
	var got []any
	for _, g := range f.RowGroups() {
		pages := g.ColumnChunks()[column].Pages()
		for {
			p, err := pages.ReadPage()
			if err != nil {
				break
			}
			values := make([]parquet.Value, p.NumValues())
			n, _ := p.Values().ReadValues(values) // io.EOF comes with the last ones
			for _, v := range values[:n] {
				got = append(got, plainValueOf(v))
			}
		}
		if err := pages.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return got
}

func plainValueOf(v parquet.Value) any {
	if v.IsNull() {
		return nil
	}
	switch v.Kind() {
	case parquet.Boolean:
		return map[bool]float64{true: 1}[v.Boolean()]
	case parquet.Float:
		return float64(v.Float())
	case parquet.Double:
		return v.Double()
	case parquet.ByteArray:
		return string(v.ByteArray())
	}
	return v.Int64()
}

func TestBoundsOfWrittenColumns(t *testing.T) {
	columns := []Column{{Name: "f", Kind: Floats}, {Name: "i", Kind: Ints}, {Name: "none", Kind: Ints}, {Name: "zero", Kind: Floats}}
	nan := math.NaN()
	data := write(t, Snappy, columns, [][]*Values{{
		{Rows: 3, Numbers: []float64{2.5, nan, -7}},
		{Rows: 3, Ints: []int64{4, -9, 99}, Nulls: []bool{false, false, true}},
		{Rows: 3, Ints: []int64{4, -9, 99}, Nulls: []bool{true, true, true}},
		{Rows: 3, Numbers: []float64{0, nan, nan}},
	}})
	f, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	chunks := f.RowGroups()[0].ColumnChunks()
	low, high, ok := chunks[0].(*parquet.FileColumnChunk).Bounds()
	if !ok || low.Double() != -7 || high.Double() != 2.5 {
		t.Errorf("floats: %v to %v, %t", low, high, ok)
	}
	low, high, ok = chunks[1].(*parquet.FileColumnChunk).Bounds()
	if !ok || low.Int64() != -9 || high.Int64() != 4 {
		t.Errorf("ints: %v to %v, %t", low, high, ok)
	}
	if low, high, ok = chunks[2].(*parquet.FileColumnChunk).Bounds(); ok {
		t.Errorf("nulls have bounds: %v to %v", low, high)
	}
	low, high, _ = chunks[3].(*parquet.FileColumnChunk).Bounds()
	if !math.Signbit(low.Double()) || math.Signbit(high.Double()) {
		t.Errorf("zeros: %v to %v", low, high)
	}
	if value, _ := f.Lookup("made"); value != "here" {
		t.Errorf("the note is %q", value)
	}
}

func TestEncoderRefuses(t *testing.T) {
	e, err := NewEncoder(Snappy)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Encode(nil, &Column{Name: "r", Kind: Floats, Required: true}, &Values{Rows: 2, Numbers: []float64{1, math.NaN()}}); err == nil {
		t.Error("a null in a required column was taken")
	}
	if _, err := e.Encode(nil, &Column{Name: "s", Kind: Floats, Single: true}, &Values{Rows: 1, Numbers: []float64{1e300}}); err == nil {
		t.Error("1e300 was taken for 32 bits")
	}
}
