// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestTakeChanged: whoever asks again and again knows the final value of every task.
func TestTakeChanged(t *testing.T) {
	ctx := t.Context()
	c := newClock()
	l := openLog(t, t.TempDir(), c)
	s := openStore(t, l, c)
	define(t, s, colors())
	gold := Choose("red")
	if _, err := s.Add(ctx, "colors", append(numbered(3), Task{ID: "gold", Data: []byte("{}"), Gold: &gold})); err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	take := func(from *Store) {
		for {
			some := from.TakeChanged(2)
			for _, one := range some {
				delete(known, one.Task)
				if one.Final != nil {
					known[one.Task] = fmt.Sprintf("%v %v %s", one.Final.Choices, one.By, one.At.Format(time.TimeOnly))
				}
			}
			if len(some) < 2 {
				return
			}
		}
	}
	want := func(all ...string) {
		t.Helper()
		take(s)
		var got []string
		for id, text := range known {
			got = append(got, id+" "+text)
		}
		if slices.Sort(got); !slices.Equal(got, all) {
			t.Errorf("known %q, want %q", got, all)
		}
	}
	want()
	must(s.Lease(ctx, "colors", "anna", 3))(t)
	must(s.Submit(ctx, Submission{Project: "colors", Task: "t0", Annotator: "anna", Value: Choose("red")}))(t)
	c.advance(time.Second)
	must(s.Submit(ctx, Submission{Project: "colors", Task: "t1", Annotator: "anna", Value: Choose("blue")}))(t)
	want("t0 [red] [anna] 09:00:00", "t1 [blue] [anna] 09:00:01")
	must(s.Undo(ctx, "colors", "anna", ""))(t)
	must(s.Review(ctx, Submission{Project: "colors", Task: "t0", Annotator: "rita", Value: Choose("green")}))(t)
	want("t0 [green] [rita] 09:00:01")
	if some := s.TakeChanged(10); len(some) != 0 {
		t.Errorf("nothing changed, and there is %v", some)
	}
	again := openStore(t, l, c)
	clear(known)
	take(again)
	if len(known) != 1 || known["t0"] != "[green] [rita] 09:00:01" {
		t.Errorf("after a start: %v", known)
	}
}

// TestImportRetracts: what came from elsewhere is taken back from there.
func TestImportRetracts(t *testing.T) {
	ctx := t.Context()
	s, _ := newStore(t)
	define(t, s, colors())
	must(s.Add(ctx, "colors", numbered(1)))(t)
	of := Submission{Project: "colors", Task: "t0", Annotator: "anna", Value: Choose("red")}
	if _, err := s.Import(ctx, []Imported{{Submission: of, Retract: true}}); !errors.Is(err, ErrNothing) {
		t.Errorf("nothing was said: %v", err)
	}
	must(s.Import(ctx, []Imported{{Submission: of}}))(t)
	if v := must(s.Task("colors", "t0"))(t); v.Status != StatusDone {
		t.Fatalf("%+v", v)
	}
	must(s.Import(ctx, []Imported{{Submission: of, Retract: true}}))(t)
	if v := must(s.Task("colors", "t0"))(t); v.Status != StatusOpen || len(v.Annotations) != 0 {
		t.Errorf("%+v", v)
	}
	if _, err := s.Import(ctx, []Imported{{Submission: of, Retract: true, Skip: true}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("two things at once: %v", err)
	}
}

// TestDefineSame: the same definition is no new version.
func TestDefineSame(t *testing.T) {
	c := newClock()
	l := openLog(t, t.TempDir(), c)
	s := openStore(t, l, c)
	define(t, s, colors())
	before := l.Next()
	define(t, s, colors())
	if l.Next() != before {
		t.Errorf("%d records for the same definition", l.Next()-before)
	}
	changed := colors()
	changed.Guide = "look twice"
	define(t, s, changed)
	if l.Next() != before+1 {
		t.Errorf("%d records for another definition", l.Next()-before)
	}
}
