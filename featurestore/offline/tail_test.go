// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestTail reads a log that grows, is sealed and compacted, in steps of any size: every
// record comes once and in order, as a replay gives them.
func TestTail(t *testing.T) {
	l := openLog(t, quiet(Options{Dir: t.TempDir(), HoldFromStart: true}))
	rng := rand.New(rand.NewPCG(7, 7))
	tail := l.Tail(0)
	var want, got []Record
	fault := errors.New("not now")
	for round := range 6 {
		if round == 3 { // another catalog
			declare(t, l, Schema{Stream: "other", Columns: []Column{{"n", TypeFloat32}}})
		}
		want = append(want, appendRound(t, l, round*20, round*20+20, 9, 13)...)
		for tail.After() < l.Durable() {
			to := tail.After() + 1 + rng.Uint64()%8
			refuse := rng.IntN(3) == 0
			err := tail.Read(t.Context(), to, func(stream string, columns []Column, r *Record) error {
				if r.Sequence > to {
					t.Fatalf("record %d, asked for up to %d", r.Sequence, to)
				}
				if refuse && r.Sequence == to {
					return fault
				}
				got = append(got, r.Clone())
				return nil
			})
			if err != nil && !errors.Is(err, fault) {
				t.Fatal(err)
			}
		}
		if tail.After() != l.Durable() {
			t.Fatalf("read up to %d of %d", tail.After(), l.Durable())
		}
	}
	expectRecords(t, "tail", got, want)
	if !slices.IsSortedFunc(got, func(a, b Record) int { return int(a.Sequence) - int(b.Sequence) }) {
		t.Error("not in order")
	}
	if err := tail.Read(t.Context(), l.Durable()+100, nil); err != nil {
		t.Errorf("nothing new: %v", err)
	}
	l.Hold(HoldNone)
	must(t, l.Compact(t.Context()))
	err := l.Tail(3).Read(t.Context(), 10, func(string, []Column, *Record) error { return nil })
	if !errors.Is(err, ErrTooOld) {
		t.Errorf("what is in partitions: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, appendOne(t, l))
	if err := tail.Read(ctx, l.Durable(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestTailOnly wants the columns that were asked for, of the streams that were asked for, in
// whatever steps it is read.
func TestTailOnly(t *testing.T) {
	l := openLog(t, quiet(Options{Dir: t.TempDir(), HoldFromStart: true}))
	wanted := []string{"ok", "model", "features"}
	for _, only := range []map[string][]string{
		{everyType.Stream: wanted}, {everyType.Stream: wanted, smallSchema2.Stream: nil}, {smallSchema2.Stream: nil}, {},
	} {
		after, tail := l.Durable(), l.Tail(l.Durable()).Only(only)
		var want, got []Record
		for _, r := range appendRound(t, l, int(after), int(after)+60, 9, 13) {
			stream := smallSchema2.Stream
			if len(r.Values) > 1 {
				stream = everyType.Stream
			}
			names, some := only[stream]
			for i := range r.Values {
				if len(names) > 0 && !slices.Contains(names, everyType.Columns[i].Name) {
					r.Values[i] = Value{}
				}
			}
			if some {
				want = append(want, r)
			}
		}
		for tail.After() < l.Durable() {
			must(t, tail.Read(t.Context(), tail.After()+7, func(_ string, _ []Column, r *Record) error {
				got = append(got, r.Clone())
				return nil
			}))
		}
		expectRecords(t, "tail", got, want)
	}
}

// appendOne appends one more record.
func appendOne(t *testing.T, l *Log) error {
	t.Helper()
	r := sample(1)
	sequence, err := declare(t, l, everyType).AppendSequence(t.Context(), &r)
	if err != nil {
		return err
	}
	return l.WaitDurable(t.Context(), sequence)
}
