// SPDX-License-Identifier: Apache-2.0

package window

import "math"

// gatherMax is how many events are decoded before the partial results take them, a column
// at a time.
const gatherMax = 64

// gather holds decoded events by column. Going through them a column at a time chooses the
// code of a result once per batch and not once per event.
type gather struct {
	n      int
	times  [gatherMax]int64
	ids    [gatherMax]uint64
	values [][gatherMax]float64
	keys   [][gatherMax]uint64
}

func newGather(v *View) gather {
	return gather{values: make([][gatherMax]float64, len(v.def.Columns)), keys: make([][gatherMax]uint64, len(v.def.Keys))}
}

// run decodes events back from end while they are newer than tail, up to a tile, an event of a
// long encoding or the capacity. It returns where it stopped and the newest time there.
// This is where a read spends its time: some 12 bytes per event, each looked at once.
func (g *gather) run(b []byte, end int, newest, tail int64) (int, int64) {
	n := 0
	for end > 0 && newest > tail && n < gatherMax {
		length := int(b[end-1])
		start := end - 1 - length
		if length >= 0x80 || b[start]&flagTile != 0 {
			break
		}
		h := b[start:]
		idLen, differenceLen := int(h[1]&15), int(h[1]>>4)
		difference := int64(load(h[2:], differenceLen))
		if h[0]&flagSeconds != 0 {
			difference *= second
		}
		g.times[n] = newest
		g.ids[n] = load(h[2+differenceLen:], idLen)
		h = h[2+differenceLen+idLen:]
		for c := range g.values {
			size := int(h[0] & 15)
			switch kind, u := h[0]>>4, load(h[1:], size); kind {
			case kindNull:
				g.values[c][n] = math.NaN()
			case kindRaw:
				g.values[c][n] = math.Float64frombits(u)
			default:
				g.values[c][n] = float64(u) / scales[kind]
			}
			h = h[1+size:]
		}
		for c := range g.keys {
			g.keys[c][n] = load(h[1:], int(h[0]))
			h = h[1+int(h[0]):]
		}
		n++
		newest, end = newest-difference, start
	}
	g.n = n
	return end, newest
}

// skip goes back over entries newer than edge and returns where it stopped, the newest time
// there, and by how much the edge was missed.
func skip(b []byte, end int, newest, edge int64) (stop int, at, missed int64) {
	for end > 0 && newest > edge {
		e := entryAt(b, end, newest)
		if e.tile {
			missed = missedBy(edge, e.oldest(b))
		}
		newest, end = newest-e.difference, e.start
	}
	return end, newest, missed
}

// addAll adds the gathered events, newest first.
func (r *ir) addAll(g *gather) {
	p := r.prim
	switch {
	case p.column < 0:
		r.n += int64(g.n)
		return
	case p.kind == distinctPrim:
		r.addHashes(g)
		return
	}
	values := g.values[p.column][:g.n]
	switch p.kind {
	case countPrim:
		for _, x := range values {
			if x == x {
				r.n++
			}
		}
	case sumPrim:
		r.sum.addAll(values)
	case minPrim:
		r.value = lowest(values, r.value)
	case maxPrim:
		r.value = highest(values, r.value)
	default:
		for i, x := range values {
			if x == x {
				r.addValue(x, g.times[i], g.ids[i])
			}
		}
	}
}

func (r *ir) addHashes(g *gather) {
	if c := r.prim.column - len(g.values); c >= 0 {
		for _, k := range g.keys[c][:g.n] {
			if k != 0 {
				r.set.add(mix(k))
			}
		}
		return
	}
	for _, x := range g.values[r.prim.column][:g.n] {
		if x == x {
			r.set.add(mix(math.Float64bits(x)))
		}
	}
}

// lowest returns the smallest value that is not NaN, start included.
func lowest(values []float64, start float64) float64 {
	for _, x := range values {
		if x < start || start != start {
			start = x
		}
	}
	return start
}

// highest returns the largest value that is not NaN, start included.
func highest(values []float64, start float64) float64 {
	for _, x := range values {
		if x > start || start != start {
			start = x
		}
	}
	return start
}
