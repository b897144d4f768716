// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

var everyType = Schema{Stream: "predictions", Columns: []Column{
	{"count", TypeInt64}, {"score", TypeFloat64}, {"small", TypeFloat32}, {"ok", TypeBool},
	{"model", TypeString}, {"blob", TypeBytes}, {"seen", TypeTimestamp}, {"features", TypeFloat32List},
}}

const day0 = int64(1_700_000_000_000_000) / dayMicros * dayMicros

// sample is a record with values that follow from i; some are null.
func sample(i int) Record {
	r := Record{ID: fmt.Sprintf("id-%06d", i), EventTime: day0 + int64(i)*1_000_000, ArrivalTime: day0 + int64(i)*1_000_000 + 500,
		Values: []Value{
			Int64(int64(i) - 50), Float64(float64(i) / 3), Float32(float32(i) / 7), Bool(i%2 == 0), String(fmt.Sprintf("model-%d", i%3)),
			Bytes([]byte{byte(i), 0, 255}), Timestamp(day0 + int64(i)), Float32List(make([]float32, i%4)),
		}}
	for j := range i % 4 {
		r.Values[7].list[j] = float32(i + j)
	}
	if i%5 == 0 {
		r.Values[i/5%8] = Value{}
	}
	return r
}

func sameRecord(a, b *Record) bool {
	if a.ID != b.ID || a.EventTime != b.EventTime || a.ArrivalTime != b.ArrivalTime || len(a.Values) != len(b.Values) {
		return false
	}
	for i := range a.Values {
		x, y := a.Values[i], b.Values[i]
		if x.kind != y.kind || x.bits != y.bits || x.text != y.text || (x.kind == TypeFloat32List && !slices.Equal(x.list, y.list)) {
			return false
		}
	}
	return true
}

func openLog(t testing.TB, o Options) *Log {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	l, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a test that closed it itself has looked
	return l
}

func declare(t testing.TB, l *Log, s Schema) *Stream {
	t.Helper()
	stream, err := l.Declare(s)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func scanAll(t testing.TB, l *Log, q Query) []Record {
	t.Helper()
	s, err := l.Scan(context.Background(), q)
	must(t, err)
	var got []Record
	for s.Next() {
		got = append(got, s.Record().Clone())
	}
	must(t, s.Err())
	must(t, s.Close())
	return got
}

func replayAll(t testing.TB, l *Log, after uint64) []Record {
	t.Helper()
	var got []Record
	must(t, l.Replay(context.Background(), after, func(_ string, _ []Column, r *Record) error {
		got = append(got, r.Clone())
		return nil
	}))
	return got
}

// quiet leaves compaction to the test.
func quiet(o Options) Options {
	o.CompactEvery = -1
	if o.GroupWait == 0 {
		o.GroupWait = time.Millisecond
	}
	return o
}

func expectRecords(t testing.TB, what string, got, want []Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d records, want %d", what, len(got), len(want))
	}
	for i := range got {
		if !sameRecord(&got[i], &want[i]) {
			t.Fatalf("%s: record %d is %+v, want %+v", what, i, got[i], want[i])
		}
	}
}
