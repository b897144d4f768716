// SPDX-License-Identifier: Apache-2.0

package window

import "slices"

// runner is a window that slides over the events: what enters is added and what leaves is
// taken out again, exactly. Extremes and ends, which cannot be taken out, have a deque.
type runner struct {
	span   *span
	irs    []ir
	prims  []int // those that the span needs
	deques []deque
	sets   []map[uint64]uint32 // of distinctPrim: how often each hash is in the window
	row    row                 // an event that leaves
	start  int                 // of the window among the visible events
	tail   int64
}

func newRunner(v *View, s *span) runner {
	r := runner{span: s, irs: make([]ir, len(v.prims)), deques: make([]deque, len(v.prims)),
		sets: make([]map[uint64]uint32, len(v.prims)),
		row:  row{values: make([]float64, len(v.def.Columns)), keys: make([]uint64, len(v.def.Keys))}}
	for _, f := range s.features {
		c := &v.features[f]
		for _, p := range [...]int{c.count, c.first, c.third} {
			if p >= 0 && !slices.Contains(r.prims, p) {
				r.prims = append(r.prims, p)
				r.irs[p] = newIR(&v.prims[p])
			}
		}
	}
	return r
}

func (r *runner) reset() {
	r.start, r.tail = 0, never
	for _, p := range r.prims {
		r.irs[p].reset()
		r.deques[p].reset()
		if r.irs[p].prim.kind == distinctPrim {
			r.sets[p] = map[uint64]uint32{}
		}
	}
}

// advance moves the tail to where it is at a time and takes out what falls behind it.
func (r *runner) advance(b *backfill, visible []int32, at int64) {
	r.tail = r.span.tail(at)
	for r.start < len(visible) {
		e := &b.events[b.order[visible[r.start]]]
		if e.Time > r.tail {
			break
		}
		r.row.set(e)
		for _, p := range r.prims {
			r.leave(p, &r.row)
		}
		r.start++
	}
	for _, p := range r.prims {
		r.deques[p].drop(r.tail)
	}
}

// enter adds an event that has become visible, unless it is behind the tail already.
func (r *runner) enter(e *row) {
	if e.time <= r.tail {
		r.start++
		return
	}
	for _, p := range r.prims {
		x := &r.irs[p]
		switch c := x.prim.column; x.prim.kind {
		case minPrim, maxPrim, firstPrim, lastPrim:
			if value := e.values[c]; value == value {
				r.deques[p].insert(x.prim.kind, point{e.time, e.id, value})
			}
		case distinctPrim:
			if h, ok := e.key(c); ok {
				r.sets[p][h]++
			}
		case decayPrim:
			if value := e.values[c]; value == value {
				r.enterDecay(x, value, e.time)
			}
		default:
			x.add(e)
		}
	}
}

// enterDecay adds a weighted value in units of a base that no event in the window is
// before, moving it up when the units get too small for the wide sum.
func (r *runner) enterDecay(x *ir, value float64, time int64) {
	c, k := x.prim.weighted(value, time)
	if x.empty || k-x.base > halfLivesMax+8 {
		x.rebase(floorDiv(r.tail, x.prim.half))
	}
	x.addWeighted(c, k, 1)
}

// leave takes out what enter added.
func (r *runner) leave(p int, e *row) {
	x := &r.irs[p]
	c := x.prim.column
	if c < 0 {
		x.n--
		return
	}
	if x.prim.kind == distinctPrim {
		if h, ok := e.key(c); ok {
			if r.sets[p][h]--; r.sets[p][h] == 0 {
				delete(r.sets[p], h)
			}
		}
		return
	}
	value := e.values[c]
	if value != value {
		return
	}
	switch x.prim.kind {
	case countPrim:
		x.n--
	case sumPrim:
		x.sum.add(value, -1)
	case squarePrim:
		x.sum.addSquare(value, -1)
	case quantilePrim:
		x.sketch.remove(binOf(value))
	case decayPrim:
		w, k := x.prim.weighted(value, e.time)
		x.addWeighted(w, k, -1)
	}
}

// settle fills in the partial results that enter and leave do not keep.
func (r *runner) settle() {
	for _, p := range r.prims {
		x, d := &r.irs[p], &r.deques[p]
		switch x.prim.kind {
		case minPrim, maxPrim:
			x.reset()
			if d.len() > 0 {
				x.value = d.live()[0].value
			}
		case firstPrim, lastPrim:
			n := min(d.len(), x.prim.size)
			live := d.live()[:n]
			if x.prim.kind == lastPrim {
				live = d.live()[d.len()-n:]
			}
			x.points = append(x.points[:0], live...)
		case distinctPrim:
			x.set.load(r.sets[p])
		}
	}
}

// deque holds points by time and id. For an extreme it keeps only those that no later one
// makes useless, so the extreme is at the front.
type deque struct {
	points []point
	head   int
}

func (d *deque) reset()        { d.points, d.head = d.points[:0], 0 }
func (d *deque) len() int      { return len(d.points) - d.head }
func (d *deque) live() []point { return d.points[d.head:] }

// drop takes out the points not after a time. The space is used again once it is half of it.
func (d *deque) drop(tail int64) {
	for d.head < len(d.points) && d.points[d.head].time <= tail {
		d.head++
	}
	if d.head > 32 && 2*d.head > len(d.points) {
		d.points = d.points[:copy(d.points, d.points[d.head:])]
		d.head = 0
	}
}

// insert puts a point in its place.
func (d *deque) insert(kind primKind, p point) {
	i := len(d.points)
	for i > d.head && d.points[i-1].after(p.time, p.id) {
		i--
	}
	from := i
	if kind == minPrim || kind == maxPrim {
		if i < len(d.points) && covers(kind, d.points[i].value, p.value) {
			return
		}
		for from > d.head && covers(kind, p.value, d.points[from-1].value) {
			from--
		}
	}
	d.points = slices.Replace(d.points, from, i, p)
}

// covers says whether a later value x makes an earlier y useless.
func covers(kind primKind, x, y float64) bool {
	if kind == minPrim {
		return x <= y
	}
	return x >= y
}
