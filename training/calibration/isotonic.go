// SPDX-License-Identifier: Apache-2.0

package calibration

import (
	"cmp"
	"slices"
	"sort"
)

const (
	// blocksMax bounds the blocks of a curve, and with it the work of a served row. Data
	// give about the cube root of their number; beyond the bound neighbours are merged.
	blocksMax = 512
	// tilt is by how much of its value a block falls to its left end and rises to its right
	// end: far below what data can tell, far above what 32-bit floats can hold.
	tilt = 1e-4
	// gapMin is the least distance of two points; nearer ones are one.
	gapMin = 1e-30
	// scoreMax is the largest score that can be calibrated on.
	scoreMax = 1e30
)

// block is scores from low to high with one value, the weighted mean of their labels.
type block struct {
	low, high     float32
	value, weight float64
}

// pool fits the rising step function that is nearest to the labels in weighted squares.
// Equal scores are one block from the start.
func pool(scores, labels, weights []float32) []block {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(scores[a], scores[b]), a-b) })
	var ties []block
	for _, i := range order {
		w := weightOf(weights, i)
		next := block{scores[i], scores[i], float64(labels[i]), w}
		if last := len(ties) - 1; last >= 0 && ties[last].high == scores[i] {
			ties[last] = merged(ties[last], next)
		} else {
			ties = append(ties, next)
		}
	}
	blocks := ties[:0] // never longer than what was read
	for _, next := range ties {
		for len(blocks) > 0 && blocks[len(blocks)-1].value >= next.value {
			next = merged(blocks[len(blocks)-1], next)
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, next)
	}
	for len(blocks) > blocksMax {
		blocks = halved(blocks)
	}
	return blocks
}

func merged(a, b block) block {
	w := a.weight + b.weight
	return block{a.low, b.high, a.value + (b.value-a.value)*(b.weight/w), w}
}

// halved merges pairs of neighbours.
func halved(blocks []block) []block {
	half := blocks[:0]
	for i := 0; i < len(blocks); i += 2 {
		if i+1 < len(blocks) {
			half = append(half, merged(blocks[i], blocks[i+1]))
		} else {
			half = append(half, blocks[i])
		}
	}
	return half
}

// curve is a rising function: linear between points, constant beyond them.
type curve struct {
	at []float32
	to []float64
}

// newCurve lays a curve through blocks: each is nearly flat, see tilt, and a straight line
// leads from the end of one to the start of the next. Beyond the blocks the curve goes on
// tilted for as far again as the scores reach.
func newCurve(blocks []block) *curve {
	c := &curve{}
	first, last := blocks[0], blocks[len(blocks)-1]
	reach := max(last.high-first.low, 1)
	for i, b := range blocks {
		below, above := b.value, 1-b.value
		if i > 0 {
			below = b.value - blocks[i-1].value
		}
		if i+1 < len(blocks) {
			above = blocks[i+1].value - b.value
		}
		// A third of the gap on either side keeps neighbours apart, a fourth step being free.
		down, up := min(tilt*b.value, below/3), min(tilt*b.value, above/3)
		if b.value == 0 {
			up = tilt * above
		}
		low, high := b.value-down, b.value+up
		if i == 0 {
			c.add(b.low-reach, low-min(down, low))
			if b.value == 0 {
				low = high / 3
			}
		}
		top := min(1, high+up)
		if i+1 == len(blocks) && up == 0 { // a value of 1 has room below only
			top, high, low = 1, 1-down, 1-2*down
		}
		if b.low < b.high {
			c.add(b.low, low)
		}
		c.add(b.high, high)
		if i+1 == len(blocks) {
			c.add(b.high+reach, top)
		}
	}
	return c
}

// add appends a point that is right of and not below the last, or leaves it out.
func (c *curve) add(x float32, y float64) {
	if last := len(c.at) - 1; last >= 0 {
		if !(x-c.at[last] >= gapMin) {
			c.to[last] = max(c.to[last], y)
			return
		}
		y = max(y, c.to[last])
	}
	c.at, c.to = append(c.at, x), append(c.to, y)
}

// value is the curve at a score; NaN for NaN.
func (c *curve) value(score float32) float64 {
	last := len(c.at) - 1
	switch {
	case score != score:
		return float64(score)
	case score <= c.at[0]:
		return c.to[0]
	case score >= c.at[last]:
		return c.to[last]
	}
	i := sort.Search(last, func(i int) bool { return c.at[i+1] >= score })
	share := (float64(score) - float64(c.at[i])) / (float64(c.at[i+1]) - float64(c.at[i]))
	return c.to[i] + share*(c.to[i+1]-c.to[i])
}
