// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"github.com/millrace-ml/millrace/engine/native/activation"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/kernels/conv"
)

// stripCols is about how many columns are summed for all channels before the next ones:
// what they read and write stays in the L2 cache, and a block of them near the L1.
const stripCols = 1024

// product is a convolution of a picture that lies in a layout.
type product struct {
	layout  *layout
	filters []*conv.Weights
	taps    *conv.Taps
	// group is the number of elements of the layout in a group of channels; rows and
	// size are the output's channels in a group and its elements.
	group, rows, size int
	epilogues         []conv.Epilogue
	after             func(dst, src []float32)
	// temp takes sums with those at row ends, which are not outputs.
	temp *floats
}

func newProduct(l *layout, groups, rows, channels int, a *activation.Activation, s *op.Scratch) *product {
	p := &product{
		layout: l, taps: l.taps(channels / groups), group: channels / groups * l.channel,
		rows: rows / groups, size: rows * l.outputs(), after: a.After,
		epilogues: make([]conv.Epilogue, groups),
	}
	for g := range p.epilogues {
		p.epilogues[g] = conv.Epilogue{Low: a.Low, High: a.High}
	}
	if p.ragged() {
		p.temp = shared(s, 0, conv.BlockRows*max(p.stripRows()*l.pitch, l.pictures*l.picture))
	}
	return p
}

// bias is what sums start from; nil is nothing.
func (p *product) bias(v *op.Value) {
	if v == nil {
		return
	}
	for g := range p.epilogues {
		p.epilogues[g].Bias = op.Floats(v)[g*p.rows:][:p.rows]
	}
}

// ragged reports that rows have sums at their ends that are not outputs, or that
// pictures follow each other.
func (p *product) ragged() bool {
	return p.layout.pitch != p.layout.axes[2].out || p.layout.pictures > 1
}

func (p *product) stripRows() int {
	return min(p.layout.axes[1].out, max(1, stripCols/p.layout.pitch))
}

// run convolves as many pictures as there are in the layout.
func (p *product) run(y, x []float32, pictures int) {
	l := p.layout
	height, width := l.axes[1].out, l.axes[2].out
	rows := p.stripRows()
	if pictures > 1 {
		p.strip(y, x, strip{rows: height, width: width, pictures: pictures})
		height = 0
	}
	for z := range l.axes[0].out {
		if !p.ragged() && l.q[1] == height {
			// Nothing lies between rows: the copy has them one after the other.
			for i := 0; i < height*width; i += stripCols {
				at := z*height*width + i
				p.strip(y[at:], x[at:], strip{rows: 1, width: min(stripCols, height*width-i), pictures: 1})
			}
			continue
		}
		for h := 0; h < height; h += rows {
			from := (z*l.q[1] + h) * l.pitch
			p.strip(y[(z*height+h)*width:], x[from:], strip{rows: min(rows, height-h), width: width, pictures: 1})
		}
	}
	if p.after != nil {
		p.after(y, y)
	}
}

// strip is rows that are computed for all channels before the next ones.
type strip struct{ rows, width, pictures int }

func (p *product) strip(y, x []float32, s strip) {
	plane := p.layout.outputs()
	for g, w := range p.filters {
		for b := range w.Blocks() {
			first, count := w.Block(b)
			p.block(y[(g*p.rows+first)*plane:], x[g*p.group:], s, g, b, count)
		}
	}
}

// block computes rows of a block of channels.
func (p *product) block(y, x []float32, s strip, g, b, channels int) {
	l := p.layout
	plane := l.outputs()
	w, e := p.filters[g], &p.epilogues[g]
	if s.pictures == 1 && (s.rows == 1 || !p.ragged()) {
		conv.Rows(y, plane, x, s.rows*s.width, p.taps, w, b, e)
		return
	}
	if conv.Wraps(channels, s.width) && s.pictures == 1 {
		conv.Wrapped(y, plane, x, s.rows*s.width, s.width, l.pitch-s.width, p.taps, w, b, e)
		return
	}
	cols := (s.pictures-1)*l.picture + (s.rows-1)*l.pitch + s.width
	temp := p.temp.data[:channels*cols]
	conv.Rows(temp, cols, x, cols, p.taps, w, b, e)
	grid := conv.Grid{Rows: s.rows, Cols: s.width, DstRow: s.width, SrcRow: l.pitch, Step: 1}
	if s.rows == 1 { // of each picture: those of a channel are copied together
		grid.Rows, grid.DstRow, grid.SrcRow, s.pictures = s.pictures, p.size, l.picture, 1
	}
	for i := range s.pictures {
		for c := range channels {
			conv.Copy(y[i*p.size+c*plane:], temp[c*cols+i*l.picture:], &grid)
		}
	}
}
