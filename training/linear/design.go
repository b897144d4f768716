// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/millrace-ml/millrace/training/learn"
)

// design is the matrix of terms of a table, by column.
type design struct {
	recipe  *recipe
	rows    int
	columns [][]float32 // by term, standardised
	codes   [][]int32   // by category, -1 for none
	workers int
}

// newDesign makes the matrix. It completes the means and scales of products, once.
func newDesign(ctx context.Context, r *recipe, t *learn.Table, workers int) (*design, error) {
	d := &design{recipe: r, rows: t.Rows(), workers: workers}
	if d.workers <= 0 {
		d.workers = runtime.GOMAXPROCS(0)
	}
	if cells := d.rows * (len(r.terms) + len(r.categories)); cells > cellsMax {
		return nil, fmt.Errorf("%w: %d rows with %d terms, at most %d numbers are held: use fewer knots, bins or products",
			learn.ErrParameters, d.rows, len(r.terms), cellsMax)
	}
	for range r.terms {
		d.columns = append(d.columns, make([]float32, d.rows))
	}
	d.each(func(_, from, to int) {
		if ctx.Err() == nil {
			d.fill(t.Values, from, to)
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	for i := range r.terms {
		r.terms[i].settle(d.columns[i], t.Weights)
	}
	d.each(func(_, from, to int) {
		for i := range r.terms {
			scaleBy(d.columns[i][from:to], r.terms[i].scale)
		}
	})
	for _, c := range r.categories {
		codes := make([]int32, d.rows)
		for i, x := range t.Values[c.feature] {
			codes[i] = code(x, c.size)
		}
		d.codes = append(d.codes, codes)
	}
	return d, nil
}

// fill writes the terms of some rows, before their scale.
func (d *design) fill(values [][]float32, from, to int) {
	c := d.recipe.newChunk()
	for ; from < to; from += chunkRows {
		end := min(from+chunkRows, to)
		c.load(values, from, end)
		for i := range d.recipe.terms {
			c.write(&d.recipe.terms[i], d.columns[i][from:end])
		}
	}
}

// settle gives a product its mean and scale when its column is first made.
func (t *term) settle(column, weights []float32) {
	if t.kind != productTerm || t.spread != 0 {
		return
	}
	m := momentsOf(column, weights)
	t.spread = 1
	if !m.varies() {
		t.scale = 0
		return
	}
	t.mean, t.scale = float32(m.mean), 1/m.deviation
	for i := range column {
		column[i] -= t.mean
	}
}

func scaleBy(column []float32, scale float64) {
	if scale == 1 {
		return
	}
	for i, x := range column {
		column[i] = float32(float64(x) * scale)
	}
}

// partsMax bounds the parts that rows are divided in; their number depends on the rows
// alone, so that sums of parts do not depend on the workers (L1).
const partsMax = 32

func (d *design) parts() int { return min(partsMax, (d.rows+4*chunkRows-1)/(4*chunkRows)) }

// each calls f for each part of the rows, several at a time.
func (d *design) each(f func(part, from, to int)) {
	parts := d.parts()
	run := func(part int) { f(part, d.rows*part/parts, d.rows*(part+1)/parts) }
	if d.workers == 1 || parts == 1 {
		for part := range parts {
			run(part)
		}
		return
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	for range min(d.workers, parts) {
		wait.Go(func() {
			for part := int(next.Add(1)) - 1; part < parts; part = int(next.Add(1)) - 1 {
				run(part)
			}
		})
	}
	wait.Wait()
}
