// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// TestTruth holds every word that a tile has to the test it stands for.
func TestTruth(t *testing.T) {
	r := kerneltest.Rand(t, 1)
	for _, s := range []shape{
		{trees: 1, leaves: 10, features: 1, targets: 1, missing: true},
		{trees: 9, leaves: 300, features: 35, targets: 1, missing: true, special: true, compares: everyCompare, grid: 20},
		{trees: 4, leaves: 1000, features: 5, targets: 1, missing: true, special: true, compares: everyCompare},
	} {
		e := grown(r, s)
		stock, shape := newInventory(), treeShape{}
		for _, root := range e.Roots {
			shape.read(e, root)
			stock.addTree(&shape)
		}
		truth := stock.layout()
		if truth.words > stock.words {
			t.Errorf("%v: %d words, more than the bound %d", s, truth.words, stock.words)
		}
		const rows = 256
		x := inputs(r, e, rows)
		kerneltest.Levels(t, func(t *testing.T) {
			words := tileWords(rows)
			scratch := &Scratch{
				columns: make([]float32, groupFeatures*tileRows), planes: make([]uint64, truth.planeSets*planeSet*wideWords),
				truth: make([]uint64, align(truth.words, wordAlign)*wideWords),
			}
			truth.evaluate(x, e.Features, words*wordRows, scratch, words)
			for test, at := range truth.at {
				for row := range words * wordRows {
					v := x[row*e.Features+int(test.feature)]
					got := scratch.truth[int(at)*words+row/wordRows]>>(row%wordRows)&1 != 0
					if got != test.holds(float64(v)) {
						t.Fatalf("%+v of %v in row %d is %v", test, v, row, got)
					}
				}
			}
		})
	}
}

// TestSearchTable walks a table as the kernels do.
func TestSearchTable(t *testing.T) {
	for n := 0; n <= columnThresholds; n++ {
		levels := max(bitsFor(n), minLevels)
		thresholds := make([]float64, n)
		for i := range thresholds {
			thresholds[i] = float64(i)
		}
		table := appendTable(nil, thresholds, levels)
		for place := 0; place <= n; place++ {
			v, got, outcomes := float32(place)-0.5, 0, 0
			for l := range levels {
				if v >= table[levelStart(l)+outcomes] {
					outcomes |= 1 << l
					got |= 1 << (levels - 1 - l)
				}
			}
			if got != place {
				t.Fatalf("of %d thresholds %d are below %v, not %d", n, place, v, got)
			}
		}
	}
}
