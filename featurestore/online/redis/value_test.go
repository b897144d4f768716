// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// someValue is a value of a view that has seen n events.
func someValue(t testing.TB, tb *table, n int) *value {
	v, a := &value{}, tb.view.NewAggregator()
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range n {
		u := plan.Update{Event: window.Event{Time: begin + r.Int64N(1e9), Arrival: begin + 1e9, ID: uint64(i + 1), Values: []float64{float64(i), math.NaN()}}}
		if _, _, err := v.update(a, tb, &u, false); err != nil {
			t.Fatal(err)
		}
		v.stamp(uint64(i%20)<<32|1, uint64(i), uint64(i+1))
	}
	return v
}

func viewTable(t testing.TB) *table {
	tb := newTable(&testTables(t)[customers])
	return &tb
}

func lookupTable(t testing.TB) *table {
	tb := newTable(&testTables(t)[profiles])
	return &tb
}

func TestValueComesBack(t *testing.T) {
	tb := viewTable(t)
	for _, n := range []int{1, 2, 17, 40, 300} {
		v := someValue(t, tb, n)
		stored := v.append(nil, tb)
		var got value
		if err := got.decode(tb, bytes.Clone(stored)); err != nil {
			t.Fatalf("%d events: %v", n, err)
		}
		if again := got.append([]byte("x"), tb)[1:]; !bytes.Equal(again, stored) {
			t.Errorf("%d events: stored again, the value is another", n)
		}
		if got.version() != v.version() || got.newest != v.newest || !slices.Equal(got.recent, v.recent) || !slices.Equal(got.marks, v.marks) {
			t.Errorf("%d events: %+v, want %+v", n, got, *v)
		}
	}
}

func TestRowComesBack(t *testing.T) {
	tb := lookupTable(t)
	for _, row := range []string{"", "x", "a longer row"} {
		v := &value{}
		u := plan.Update{Event: window.Event{Time: begin, Arrival: begin + 1, ID: 3}, Row: []byte(row)}
		if o, changed, err := v.update(nil, tb, &u, false); o != window.Applied || !changed || err != nil {
			t.Fatalf("row %q: %v %v %v", row, o, changed, err)
		}
		v.stamp(1<<32|5, 6, 7)
		var got value
		if err := got.decode(tb, v.append(nil, tb)); err != nil {
			t.Fatal(err)
		}
		if got.row == nil || string(got.row) != row || got.newest != begin || got.arrival != begin+1 || got.id != 3 || got.sequence(1<<32) != 7 {
			t.Errorf("row %q: %+v", row, got)
		}
	}
}

// TestDamage changes every byte and cuts everywhere.
func TestDamage(t *testing.T) {
	tables := map[*table][]byte{}
	vt, lt := viewTable(t), lookupTable(t)
	tables[vt] = someValue(t, vt, 60).append(nil, vt)
	row := &value{row: []byte("row"), newest: begin}
	row.stamp(1, 2, 3)
	tables[lt] = row.append(nil, lt)
	for tb, stored := range tables {
		var v value
		for i := range stored {
			bad := bytes.Clone(stored)
			bad[i] ^= byte(1 + i%255)
			if err := v.decode(tb, bad); !errors.Is(err, online.ErrCorrupt) {
				t.Fatalf("%s: byte %d changed: error %v", tb.name, i, err)
			}
			if err := v.decode(tb, stored[:i:i]); !errors.Is(err, online.ErrCorrupt) {
				t.Fatalf("%s: cut to %d bytes: error %v", tb.name, i, err)
			}
		}
	}
	var v value
	if err := v.decode(vt, tables[lt]); !errors.Is(err, online.ErrCorrupt) {
		t.Errorf("a row for a state: error %v", err)
	}
}

// FuzzDecode decodes anything, with a checksum that fits, so that what is behind it is
// looked at.
func FuzzDecode(f *testing.F) {
	vt, lt := viewTable(f), lookupTable(f)
	f.Add(someValue(f, vt, 40).append(nil, vt))
	row := &value{row: []byte("row")}
	row.stamp(1, 2, 3)
	f.Add(row.append(nil, lt))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= sumBytes {
			b = resum(b[:len(b)-sumBytes])
		}
		for _, tb := range []*table{vt, lt} {
			var v value
			if err := v.decode(tb, bytes.Clone(b)); err != nil {
				if !errors.Is(err, online.ErrCorrupt) {
					t.Fatalf("error %v", err)
				}
				continue
			}
			if len(v.marks) == 0 || len(v.marks) > marksMax || len(v.recent) > recentMax {
				t.Fatalf("%d marks and %d events were taken", len(v.marks), len(v.recent))
			}
		}
	})
}

func TestMarks(t *testing.T) {
	v := &value{}
	one, two := uint64(1)<<32, uint64(2)<<32
	v.stamp(one|1, 10, 5)
	if !v.has(one|1, 5) || v.has(one|1, 6) || v.has(one|2, 5) || v.has(two|1, 1) {
		t.Errorf("after one write: %+v", v.marks)
	}
	v.stamp(two|1, 20, 3)
	v.stamp(one|1, 11, 4) // out of order: 5 stays
	if want := []mark{{one | 1, 11, 5}, {two | 1, 20, 3}}; !slices.Equal(v.marks, want) {
		t.Errorf("%+v, want %+v", v.marks, want)
	}
	v.stamp(one|9, 12, 0) // not logged: what the log has seen stays
	v.stamp(one|9, 13, 2) // a later opening of the log, whose places begin anew where it ended
	if want := []mark{{one | 9, 13, 5}, {two | 1, 20, 3}}; !slices.Equal(v.marks, want) {
		t.Errorf("%+v, want %+v", v.marks, want)
	}
	for i := range uint64(40) {
		v.stamp((10+i)<<32, i, i)
		if len(v.marks) > marksMax || v.marks[0].owner != (10+i)<<32 {
			t.Fatalf("%d marks, the first is %+v", len(v.marks), v.marks[0])
		}
	}
	if v.sequence(one) != 0 || v.sequence(49<<32) != 39 || v.sequence(34<<32) != 24 {
		t.Errorf("the wrong marks went: %+v", v.marks)
	}
}

// TestDuplicatesInTiles pushes every event again when the state has folded most of them:
// those that it cannot tell any more are known from the list of recent ones, as far as
// that goes.
func TestDuplicatesInTiles(t *testing.T) {
	tb := viewTable(t)
	v, a := &value{}, tb.view.NewAggregator()
	for i := range 400 { // late ones, a day back, behind a stream of new ones
		at := begin + int64(i)*1e6
		event := func(time int64, id uint64) *plan.Update {
			return &plan.Update{Event: window.Event{Time: time, Arrival: at, ID: id, Values: []float64{1, math.NaN()}}}
		}
		late := event(at-int64(20*3600*1e6), uint64(1e6+i))
		for again := range 2 {
			o, changed, err := v.update(a, tb, event(at, uint64(i+1)), false)
			if err != nil || changed != (again == 0) || again > 0 && o != window.Duplicate {
				t.Fatalf("event %d, attempt %d: %v, %v", i, again, o, err)
			}
			o, changed, err = v.update(a, tb, late, false)
			if err != nil || changed != (again == 0) || again > 0 && o != window.Duplicate {
				t.Fatalf("late event %d, attempt %d: %v, %v", i, again, o, err)
			}
		}
	}
	if v.state.Len() > 300 || len(v.recent) != recentMax {
		t.Errorf("%d entries, %d recent events: nothing was folded, so nothing was tested", v.state.Len(), len(v.recent))
	}
}

func TestLookupKeepsTheNewest(t *testing.T) {
	tb := lookupTable(t)
	type version struct{ time, arrival, id int64 }
	all := []version{{1, 1, 1}, {1, 1, 2}, {1, 2, 1}, {2, 0, 1}, {2, 3, 1}}
	r := rand.New(rand.NewPCG(1, 1))
	for range 50 {
		v := &value{}
		order := r.Perm(len(all))
		for _, i := range order {
			u := plan.Update{Event: window.Event{Time: begin + all[i].time, Arrival: begin + all[i].arrival, ID: uint64(all[i].id)}, Row: []byte{byte(i)}}
			if all[i].arrival == 0 {
				u.Event.Arrival = 0 // as its time
			}
			if _, _, err := v.update(nil, tb, &u, false); err != nil {
				t.Fatal(err)
			}
			if o, changed, _ := v.update(nil, tb, &u, false); changed || o == window.Applied {
				t.Fatalf("order %v: the same again is %v", order, o)
			}
		}
		if v.row[0] != 4 {
			t.Fatalf("order %v: version %d is kept", order, v.row[0])
		}
	}
}

// TestSettle: what a write had that was carried out is done, and nothing else, also when
// the counts wrap around.
func TestSettle(t *testing.T) {
	const owner = 1<<32 | 1
	for _, base := range []uint64{0, 1 << 40, math.MaxUint64 - 2} {
		for seen := range uint64(5) {
			e := &entity{tasks: []task{{sequence: 1, tried: true, first: base + 1}, {sequence: 2, tried: true, first: base + 3}, {sequence: 3}}}
			if seen > 0 {
				e.value.stamp(owner, base+seen, 9)
			}
			e.value.stamp(2<<32|1, base+2, 9) // another log's
			e.settle(owner)
			var left []uint64
			for _, task := range e.tasks {
				left = append(left, task.sequence)
			}
			want := [][]uint64{{1, 2, 3}, {2, 3}, {2, 3}, {3}, {3}}[seen]
			if !slices.Equal(left, want) {
				t.Errorf("base %d, write %d carried out: tasks %v are left, want %v", base, seen, left, want)
			}
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	var f failures
	one := func(i int) failure { return failure{1, "x", eventID{int64(i), 7}} }
	if f.has(one(0)) {
		t.Error("an empty list has something")
	}
	for i := range failuresMax + 10 {
		f.add(one(i))
		f.add(one(i))
	}
	if len(f.known) != failuresMax || f.has(one(9)) || !f.has(one(10)) || !f.has(one(failuresMax+9)) {
		t.Errorf("%d events are known", len(f.known))
	}
}
