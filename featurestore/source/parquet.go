// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source/internal/pages"
)

// parquetFile is an open Parquet file. A slice is some rows of a row group. Pages do not
// end where slices do, nor where those of other columns do: a page is decoded by the
// first worker that needs it and kept until the last slice that does is filled.
type parquetFile struct {
	part    *part
	file    *os.File
	pages   *pages.File
	bound   []parquetColumn
	missing []bool
	rows    int // of a slice
	group   int // the next to open
	open    *rowGroup
	handed  int64 // rows
	total   int64
	spare   sync.Pool // *pages.Values
}

type parquetColumn struct {
	field   int
	leaf    *pages.Leaf
	convert convert
}

func openParquet(sh *shape, p *part, rows int) (*parquetFile, error) {
	file, err := os.Open(p.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	f := &parquetFile{part: p, file: file, rows: rows}
	if f.pages, err = pages.Open(file, p.size); err == nil {
		f.total = f.pages.Rows()
		err = f.bind(sh)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return f, nil
}

// parquetRows is the number of rows that a file says it has.
func parquetRows(p *part) (int64, error) {
	file, err := os.Open(p.path)
	if err != nil {
		return 0, err
	}
	f, err := pages.Open(file, p.size)
	if err != nil {
		return 0, errors.Join(err, file.Close())
	}
	return f.Rows(), file.Close()
}

func (f *parquetFile) bind(sh *shape) error {
	leaves := f.pages.Leaves()
	bound, missing, err := sh.bind(f.part, func(name string) (int, string) {
		leaf, why := f.pages.Leaf(name)
		if leaf == nil && why == "" {
			return -1, listed(leafNames(leaves))
		}
		for i := range leaves {
			if leaf == &leaves[i] {
				return i, ""
			}
		}
		return -1, " to read: " + why
	})
	if err != nil {
		return err
	}
	f.missing = missing
	for _, b := range bound {
		leaf, field := &leaves[b.column], &sh.source.Fields[b.field]
		if leaf.Refused != "" {
			return fmt.Errorf("%w: field %s: column %q is %s: %s", ErrInput, field.Name, leaf.Name, leaf.Stored, leaf.Refused)
		}
		c := converter(leaf.Kind, field.Type, b.unit)
		if c == nil {
			return fmt.Errorf("%w: field %s is %s, and column %q is %s%s", ErrInput, field.Name, field.Type, leaf.Name, leaf.Stored, unsuited(leaf, field.Type))
		}
		f.bound = append(f.bound, parquetColumn{field: b.field, leaf: leaf, convert: c})
	}
	return nil
}

func unsuited(leaf *pages.Leaf, t column.Type) string {
	if t == column.Timestamp && (leaf.Kind == pages.Ints || leaf.Kind == pages.Uints) {
		return fmt.Sprintf("; say its unit under columns, as unix_ms(%s)", leaf.Name)
	}
	return ""
}

func leafNames(leaves []pages.Leaf) []string {
	names := make([]string, len(leaves))
	for i := range leaves {
		names[i] = leaves[i].Name
	}
	return names
}

// rowGroup is a row group whose slices are being handed out.
type rowGroup struct {
	rows, at int64
	chunks   []*pages.Chunk
	pages    [][]sharedPage // of each bound column
}

// sharedPage is a page that several slices may need.
type sharedPage struct {
	taken  atomic.Bool   // by who decodes it
	done   chan struct{} // closed when that is done
	values *pages.Values
	err    error
	users  atomic.Int64 // slices that are not filled yet
}

func (f *parquetFile) next() (piece, error) {
	for f.open == nil || f.open.at == f.open.rows {
		if f.group == f.pages.Groups() {
			return nil, io.EOF
		}
		if err := f.openGroup(f.group); err != nil {
			return nil, err
		}
		f.group++
	}
	g := f.open
	end := min(g.at+int64(f.rows), g.rows)
	p := &parquetPiece{file: f, group: g, first: f.handed + 1, from: g.at, to: end}
	f.handed += end - g.at
	g.at = end
	return p, nil
}

func (f *parquetFile) openGroup(i int) error {
	g := &rowGroup{rows: f.pages.GroupRows(i)}
	for _, c := range f.bound {
		chunk, err := f.pages.Chunk(i, c.leaf)
		if err != nil {
			return err
		}
		shared := make([]sharedPage, chunk.Pages())
		for n := range shared {
			first, rows := chunk.Page(n)
			size := int64(f.rows)
			shared[n].done = make(chan struct{})
			shared[n].users.Store((first+int64(rows)-1)/size - first/size + 1)
		}
		g.chunks, g.pages = append(g.chunks, chunk), append(g.pages, shared)
	}
	f.open = g
	return nil
}

func (f *parquetFile) progress() float64 { return float64(f.handed) / float64(max(f.total, 1)) }
func (f *parquetFile) absent() []bool    { return f.missing }
func (f *parquetFile) close() error      { return f.file.Close() }

// parquetPiece is the rows from one to another of a row group.
type parquetPiece struct {
	file     *parquetFile
	group    *rowGroup
	first    int64 // row of the file, from 1
	from, to int64
}

func (p *parquetPiece) fill(b *column.Batch, w *worker) error {
	w.rejects.reset(p.file.part.name, false, p.first)
	// Pages that nobody decodes yet come first, so that two workers which need the same
	// ones do not wait for one another.
	for c := range p.file.bound {
		p.each(c, func(i int, page *sharedPage) {
			if page.taken.CompareAndSwap(false, true) {
				p.decode(c, i, page, w)
			}
		})
	}
	var failed error
	for c := range p.file.bound {
		bound := &p.file.bound[c]
		to := &b.Columns[bound.field]
		p.each(c, func(i int, page *sharedPage) {
			<-page.done
			if page.err != nil {
				failed = page.err
			}
			if failed == nil {
				first, rows := p.group.chunks[c].Page(i)
				from, end := max(p.from-first, 0), min(p.to-first, int64(rows))
				bound.convert(to, page.values, int(from), int(end), &w.rejects)
			}
			p.file.release(page)
		})
	}
	b.Rows = int(p.to - p.from)
	return failed
}

// each visits the pages of a column that the slice needs.
func (p *parquetPiece) each(c int, visit func(i int, page *sharedPage)) {
	shared, chunk := p.group.pages[c], p.group.chunks[c]
	for i := pageOf(chunk, p.from); i < len(shared); i++ {
		if first, _ := chunk.Page(i); first >= p.to {
			return
		}
		visit(i, &shared[i])
	}
}

// pageOf finds the page with a row.
func pageOf(c *pages.Chunk, row int64) int {
	low, high := 0, c.Pages()
	for low < high {
		middle := (low + high) / 2
		if first, rows := c.Page(middle); first+int64(rows) <= row {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

func (p *parquetPiece) decode(c, i int, page *sharedPage, w *worker) {
	defer close(page.done)
	page.values, _ = p.file.spare.Get().(*pages.Values)
	if page.values == nil {
		page.values = &pages.Values{}
	}
	page.err = p.group.chunks[c].Decode(i, page.values, &w.pages)
}

// release gives the memory of a page back when nobody needs it any more.
func (f *parquetFile) release(page *sharedPage) {
	if page.users.Add(-1) == 0 {
		f.spare.Put(page.values)
		page.values = nil
	}
}
