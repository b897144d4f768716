// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// everyFormat writes the same payments, some of them bad, as CSV, JSON lines and Parquet,
// each in two files, and returns the rows that are good.
func everyFormat(t *testing.T, n int) (map[string]*definition.Source, []string, int) {
	t.Helper()
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(9, 10))
	sources := map[string]*definition.Source{}
	for name, format := range map[string]definition.Format{"csv": definition.CSV, "jsonl": definition.JSONLines, "parquet": definition.Parquet} {
		sources[name] = payments(definition.Input{Format: format, Path: filepath.Join(dir, "*."+name)})
	}
	var want []string
	bad := 0
	for file := range 2 {
		var csv, json strings.Builder
		csv.WriteString("id,time,customer,amount,channel,fraud\n")
		w, err := NewParquetWriter(filepath.Join(dir, fmt.Sprint(file, ".parquet")), []ParquetColumn{{Name: "id", Type: column.String}, {Name: "time", Type: column.Timestamp},
			{Name: "customer", Type: column.Int64}, {Name: "amount", Type: column.Float64}, {Name: "channel", Type: column.String}, {Name: "fraud", Type: column.Bool}},
			WriterOptions{RowGroupRows: n/3 + 1})
		must(t, err)
		var b column.Batch
		sh := newShape(sources["parquet"], &Options{})
		sh.prepare(&b)
		for i := range n {
			id, customer, amount, fraud := fmt.Sprintf("%d-%d", file, i), rng.Int64()-rng.Int64(), float64(rng.IntN(5000)-50)/8, rng.IntN(2)
			time := int64(1704153600+file*1_000_000+i) * 1_000_000
			channel := []string{"web", "pos", "atm", "fax"}[min(rng.IntN(40), 3)]
			text := fmt.Sprintf("%s %d %d %v %s %d", id, time, customer, amount, channel, fraud)
			clock := fmt.Sprintf("2024-01-%02dT%02d:%02d:%02dZ", 2+(file*1_000_000+i)/86400, (file*1_000_000+i)/3600%24, (file*1_000_000+i)/60%60, (file*1_000_000+i)%60)
			fmt.Fprintf(&csv, "%s,%s,%d,%v,%s,%d\n", id, clock, customer, amount, channel, fraud)
			fmt.Fprintf(&json, "{\"id\":%q,\"time\":%q,\"customer\":%d,\"amount\":%v,\"channel\":%q,\"fraud\":%t}\n", id, clock, customer, amount, channel, fraud == 1)
			for c, v := range []any{id, time, customer, amount, channel, float64(fraud)} {
				switch v := v.(type) {
				case string:
					b.Columns[c].AppendText(v)
				case int64:
					b.Columns[c].AppendInt(v)
				case float64:
					b.Columns[c].AppendNumber(v)
				}
			}
			b.Rows++
			if amount < 0 || channel == "fax" {
				bad++
				continue
			}
			want = append(want, text)
		}
		must(t, errors.Join(w.Write(&b), w.Close()))
		put(t, filepath.Join(dir, fmt.Sprint(file, ".csv")), csv.String())
		put(t, filepath.Join(dir, fmt.Sprint(file, ".jsonl")), json.String())
	}
	return sources, want, bad
}

// Formats, sizes of batches and numbers of workers do not change what is read (S1), and
// every row is either there or counted (S2).
func TestEverythingAgrees(t *testing.T) {
	sources, want, bad := everyFormat(t, 1500)
	for name, s := range sources {
		for _, batch := range []int{0, 1, 13, 700} {
			for _, ahead := range []int{0, 1, 3} {
				what := fmt.Sprintf("%s, batches of %d, %d ahead", name, batch, ahead)
				got, r, err := tryAll(t, s, Options{BatchRows: batch, Parallel: ahead, BadRowsMax: -1})
				must(t, err)
				same(t, what, got, want)
				if r.BadCount() != int64(bad) || r.Rows() != int64(len(want)) || len(r.Bad()) != min(bad, BadListMax) {
					t.Fatalf("%s: %d rows, %d bad of %d", what, r.Rows(), r.BadCount(), bad)
				}
			}
			for _, workers := range []int{1, 4} {
				same(t, fmt.Sprintf("%s, batches of %d, %d workers", name, batch, workers), parallel(t, s, Options{BatchRows: batch, BadRowsMax: -1}, workers), want)
			}
		}
	}
}

// The list of bad rows and the error for the first do not depend on who is fastest.
func TestBadRowsAreInOrder(t *testing.T) {
	sources, _, bad := everyFormat(t, 800)
	for name, s := range sources {
		var first []RowError
		for range 5 {
			r, err := Open(t.Context(), s, Options{BatchRows: 10, BadRowsMax: int64(bad)})
			must(t, err)
			must(t, r.ReadParallel(4, func(int, *column.Batch) error { return nil }))
			list := r.Bad()
			must(t, r.Close())
			if first == nil {
				first = list
			}
			for i := range list {
				if list[i] != first[i] {
					t.Fatalf("%s: bad row %d is %+v, and was %+v", name, i, list[i], first[i])
				}
			}
			r, err = Open(t.Context(), s, Options{BatchRows: 10})
			must(t, err)
			err = r.ReadParallel(4, func(int, *column.Batch) error { return nil })
			expectError(t, err, ErrBadRows, first[0].Error())
			must(t, r.Close())
		}
	}
}

func TestVisitThatFails(t *testing.T) {
	sources, _, _ := everyFormat(t, 500)
	stop := errors.New("enough")
	for name, s := range sources {
		r, err := Open(t.Context(), s, Options{BatchRows: 10, BadRowsMax: -1})
		must(t, err)
		var visits atomic.Int64
		err = r.ReadParallel(3, func(slice int, _ *column.Batch) error {
			visits.Add(1)
			if slice >= 5 {
				return fmt.Errorf("%w at %d", stop, slice)
			}
			return nil
		})
		if !errors.Is(err, stop) || !strings.Contains(err.Error(), "at 5") || visits.Load() > 8 {
			t.Errorf("%s: %v after %d visits", name, err, visits.Load())
		}
		var b column.Batch
		if _, again := r.Next(&b); again == nil {
			t.Errorf("%s: it goes on after an error", name)
		}
		must(t, r.Close())
	}
}

func TestContextEndsReading(t *testing.T) {
	sources, _, _ := everyFormat(t, 500)
	for name, s := range sources {
		for _, ahead := range []int{0, 2} {
			ctx, cancel := context.WithCancel(t.Context())
			r, err := Open(ctx, s, Options{BatchRows: 10, BadRowsMax: -1, Parallel: ahead})
			must(t, err)
			var b column.Batch
			for range 3 {
				more, err := r.Next(&b)
				if err != nil || !more {
					t.Fatal(name, more, err)
				}
			}
			cancel()
			for err == nil {
				var more bool
				if more, err = r.Next(&b); err == nil && !more {
					t.Fatalf("%s: it ended as if all had been read", name)
				}
			}
			if !errors.Is(err, context.Canceled) {
				t.Error(name, err)
			}
			must(t, errors.Join(r.Close(), r.Close()))
		}
	}
}

// A reader that is closed early lets its files and goroutines go.
func TestCloseEarly(t *testing.T) {
	sources, _, _ := everyFormat(t, 500)
	for name, s := range sources {
		for _, ahead := range []int{0, 3} {
			r, err := Open(t.Context(), s, Options{BatchRows: 10, BadRowsMax: -1, Parallel: ahead})
			must(t, err)
			var b column.Batch
			if more, err := r.Next(&b); !more || err != nil {
				t.Fatal(name, more, err)
			}
			must(t, r.Close())
			if _, err := r.Next(&b); !errors.Is(err, errClosed) {
				t.Error(name, err)
			}
		}
		for _, file := range openFiles(t) {
			if strings.HasSuffix(file, name) {
				t.Errorf("%s is still open", file)
			}
		}
	}
}

// openFiles are those of the process, where the system says so.
func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return nil
	}
	var all []string
	for _, e := range entries {
		if path, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil {
			all = append(all, path)
		}
	}
	return all
}

// cardsFolder holds the published card payments; tests that need them skip without it.
const cardsFolder = "../../../shared/data/card-transactions"

func TestCardPayments(t *testing.T) {
	path := filepath.Join(cardsFolder, "transactions.parquet")
	if _, err := os.Stat(path); err != nil {
		t.Skip("no card payments beside the checkout: ", err)
	}
	s := &definition.Source{Name: "cards", ID: 0, Timestamp: 1, Arrival: -1, Inputs: []definition.Input{{Format: definition.Parquet, Path: path}},
		Fields: []definition.Field{field("transaction_id", "int64"), field("event_timestamp", "timestamp"), field("customer_id", "int64 required"),
			field("amount", "float64 required"), field("is_fraud", "bool required")}}
	for _, workers := range []int{1, 3} {
		r, err := Open(t.Context(), s, Options{})
		must(t, err)
		var count, frauds, cents, ids atomic.Int64
		must(t, r.ReadParallel(workers, func(_ int, b *column.Batch) error {
			sum, id, fraud := 0.0, int64(0), 0.0
			for i := range b.Rows {
				sum += b.Columns[3].Numbers[i]
				id += b.Columns[0].Ints[i]
				fraud += b.Columns[4].Numbers[i]
			}
			count.Add(int64(b.Rows))
			cents.Add(int64(sum*100 + 0.5))
			ids.Add(id)
			frauds.Add(int64(fraud))
			return nil
		}))
		must(t, r.Close())
		if count.Load() != 1_754_155 || frauds.Load() != 14_681 || ids.Load() != 1_538_529_004_935 || cents.Load() != 9_407_937_008 {
			t.Errorf("%d payments, %d frauds, ids %d, %d cents", count.Load(), frauds.Load(), ids.Load(), cents.Load())
		}
	}
}
