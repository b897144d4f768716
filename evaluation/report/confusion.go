// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
	"fmt"
	"slices"
)

const (
	// confusionNumbersMax bounds the classes whose counts can be read in the picture,
	// confusionCellsMax those that can be told apart in it.
	confusionNumbersMax = 8
	confusionCellsMax   = 100
	// confusionWideMax bounds the classes whose table has a column for each.
	confusionWideMax = 12
	// heatMax is the opacity of a full cell, on which its numbers can still be read.
	heatMax = 0.5
)

// confusion draws counts as a grid, each row shaded by its share of the true class. The
// table has the whole matrix, or the most frequent confusions if it is large.
func confusion(c *Confusion) *figure {
	if c == nil || len(c.Classes) > confusionCellsMax {
		return nil
	}
	n := len(c.Classes)
	f := &figure{id: "confusion", title: "Confusion matrix"}
	f.desc = fmt.Sprintf("Rows by true class (down) and predicted class (across) for %s. The table after the picture has the numbers.",
		counted(n, "class", "classes"))
	left, top := 96.0, 46.0
	if n > 20 {
		left, top = 26, 26
	}
	size := (pictureWidth - left - 10) / float64(n)
	high := min(size, 70)
	f.height = top + high*float64(n) + 10
	f.text((left+pictureWidth-10)/2, 16, "label mid", "predicted")
	f.draw(`<text transform="translate(14 %s) rotate(-90)" class="label mid">true</text>`, at(top+high*float64(n)/2))
	for i, class := range c.Classes {
		if n <= 20 {
			f.text(left-6, top+high*(float64(i)+0.5)+4.5, "tick end", shortened(visible(class), 9))
		}
		if n <= confusionNumbersMax {
			f.text(left+size*(float64(i)+0.5), top-8, "tick mid", middleShortened(visible(class), max(3, int(size/8))))
		}
		total := 0
		for _, v := range c.Counts[i] {
			total += max(0, v)
		}
		for j, v := range c.Counts[i] {
			f.confusionCell(left+size*float64(j), top+high*float64(i), size, high, v, total, n <= confusionNumbersMax)
		}
	}
	f.confusionGrid(left, top, size, high, n)
	if n > confusionNumbersMax {
		f.note = "Predicted classes are in the order of the true ones. The darker a cell, the larger its share of the true class."
	}
	f.confusionTable(c)
	return f
}

// confusionGrid draws the lines between cells, or only around them where there are so many
// that lines would be darker than the cells.
func (f *figure) confusionGrid(left, top, w, h float64, n int) {
	step := 1
	if n > 20 {
		step = n
	}
	for i := 0; i <= n; i += step {
		x, y := left+w*float64(i), top+h*float64(i)
		f.rule(x, top, x, top+h*float64(n), "cell")
		f.rule(left, y, left+w*float64(n), y, "cell")
	}
}

func (f *figure) confusionCell(x, y, w, h float64, v, total int, numbered bool) {
	share := 0.0
	if total > 0 && v > 0 {
		share = float64(v) / float64(total)
	}
	if share > 0 {
		f.draw(`<rect x="%s" y="%s" width="%s" height="%s" class="heat" fill-opacity="%.2g"/>`,
			at(x), at(y), at(w), at(h), heatMax*share)
	}
	if !numbered {
		return
	}
	if w >= 60 {
		f.text(x+w/2, y+h/2-2, "value mid", count(v))
		f.text(x+w/2, y+h/2+15, "label mid", percent(share))
		return
	}
	f.text(x+w/2, y+h/2+5, "label mid", tickText(float64(v), nil))
}

func (f *figure) confusionTable(c *Confusion) {
	if len(c.Classes) <= confusionWideMax {
		f.head = []string{"true, predicted"}
		f.head = append(f.head, c.Classes...)
		for i, counts := range c.Counts {
			row := []string{c.Classes[i]}
			for _, v := range counts {
				row = append(row, count(v))
			}
			f.rows = append(f.rows, row)
		}
		return
	}
	type pair struct{ i, j, n int }
	var pairs []pair
	for i, counts := range c.Counts {
		for j, v := range counts {
			if i != j && v > 0 {
				pairs = append(pairs, pair{i, j, v})
			}
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(b.n, a.n) })
	f.head = []string{"true", "predicted", "rows"}
	for _, p := range firstOf(pairs, tableRowsMax) {
		f.rows = append(f.rows, []string{c.Classes[p.i], c.Classes[p.j], count(p.n)})
	}
}
