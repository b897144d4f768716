// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 100}, 3.5},
	} {
		before := slices.Clone(c.values)
		if got := median(c.values); got != c.want {
			t.Errorf("the median of %v is %g, want %g", c.values, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("the median changed its values from %v to %v", before, c.values)
		}
	}
}

func TestRatiosAreTakenRoundByRound(t *testing.T) {
	if got := ratios([]float64{6, 1}, []float64{3, 4}); !slices.Equal(got, []float64{2, 0.25}) {
		t.Errorf("ratios are %v", got)
	}
}

func TestInterleaveTurnsTheOrder(t *testing.T) {
	var order []string
	clock := 0.0
	take := func(name string) measure {
		return func(context.Context) (float64, error) {
			order = append(order, name)
			clock++
			return clock, nil
		}
	}
	values, err := interleave(t.Context(), 3, take("a"), take("b"))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, ""); got != "abbaab" {
		t.Errorf("the order is %s, want abbaab", got)
	}
	if !slices.Equal(values[0], []float64{1, 4, 5}) || !slices.Equal(values[1], []float64{2, 3, 6}) {
		t.Errorf("values are %v", values)
	}
}

func TestInterleaveStopsAtAnError(t *testing.T) {
	broken := errors.New("broken")
	calls := 0
	_, err := interleave(t.Context(), 5, func(context.Context) (float64, error) {
		if calls++; calls == 2 {
			return 0, broken
		}
		return 1, nil
	})
	if !errors.Is(err, broken) || calls != 2 {
		t.Errorf("after %d calls the error is %v", calls, err)
	}
}
