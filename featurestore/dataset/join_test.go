// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// writeParquet writes rows of keys, times and values.
func writeParquet(t testing.TB, path string, names []string, keys, times []int64, values []float64) {
	t.Helper()
	columns := []source.ParquetColumn{{Name: names[0], Type: column.Int64}, {Name: names[1], Type: column.Timestamp}}
	b := column.Batch{Rows: len(keys), Columns: []column.Column{{Type: column.Int64, Ints: keys}, {Type: column.Timestamp, Ints: times}}}
	if values != nil {
		columns = append(columns, source.ParquetColumn{Name: names[2], Type: column.Float64})
		b.Columns = append(b.Columns, column.Column{Type: column.Float64, Numbers: values})
	}
	w, err := source.NewParquetWriter(path, columns, source.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(&b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// joinWorld is a join of Parquet files.
type joinWorld struct {
	keys, times       []int64
	values            []float64
	labels, labelKeys []int64
}

func newJoinWorld(r *rand.Rand, rows, labels, keys int, sorted bool) *joinWorld {
	w := &joinWorld{}
	moment := func(i, n int) int64 {
		if sorted {
			return begin + int64(float64(i)/float64(n)*float64(90*24*hour)) // all different, in order
		}
		return begin + r.Int64N(90*24*hour)
	}
	for i := range rows {
		w.keys, w.times, w.values = append(w.keys, r.Int64N(int64(keys))), append(w.times, moment(i, rows)), append(w.values, r.Float64()*100)
	}
	for i := range labels {
		w.labelKeys, w.labels = append(w.labelKeys, r.Int64N(int64(keys))), append(w.labels, moment(i, labels))
	}
	return w
}

func (w *joinWorld) options(t testing.TB, dir string) JoinOptions {
	writeParquet(t, filepath.Join(dir, "rows.parquet"), []string{"user", "ts", "value"}, w.keys, w.times, w.values)
	writeParquet(t, filepath.Join(dir, "labels.parquet"), []string{"who", "at"}, w.labelKeys, w.labels, nil)
	return JoinOptions{
		Labels: JoinFile{Format: definition.Parquet, Path: filepath.Join(dir, "labels.parquet"), Key: "who", Time: "at"},
		Rows:   JoinFile{Format: definition.Parquet, Path: filepath.Join(dir, "rows.parquet"), Key: "user", Time: "ts"}, Columns: []string{"value"},
		Carry: []string{"who", "at"}, Output: filepath.Join(dir, "out.parquet"),
	}
}

// TestJoin compares a join with a search through all rows.
func TestJoin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 11))
	for _, ttl := range []time.Duration{0, 24 * time.Hour} {
		for _, sorted := range []bool{false, true} {
			w := newJoinWorld(r, 5000, 700, 40, sorted)
			o := w.options(t, t.TempDir())
			o.TTL, o.MemoryMax = ttl, 1<<20
			n, err := Join(t.Context(), o)
			if err != nil || n != 700 {
				t.Fatal(n, err)
			}
			f, err := source.OpenFile(t.Context(), definition.Parquet, o.Output, nil, source.Options{BatchRows: 1000})
			if err != nil {
				t.Fatal(err)
			}
			var b column.Batch
			if _, err := f.Next(&b); err != nil || b.Rows != 700 {
				t.Fatal(b.Rows, err)
			}
			for i := range b.Rows {
				best, want := int64(math.MinInt64), math.NaN()
				for k, at := range w.times {
					if w.keys[k] == w.labelKeys[i] && at <= w.labels[i] && at > best {
						if best, want = at, w.values[k]; ttl > 0 && w.labels[i]-at > ttl.Microseconds() {
							want = math.NaN()
						}
					}
				}
				got := b.Column("value").Numbers[i]
				if b.Columns[0].Ints[i] != w.labelKeys[i] || b.Column("at").Ints[i] != w.labels[i] || got != want && (got == got || want == want) {
					t.Fatalf("row %d: %v, want %v", i, got, want)
				}
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestJoinTexts joins CSV files by a text, with arrivals and texts as values.
func TestJoinTexts(t *testing.T) {
	dir := t.TempDir()
	save(t, filepath.Join(dir, "rows.csv"), `name,ts,known,grade,n
ann,2025-01-01T00:00:00Z,2025-01-01T00:00:00Z,a,1
ann,2025-01-02T00:00:00Z,2025-01-09T00:00:00Z,b,2
ann,2025-01-03T00:00:00Z,2025-01-03T00:00:00Z,,3
`)
	save(t, filepath.Join(dir, "labels.csv"), "name,at\nann,2024-12-31T00:00:00Z\nann,2025-01-02T12:00:00Z\nann,2025-01-10T00:00:00Z\nbob,2025-01-10T00:00:00Z\n")
	o := JoinOptions{
		Labels: JoinFile{Format: definition.CSV, Path: filepath.Join(dir, "labels.csv"), Key: "name", Time: "at"},
		Rows:   JoinFile{Format: definition.CSV, Path: filepath.Join(dir, "rows.csv"), Key: "name", Time: "ts", Arrival: "known"},
		Carry:  []string{}, Columns: []string{"grade", "n"}, Output: filepath.Join(dir, "out.parquet"),
	}
	if _, err := Join(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	f, err := source.OpenFile(t.Context(), definition.Parquet, o.Output, nil, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b column.Batch
	if _, err := f.Next(&b); err != nil {
		t.Fatal(err)
	}
	got := ""
	for i := range b.Rows {
		for k := range b.Columns {
			if b.Columns[k].Null(i) {
				got += "- "
			} else {
				got += text(&b.Columns[k], i) + " "
			}
		}
	}
	if want := "- - a 1 - 3 - - "; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, c := range []struct {
		change func(*JoinOptions)
		want   string
	}{
		{func(o *JoinOptions) { o.Rows.Key = "nobody" }, "no column nobody"},
		{func(o *JoinOptions) { o.Rows.Key = "ts" }, "key ts is timestamp"},
		{func(o *JoinOptions) { o.Labels.Key = "nobody" }, "no column nobody"},
		{func(o *JoinOptions) { o.Labels.Time = "name" }, "name"},
		{func(o *JoinOptions) { o.Columns = []string{"x"} }, "no column x"},
	} {
		wrong := o
		c.change(&wrong)
		if _, err := Join(t.Context(), wrong); err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, ErrOptions) && !errors.Is(err, source.ErrInput) && !errors.Is(err, source.ErrBadRows) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}
