// SPDX-License-Identifier: Apache-2.0

package shapecache

import (
	"testing"

	"github.com/millrace-ml/millrace/engine/tensor"
)

type entry struct {
	shapes    []tensor.Shape
	destroyed bool
}

func (e *entry) Shapes() []tensor.Shape { return e.shapes }

func (e *entry) Destroy() error {
	e.destroyed = true
	return nil
}

func entryFor(shape ...int64) *entry {
	return &entry{shapes: []tensor.Shape{shape}}
}

func mustPut(t *testing.T, c *Cache[*entry], b *entry) {
	t.Helper()
	if err := c.Put(b); err != nil {
		t.Fatal(err)
	}
}

func TestCacheFindsByRowAndByShape(t *testing.T) {
	var c Cache[*entry]
	c.ReserveRows(4)
	inTable, outside, other := entryFor(4, 2), entryFor(9, 2), entryFor(4, 3)
	for _, b := range []*entry{inTable, outside, other} {
		mustPut(t, &c, b)
	}
	if c.byRows[4] != inTable || len(c.recent) != 2 {
		t.Errorf("the table holds %v, recent %v", c.byRows, c.recent)
	}
	for _, b := range []*entry{inTable, outside, other} {
		if got := c.Find(b.shapes); got != b {
			t.Errorf("shapes %v: found %v", b.shapes, got)
		}
	}
	for _, shapes := range [][]tensor.Shape{nil, {nil}, {{3, 2}}, {{-1, 2}}, {{4, 2}, {4, 2}}} {
		if got := c.Find(shapes); got != nil {
			t.Errorf("shapes %v: found %v", shapes, got.shapes)
		}
	}
}

func TestCacheKeepsTheMostRecent(t *testing.T) {
	var c Cache[*entry]
	first := entryFor(0)
	mustPut(t, &c, first)
	for n := int64(1); n < 3*RecentMax; n++ {
		mustPut(t, &c, entryFor(n))
		if c.Find(first.shapes) != first {
			t.Fatalf("an entry in steady use was dropped after %d others", n)
		}
	}
	if len(c.recent) != RecentMax {
		t.Errorf("%d entries are kept, want %d", len(c.recent), RecentMax)
	}
	if c.Find(entryFor(1).shapes) != nil {
		t.Error("the least recently used entry is still there")
	}
}

func TestCacheTellsScalarsFromInputsLeftOut(t *testing.T) {
	var c Cache[*entry]
	mustPut(t, &c, &entry{shapes: []tensor.Shape{{}}})
	if c.Find([]tensor.Shape{nil}) != nil {
		t.Error("an input left out was taken for one without dimensions")
	}
}

func TestPreparedRows(t *testing.T) {
	for _, rowsMax := range []int{0, 1, 2, 63, 64, 65, 128, 129, 1000, 5000} {
		rows := Rows(rowsMax)
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

func TestClearDestroysAll(t *testing.T) {
	var c Cache[*entry]
	c.ReserveRows(4)
	inTable, outside := entryFor(4), entryFor(9)
	mustPut(t, &c, inTable)
	mustPut(t, &c, outside)
	if err := c.Clear(); err != nil || !inTable.destroyed || !outside.destroyed {
		t.Errorf("after clear: %v %v, error %v", inTable.destroyed, outside.destroyed, err)
	}
	if c.Find(inTable.shapes) != nil || c.Find(outside.shapes) != nil {
		t.Error("an entry is still there")
	}
}
