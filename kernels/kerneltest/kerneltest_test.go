// SPDX-License-Identifier: Apache-2.0

package kerneltest

import (
	"math"
	"testing"
	"unsafe"
)

func TestWithin(t *testing.T) {
	inf, nan := math.Inf(1), math.NaN()
	for _, c := range []struct {
		got, want float64
		ok        bool
	}{
		{1, 1, true}, {1.0001, 1, true}, {1.1, 1, false}, {1e-7, 0, true}, {1e-3, 0, false},
		{nan, nan, true}, {nan, 1, false}, {1, nan, false}, {inf, inf, true}, {-inf, inf, false}, {1e30, inf, false},
	} {
		if err := within(c.got, c.want, Bound{Rel: 1e-3, Abs: 1e-6}); (err == nil) != c.ok {
			t.Errorf("%v for %v: %v", c.got, c.want, err)
		}
	}
}

func TestSliceFindsStrayWrites(t *testing.T) {
	for _, stray := range []int{-1, 5} {
		inner := &recorder{TB: t}
		x, check := Slice[uint8](inner, 5, 3)
		check()
		if inner.failed {
			t.Fatal("a slice that nobody wrote to fails")
		}
		*(*uint8)(unsafe.Add(unsafe.Pointer(&x[0]), stray))++
		if check(); !inner.failed {
			t.Errorf("a write at %d was not found", stray)
		}
	}
}

// recorder takes failures instead of the test.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
