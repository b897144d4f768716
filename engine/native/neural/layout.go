// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/kernels/conv"
)

// layout is how the kernels get to read a picture for a convolution.
//
// With a stride s along an axis the picture falls into s phases: those elements whose
// place modulo s is the same. Windows then are one element apart in each phase. A
// channel of the copy has a block of extent q for each combination of phases that any
// tap is in, padding included. Rows share their padding: zeros at the end of one are
// those before the next, which pitch is far apart.
//
// Where a picture alone would leave vectors half empty, several are convolved as one:
// blocks then hold the rows of all of them.
type layout struct {
	axes
	// q are the extents of a block, and channel the elements of a channel.
	q       [spatialMax]int
	pitch   int
	channel int
	// pictures are laid out together, each taking so many elements of a block.
	pictures, picture int
	// phases are those in use along an axis, and numbers their places in that list.
	phases  [spatialMax][]int
	numbers [spatialMax]map[int]int
	// direct says that the input has this layout already.
	direct bool
}

// layoutOf plans the copy of pictures, of rows that there are, with so many channels.
func layoutOf(all *axes, rows, channels int) (*layout, error) {
	l := &layout{axes: *all, direct: true, pictures: 1}
	blocks := 1
	for i := range all {
		a := &all[i]
		l.q[i] = a.out + (a.kernel-1)*a.dilation/a.stride
		l.numbers[i] = make(map[int]int)
		for k := range min(a.kernel, a.stride) {
			phase := k * a.dilation % a.stride
			if _, seen := l.numbers[i][phase]; !seen {
				l.numbers[i][phase] = len(l.phases[i])
				l.phases[i] = append(l.phases[i], phase)
			}
		}
		blocks *= len(l.phases[i])
		l.direct = l.direct && a.stride == 1 && a.before == 0 && l.q[i] == a.in
	}
	if l.direct && all.taps() == 1 {
		// Places do not see each other: rows are as good as one.
		l.collapse()
	}
	l.pitch = l.sharedPitch()
	if _, err := bounded("a padded channel", blocks, l.q[0], l.q[1], max(l.pitch, l.q[2])); err != nil {
		return nil, err
	}
	l.picture = l.q[0]*l.q[1]*l.pitch + max(0, l.q[2]-l.pitch)
	l.join(rows)
	l.channel = blocks * l.block()
	_, err := bounded("a padded picture", channels, l.channel)
	return l, err
}

// sharedPitch is the least from one row to the next that leaves each the zeros before
// and behind it that windows reach.
func (l *layout) sharedPitch() int {
	a, extent := &l.axes[spatialLast], l.q[spatialLast]
	pitch := a.out
	for _, phase := range l.phases[spatialLast] {
		first, end := a.inside(phase, extent)
		pitch = max(pitch, max(0, end-first)+max(first, extent-end))
	}
	return pitch
}

// Pictures are joined where there is nothing between their rows and each has few
// columns, until there are joinedCols or so.
const (
	joinedCols  = 1024
	lanes       = 16
	fewCols     = 512
	emptyShare  = 24 // one in so many lanes may be empty before pictures are joined
	spatialLast = spatialMax - 1
)

// join decides how many pictures of those that there are make one.
func (l *layout) join(rows int) {
	cols := l.q[1] * l.pitch
	empty := (lanes - cols%lanes) % lanes
	if rows < 2 || l.q[0] > 1 || l.q[1] != l.axes[1].out || cols == 0 || cols > fewCols || empty*emptyShare < cols {
		return
	}
	l.pictures = min(rows, joinedCols/cols)
	l.direct = false
}

func (l *layout) collapse() {
	flat := axis{in: l.inputs(), out: l.outputs(), kernel: 1, stride: 1, dilation: 1}
	none := axis{in: 1, out: 1, kernel: 1, stride: 1, dilation: 1}
	l.axes = axes{none, none, flat}
	l.q = [spatialMax]int{1, 1, flat.in}
}

// block is the size of a block.
func (l *layout) block() int { return l.pictures * l.picture }

// taps lists the offsets of a window's elements over so many channels, in the order of
// the weights.
func (l *layout) taps(channels int) *conv.Taps {
	var window []int
	for z := range l.axes[0].kernel {
		for y := range l.axes[1].kernel {
			for x := range l.axes[2].kernel {
				window = append(window, l.tap([spatialMax]int{z, y, x}))
			}
		}
	}
	offsets := make([]int, 0, channels*len(window))
	for c := range channels {
		for _, o := range window {
			offsets = append(offsets, c*l.channel+o)
		}
	}
	return conv.NewTaps(offsets)
}

func (l *layout) tap(at [spatialMax]int) int {
	block := 0
	var shift [spatialMax]int
	for i, k := range at {
		a := &l.axes[i]
		u := k * a.dilation
		block = block*len(l.phases[i]) + l.numbers[i][u%a.stride]
		shift[i] = u / a.stride
	}
	return block*l.block() + (shift[0]*l.q[1]+shift[1])*l.pitch + shift[2]
}

// transfer is a part of a channel that is copied in one go.
type transfer struct {
	dst, src int
	grid     conv.Grid
}

// transfers lists what is copied of a channel.
func (l *layout) transfers() []transfer {
	var list []transfer
	block := 0
	for _, fz := range l.phases[0] {
		for _, fy := range l.phases[1] {
			for _, fx := range l.phases[2] {
				list = l.blockTransfers(list, block*l.block(), [spatialMax]int{fz, fy, fx})
				block++
			}
		}
	}
	return list
}

// blockTransfers appends those of the block with the given phases at dst.
func (l *layout) blockTransfers(list []transfer, dst int, phases [spatialMax]int) []transfer {
	var first, end, from [spatialMax]int
	for i, f := range phases {
		a := &l.axes[i]
		first[i], end[i] = a.inside(f, l.q[i])
		if end[i] <= first[i] {
			return list
		}
		from[i] = first[i]*a.stride + f - a.before
	}
	height, width := l.axes[1].in, l.axes[2].in
	for z := first[0]; z < end[0]; z++ {
		depth := from[0] + (z-first[0])*l.axes[0].stride
		list = append(list, transfer{
			dst: dst + (z*l.q[1]+first[1])*l.pitch + first[2],
			src: (depth*height+from[1])*width + from[2],
			grid: conv.Grid{
				Rows: end[1] - first[1], Cols: end[2] - first[2],
				DstRow: l.pitch, SrcRow: l.axes[1].stride * width, Step: l.axes[2].stride,
			},
		})
	}
	return list
}

// inside is the range of a phase's elements that are not padding, of the first extent.
func (a *axis) inside(phase, extent int) (first, end int) {
	ceil := func(n int) int { return max(0, (n+a.stride-1)/a.stride) }
	return ceil(a.before - phase), min(extent, ceil(a.in+a.before-phase))
}

// padded is the copy of a picture, of one operator in one instance. The padding is
// written when another layout comes to use it, as the copies leave it alone.
type padded struct {
	floats
	user any
}

func paddedOf(s *op.Scratch, key any, n int) *padded {
	p := op.Keep(s, key, func() *padded { return &padded{} })
	if len(p.data) < n {
		p.reserve(n)
		p.user = nil
	}
	return p
}

// use gives the first n elements to a user, filled with padding where it is new.
func (p *padded) use(user any, n int, padding float32) []float32 {
	data := p.data[:n]
	if p.user != user {
		for i := range data {
			data[i] = padding
		}
		p.user = user
	}
	return data
}

// filler copies pictures of so many channels into a layout.
type filler struct {
	layout *layout
	// list is copied for each channel, or once where rows of it are channels.
	list     []transfer
	channels int
	padded   *padded
}

func newFiller(l *layout, channels int, s *op.Scratch, key any) *filler {
	f := &filler{layout: l, list: l.transfers(), channels: channels}
	f.padded = paddedOf(s, key, channels*l.channel)
	if l.axes[0].in == 1 && l.axes[1].in == 1 && l.q[0] == 1 && l.q[1] == 1 {
		for i := range f.list {
			g := &f.list[i].grid
			g.Rows, g.SrcRow, g.DstRow = channels, l.inputs(), l.channel
		}
		f.channels = 1
	}
	return f
}

// fill copies pictures, as many as x holds, and gives the copy.
func (f *filler) fill(x []float32, channels int) []float32 {
	l := f.layout
	to, size := f.padded.use(f, channels*l.channel, 0), l.inputs()
	for at := 0; len(x) > 0; at += l.picture {
		for c := range f.channels {
			for i := range f.list {
				t := &f.list[i]
				conv.Copy(to[at+c*l.channel+t.dst:], x[c*size+t.src:], &t.grid)
			}
		}
		x = x[channels*size:]
	}
	return to
}
