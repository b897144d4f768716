// SPDX-License-Identifier: Apache-2.0

package window

import (
	"testing"
	"time"
)

// Newest is the newest event not after a time, even one that has been dropped since.
func TestNewest(t *testing.T) {
	v := mustView(t, Definition{Columns: []string{"x"}, Features: []Feature{{Name: "n", Func: Count, Window: time.Minute, Hop: time.Second}}})
	a, s := v.NewAggregator(), &State{}
	check := func(at, want int64, found bool) {
		t.Helper()
		if got, ok := s.Newest(at); got != want || ok != found {
			t.Errorf("newest up to %d is %d, %v; want %d, %v", at, got, ok, want, found)
		}
	}
	check(timeMax, 0, false)
	for _, at := range []int64{5 * second, 9 * second, 7 * second} {
		if _, err := a.Update(s, &Event{Time: at, Arrival: 10 * second, ID: 1, Values: []float64{1}}); err != nil {
			t.Fatal(err)
		}
	}
	check(4*second, 0, false)
	check(8*second, 7*second, true)
	check(9*second, 9*second, true)
	a.Trim(s, 1000*second)
	check(1000*second, 9*second, true)
}
