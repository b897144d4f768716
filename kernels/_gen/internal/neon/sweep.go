// SPDX-License-Identifier: Apache-2.0

package neon

import "math/bits"

// Lanes is the number of words in a vector.
const Lanes = 4

// Cursor is where a Sweep over words stands: some whole vectors, or a tail of less than
// one.
type Cursor struct {
	f       *Func
	Vectors int
	Tail    bool
	Left    GP        // the words of a tail
	index   GP        // of the first word
	places  map[GP]GP // of bases moved by index
}

// Sweep goes over count words in groups of width vectors, then in single vectors, then
// over what is left. body is emitted once for each.
func (f *Func) Sweep(count GP, width int, body func(c *Cursor)) {
	c := &Cursor{f: f, index: f.GP(), Left: f.GP()}
	f.Imm(c.index, 0)
	f.Move(c.Left, count)
	c.loop(width, body)
	if width > 1 {
		c.loop(1, body)
	}
	end := f.Unique("end")
	f.BranchZero(c.Left, end)
	c.Tail, c.Vectors, c.places = true, 1, map[GP]GP{}
	body(c)
	f.Label(end)
}

// loop runs body while there are vectors for it.
func (c *Cursor) loop(vectors int, body func(c *Cursor)) {
	top, next := c.f.Unique("loop"), c.f.Unique("next")
	words := int64(vectors * Lanes)
	c.f.GenImm("SUBS", c.Left, c.Left, words)
	c.f.Branch("LT", next)
	c.f.Label(top)
	c.Vectors, c.places = vectors, map[GP]GP{}
	body(c)
	c.f.GenImm("ADD", c.index, c.index, words)
	c.f.GenImm("SUBS", c.Left, c.Left, words)
	c.f.Branch("GE", top)
	c.f.Label(next)
	c.f.GenImm("ADD", c.Left, c.Left, words)
}

// At is where the cursor stands in what begins at base and has elements of some bytes.
func (c *Cursor) At(base GP, bytes int) GP {
	p, ok := c.places[base]
	if !ok {
		p = c.f.GP()
		c.f.AddShifted(p, base, c.index, bits.TrailingZeros(uint(bytes)))
		c.places[base] = p
	}
	return p
}

// Load is the words at the cursor, with 0 where there are none.
func (c *Cursor) Load(base GP) []Vec {
	v, p := c.f.Vecs(c.Vectors), c.At(base, 4)
	for i := range v {
		if c.Tail {
			c.f.LoadPart(v[i], p, c.Left)
		} else {
			c.f.Load(v[i], p, 16*i)
		}
	}
	return v
}

// Store writes the words at the cursor.
func (c *Cursor) Store(v []Vec, base GP) {
	p := c.At(base, 4)
	for i := range v {
		if c.Tail {
			c.f.StorePart(v[i], p, c.Left)
		} else {
			c.f.Store(v[i], p, 16*i)
		}
	}
}

// Mask is all bits of the lanes that a tail has, in a new register.
func (c *Cursor) Mask() Vec { return c.f.FirstLanes(c.Left) }

// FirstLanes is all bits of the first n lanes, where n is more than the lane's number.
func (f *Func) FirstLanes(n GP) Vec {
	mask := f.Vec()
	f.DupWord(mask, n)
	f.Do(CMGT, mask, mask, f.Constant([4]uint32{0, 1, 2, 3}))
	return mask
}
