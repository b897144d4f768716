// SPDX-License-Identifier: Apache-2.0

package payments

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

func all(t *testing.T, o Options) []Payment {
	t.Helper()
	w, err := NewWorld(o)
	if err != nil {
		t.Fatal(err)
	}
	var all []Payment
	for day := w.NextDay(); day != nil; day = w.NextDay() {
		all = append(all, day...)
	}
	return all
}

func TestWorld(t *testing.T) {
	o := Options{Customers: 500, Days: 90, Seed: 7}
	payments := all(t, o)
	kinds, perDay := map[int64]int{}, map[int]int{}
	for i, p := range payments {
		if i > 0 && (p.At.Before(payments[i-1].At) || p.ID != payments[i-1].ID+1) {
			t.Fatalf("W2: payment %d at %v after %d at %v", p.ID, p.At, payments[i-1].ID, payments[i-1].At)
		}
		if p.Amount < 0.01 || p.Customer < 0 || p.Customer >= 500 || p.Terminal < 0 || p.Terminal >= 1000 || p.Fraud != (p.Scenario > 0) {
			t.Fatalf("payment %+v", p)
		}
		kinds[p.Scenario]++
		perDay[p.At.YearDay()]++
	}
	if len(perDay) != 90 {
		t.Errorf("payments on %d days of 90", len(perDay))
	}
	if rate := float64(len(payments)) / (90 * 500); rate < 1.5 || rate > 2.3 {
		t.Errorf("%v payments a customer and day", rate)
	}
	frauds := len(payments) - kinds[0]
	if share := float64(frauds) / float64(len(payments)); share < 0.003 || share > 0.03 {
		t.Errorf("%.4f of the payments are frauds", share)
	}
	for kind := int64(1); kind <= 3; kind++ {
		if kinds[kind] < 20 {
			t.Errorf("only %d frauds of kind %d", kinds[kind], kind)
		}
	}
}

// TestBeginning: W3, a shorter world is the beginning of a longer one; another seed is
// another world.
func TestBeginning(t *testing.T) {
	short, long := all(t, Options{Customers: 50, Days: 5}), all(t, Options{Customers: 50, Days: 9})
	for i := range short {
		if short[i] != long[i] {
			t.Fatalf("payment %d differs: %+v and %+v", i, short[i], long[i])
		}
	}
	if other := all(t, Options{Customers: 50, Days: 5, Seed: 1}); len(other) > 0 && other[0] == short[0] {
		t.Error("two seeds give the same payment")
	}
}

// TestFiles: Parquet and CSV have the same payments, read back by the readers of
// sources, and a file is the same each time (W1).
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	o := Options{Customers: 40, Days: 4, Seed: 3}
	want := all(t, o)
	for _, name := range []string{"a.parquet", "b.parquet", "c.csv"} {
		written, err := Write(context.Background(), filepath.Join(dir, name), o, nil)
		if err != nil || written.Payments != int64(len(want)) {
			t.Fatalf("%s: %+v, %v", name, written, err)
		}
	}
	a, err := os.ReadFile(filepath.Join(dir, "a.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "b.parquet")); err != nil || !bytes.Equal(a, b) {
		t.Error("W1: the same world makes two files")
	}
	for _, name := range []string{"a.parquet", "c.csv"} {
		check(t, filepath.Join(dir, name), want)
	}
}

func check(t *testing.T, path string, want []Payment) {
	t.Helper()
	s := &definition.Source{Name: "payments", ID: 0, Timestamp: 1, Arrival: -1, Fields: []definition.Field{
		{Name: "transaction_id", Type: column.Int64}, {Name: "event_timestamp", Type: column.Timestamp},
		{Name: "terminal_id", Type: column.Int64}, {Name: "is_fraud", Type: column.Bool}, {Name: "amount", Type: column.Float64},
	}, Inputs: []definition.Input{{Format: definition.Parquet, Path: path}}}
	for i := range s.Fields {
		s.Fields[i].Min, s.Fields[i].Max = math.NaN(), math.NaN()
	}
	if strings.HasSuffix(path, ".csv") {
		s.Inputs[0].Format = definition.CSV
	}
	r, err := source.Open(context.Background(), s, source.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var b column.Batch
	row := 0
	for {
		more, err := r.Next(&b)
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			break
		}
		for i := range b.Rows {
			p := want[row]
			row++
			if b.Columns[0].Ints[i] != p.ID || b.Columns[1].Ints[i] != p.At.UnixMicro() || b.Columns[2].Ints[i] != p.Terminal ||
				b.Columns[3].Numbers[i] != float64(min(p.Scenario, 1)) || b.Columns[4].Numbers[i] != p.Amount {
				t.Fatalf("%s: row %d is not payment %+v", path, row, p)
			}
		}
	}
	if row != len(want) {
		t.Errorf("%s: %d rows of %d", path, row, len(want))
	}
}

func TestBadOptions(t *testing.T) {
	if _, err := NewWorld(Options{Customers: -1, Days: DaysMax + 1}); err == nil || !strings.Contains(err.Error(), "customers") || !strings.Contains(err.Error(), "days") {
		t.Errorf("error %v", err)
	}
	path := filepath.Join(t.TempDir(), "payments.json")
	if _, err := Write(context.Background(), path, Options{}, nil); err == nil {
		t.Error("a file of no known ending was written")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	path = filepath.Join(t.TempDir(), "payments.csv")
	if _, err := Write(ctx, path, Options{Customers: 10}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if left, _ := filepath.Glob(path + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestChanges: W4, until the first change nothing differs; from then on there are frauds of
// the pattern, and fewer of what was there before.
func TestChanges(t *testing.T) {
	o := Options{Customers: 600, Days: 90, Seed: 5}
	before := all(t, o)
	o.Changes = Recurring(30, 20, o.Days)
	if len(o.Changes) != 3 || o.Changes[0].Pattern != Testing || o.Changes[1].Pattern != Dormant || o.Changes[2].Pattern != Vouchers {
		t.Fatalf("changes %v", o.Changes)
	}
	after := all(t, o)
	first := time.Date(2026, 2, 4, 0, 0, 0, 0, time.UTC)
	counts := map[Pattern][3]int{} // in the 20 days behind each change
	for i, p := range after {
		if p.At.Before(first) && p != before[i] {
			t.Fatalf("W4: payment %d differs before the first change: %+v and %+v", i, p, before[i])
		}
		if i > 0 && p.At.Before(after[i-1].At) {
			t.Fatalf("W2: payment %d is before %d", p.ID, after[i-1].ID)
		}
		if part := int(p.At.Sub(first).Hours() / (24 * 20)); p.Scenario > 3 {
			n := counts[Pattern(p.Scenario-3)]
			n[min(part, 2)]++
			counts[Pattern(p.Scenario-3)] = n
		}
	}
	const least = 20 * 600 / 50 / 2 // half of what is expected in the time
	for i, c := range o.Changes {
		n := counts[c.Pattern]
		if n[i] < least || i > 0 && n[i-1] > 0 || i < 2 && n[i+1] > n[i] {
			t.Errorf("%v begins on day %d: frauds by period are %v", c.Pattern, c.Day, n)
		}
	}
	if bad := validateChanges([]Change{{Day: 5, Pattern: Testing}, {Day: 5, Pattern: 9}}); len(bad) != 2 {
		t.Errorf("mistakes found: %v", bad)
	}
}
