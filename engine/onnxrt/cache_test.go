// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"testing"

	"github.com/millrace-ml/millrace/engine/tensor"
)

func boundFor(shape ...int64) *bound {
	return &bound{shapes: []tensor.Shape{shape}}
}

func mustPut(t *testing.T, c *cache, b *bound) {
	t.Helper()
	if err := c.put(b); err != nil {
		t.Fatal(err)
	}
}

func TestCacheFindsByRowAndByShape(t *testing.T) {
	c := cache{byRows: make([]*bound, 5)}
	inTable, outside, other := boundFor(4, 2), boundFor(9, 2), boundFor(4, 3)
	for _, b := range []*bound{inTable, outside, other} {
		mustPut(t, &c, b)
	}
	if c.byRows[4] != inTable || len(c.recent) != 2 {
		t.Errorf("the table holds %v, recent %v", c.byRows, c.recent)
	}
	for _, b := range []*bound{inTable, outside, other} {
		if got := c.find(b.shapes); got != b {
			t.Errorf("shapes %v: found %v", b.shapes, got)
		}
	}
	for _, shapes := range [][]tensor.Shape{nil, {nil}, {{3, 2}}, {{-1, 2}}, {{4, 2}, {4, 2}}} {
		if got := c.find(shapes); got != nil {
			t.Errorf("shapes %v: found %v", shapes, got.shapes)
		}
	}
}

func TestCacheKeepsTheMostRecent(t *testing.T) {
	var c cache
	first := boundFor(0)
	mustPut(t, &c, first)
	for n := int64(1); n < 3*recentCached; n++ {
		mustPut(t, &c, boundFor(n))
		if c.find(first.shapes) != first {
			t.Fatalf("a bound in steady use was dropped after %d others", n)
		}
	}
	if len(c.recent) != recentCached {
		t.Errorf("%d bounds are kept, want %d", len(c.recent), recentCached)
	}
	if c.find(boundFor(1).shapes) != nil {
		t.Error("the least recently used bound is still there")
	}
}

func TestCacheTellsScalarsFromInputsLeftOut(t *testing.T) {
	var c cache
	mustPut(t, &c, &bound{shapes: []tensor.Shape{{}}})
	if c.find([]tensor.Shape{nil}) != nil {
		t.Error("an input left out was taken for one without dimensions")
	}
}

func TestPreparedRows(t *testing.T) {
	for _, rowsMax := range []int{0, 1, 2, 63, 64, 65, 128, 129, 1000, 5000} {
		rows := preparedRows(rowsMax)
		seen := make(map[int]bool)
		for _, n := range rows {
			if n > rowsMax || seen[n] {
				t.Errorf("for %d rows: %d comes twice or is too much", rowsMax, n)
			}
			seen[n] = true
		}
		for n := 1; n <= rowsMax; n++ {
			if want := n <= rowsPrepared || n == rowsMax || n&(n-1) == 0; seen[n] != want {
				t.Errorf("for %d rows: %d prepared is %v, want %v", rowsMax, n, seen[n], want)
			}
		}
		if rows[0] != rowsMax {
			t.Errorf("for %d rows: starts with %d", rowsMax, rows[0])
		}
	}
}
