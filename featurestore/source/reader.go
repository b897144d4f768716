// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// Reader yields the rows of a source.
type Reader struct {
	shape
	ctx   context.Context
	o     Options
	parts []part
	claims
	counts counts
	own    worker // of Next, without Parallel
	ahead  *ahead
	err    error // that ended it
}

// claims hand out slices in order.
type claims struct {
	mu struct {
		sync.Mutex
		part  int // the next to open
		open  *openPart
		slice int
		rows  int // of a slice
		err   error
	}
}

// openPart is an input and how many of its slices are being filled.
type openPart struct {
	input
	part  *part
	file  int64 // from 1
	users int   // guarded by claims.mu, with the one that takes slices
}

// claim is a slice to fill.
type claim struct {
	piece
	from  *openPart
	slice int
}

// counts are what was read so far.
type counts struct {
	sync.Mutex
	rows, bad int64
	list      []badRow
}

type badRow struct {
	slice int
	RowError
}

// Open opens a source's history. The end of ctx ends reading. Files are looked for now,
// and opened when it is their turn.
func Open(ctx context.Context, s *definition.Source, o Options) (*Reader, error) {
	o.EnsureDefaults()
	if err := o.Validate(len(s.Fields)); err != nil {
		return nil, fmt.Errorf("source %s: options: %w", s.Name, err)
	}
	if len(s.Inputs) == 0 {
		return nil, fmt.Errorf("source %s: %w: it has no inputs, so no history", s.Name, ErrInput)
	}
	all, err := parts(s, o.Input)
	if err != nil {
		return nil, fmt.Errorf("source %s: %w", s.Name, err)
	}
	return &Reader{shape: newShape(s, &o), ctx: ctx, o: o, parts: all}, nil
}

// Fields are those of the columns of a batch, in their order.
func (r *Reader) Fields() []definition.Field { return r.source.Fields }

// Next reads a batch; false at the end. What b had before is lost, its memory is used
// again. An error ends the reader.
func (r *Reader) Next(b *column.Batch) (bool, error) {
	if r.err != nil {
		return false, r.err
	}
	more, err := r.next(b)
	if err != nil {
		r.err = r.named(err)
		return false, r.err
	}
	return more, nil
}

func (r *Reader) next(b *column.Batch) (bool, error) {
	if r.o.Parallel > 0 {
		if r.ahead == nil {
			r.start(r.rows(batchRowsNext))
			r.ahead = newAhead(r, r.o.Parallel)
		}
		return r.ahead.next(b)
	}
	r.start(r.rows(batchRowsNext))
	for {
		c, err := r.claim()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err == nil {
			err = r.fill(c, b, &r.own)
		}
		if err != nil || b.Rows > 0 {
			return true, err
		}
	}
}

func (r *Reader) rows(otherwise int) int {
	if r.o.BatchRows > 0 {
		return r.o.BatchRows
	}
	return otherwise
}

func (r *Reader) start(rows int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.rows == 0 {
		r.mu.rows = rows
	}
}

func (r *Reader) named(err error) error { return fmt.Errorf("source %s: %w", r.source.Name, err) }

// claim takes the next slice; io.EOF if there is none. After an error there are no more.
func (r *Reader) claim() (claim, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.err != nil {
		return claim{}, r.mu.err
	}
	c, err := r.claimLocked()
	if err != nil {
		r.mu.err = err
	}
	return c, err
}

func (r *Reader) claimLocked() (claim, error) {
	for {
		if err := r.ctx.Err(); err != nil {
			return claim{}, err
		}
		if r.mu.open == nil {
			if r.mu.part == len(r.parts) {
				return claim{}, io.EOF
			}
			p := &r.parts[r.mu.part]
			in, err := r.open(r.ctx, p, &r.o, r.mu.rows)
			if err != nil {
				return claim{}, err
			}
			r.mu.part++
			r.mu.open = &openPart{input: in, part: p, file: int64(r.mu.part), users: 1}
		}
		p, err := r.mu.open.next()
		if err == nil {
			c := claim{piece: p, from: r.mu.open, slice: r.mu.slice}
			c.from.users++
			r.mu.slice++
			return c, nil
		}
		name := r.mu.open.part.name
		if !errors.Is(err, io.EOF) {
			return claim{}, fmt.Errorf("%s: %w", name, err)
		}
		if err := r.leaveLocked(r.mu.open); err != nil {
			return claim{}, fmt.Errorf("%s: %w", name, err)
		}
		r.mu.open = nil
	}
}

// leaveLocked closes an input that nobody uses any more. r.mu must be held.
func (r *Reader) leaveLocked(p *openPart) error {
	if p.users--; p.users > 0 {
		return nil
	}
	return p.close()
}

func (r *Reader) leave(p *openPart) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leaveLocked(p)
}

// stop ends the handing out of slices.
func (r *Reader) stop(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.err == nil {
		r.mu.err = err
	}
}

// fill reads a slice into a batch, without its bad rows.
func (r *Reader) fill(c claim, b *column.Batch, w *worker) error {
	r.prepare(b)
	err := c.fill(b, w)
	if err == nil {
		absent := c.from.absent()
		addNulls(b, r.wanted, absent)
		r.number(b, w, c.from.file)
		r.check(b, absent, &w.rejects)
		w.rejects.drop(b)
	} else {
		err = fmt.Errorf("%s: %w", c.from.part.name, err)
	}
	err = errors.Join(err, r.leave(c.from))
	if err != nil {
		return err
	}
	return r.count(c.slice, b, &w.rejects)
}

func (r *Reader) number(b *column.Batch, w *worker, file int64) {
	if !r.numbers {
		return
	}
	c := &b.Columns[len(b.Columns)-1]
	for i := range b.Rows {
		c.Ints = append(c.Ints, file<<rowBits|w.rejects.number(i))
	}
}

// count adds a slice, and ends reading if it has too many bad rows.
func (r *Reader) count(slice int, b *column.Batch, bad *rejects) error {
	r.counts.Lock()
	defer r.counts.Unlock()
	r.counts.rows += int64(b.Rows)
	if bad.count == 0 {
		return nil
	}
	r.counts.bad += bad.count
	r.counts.add(slice, bad.list)
	if r.o.BadRowsMax < 0 || r.counts.bad <= r.o.BadRowsMax {
		return nil
	}
	first := &bad.list[0]
	if r.o.BadRowsMax == 0 {
		return fmt.Errorf("%w: %w", ErrBadRows, first)
	}
	return fmt.Errorf("%w: %d and more, with %d allowed; one of them: %w", ErrBadRows, r.counts.bad, r.o.BadRowsMax, first)
}

// Rows is how many rows were read so far, without bad ones.
func (r *Reader) Rows() int64 {
	r.counts.Lock()
	defer r.counts.Unlock()
	return r.counts.rows
}

// BadCount is how many bad rows were met so far.
func (r *Reader) BadCount() int64 {
	r.counts.Lock()
	defer r.counts.Unlock()
	return r.counts.bad
}

// RowsTotal is how many rows the inputs have, bad ones included; -1 if that cannot be
// known without reading them, as for text and queries.
func (r *Reader) RowsTotal() int64 {
	total := int64(0)
	for i := range r.parts {
		if r.parts[i].in.Format != definition.Parquet {
			return -1
		}
		rows, err := parquetRows(&r.parts[i])
		if err != nil {
			return -1 // reading will say why
		}
		total += rows
	}
	return total
}

// Size is the bytes of all files; -1 if there is a query.
func (r *Reader) Size() int64 {
	total := int64(0)
	for i := range r.parts {
		if r.parts[i].size < 0 {
			return -1
		}
		total += r.parts[i].size
	}
	return total
}

// Progress is the share of the inputs, by bytes, that has been handed out, from 0 to 1;
// -1 if there is a query.
func (r *Reader) Progress() float64 {
	size := r.Size()
	if size < 0 {
		return -1
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	done := 0.0
	for i := range r.parts[:r.mu.part] {
		share := 1.0
		if open := r.mu.open; open != nil && open.part == &r.parts[i] {
			share = open.progress()
		}
		done += share * float64(r.parts[i].size)
	}
	return min(done/float64(max(size, 1)), 1)
}

// Bad lists the first BadListMax bad rows met so far, in order.
func (r *Reader) Bad() []RowError {
	r.counts.Lock()
	defer r.counts.Unlock()
	all := make([]RowError, len(r.counts.list))
	for i := range all {
		all[i] = r.counts.list[i].RowError
	}
	return all
}

// Close ends reading and lets the inputs go. A second Close does nothing.
func (r *Reader) Close() error {
	r.stop(errClosed)
	if r.ahead != nil {
		r.ahead.close()
		r.ahead = nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = r.named(errClosed)
	}
	open := r.mu.open
	if open == nil {
		return nil
	}
	r.mu.open = nil
	return r.leaveLocked(open)
}

var errClosed = errors.New("reader is closed")
