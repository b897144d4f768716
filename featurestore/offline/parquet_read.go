// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io"
	"unsafe"

	"github.com/parquet-go/parquet-go"
)

// partSource yields the records of a partition, which are in order already. It holds
// a page of each column.
type partSource struct {
	filter
	part    part
	object  Object
	groups  []parquet.RowGroup
	own     [4]int
	leaves  []int // of the wanted columns; -1 where the part has none
	columns []*columnReader
	left    int64 // rows of the row group
	rec     Record
}

func openPart(ctx context.Context, storage Storage, p part, f filter) (_ *partSource, err error) {
	object, err := storage.Get(ctx, p.Name)
	if err != nil {
		return nil, err
	}
	defer func() {
		if p := recover(); p != nil { // the library may panic over a damaged file
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
		if err != nil {
			err = errors.Join(fmt.Errorf("partition %s: %w", p.Name, err), object.Close())
		}
	}()
	file, err := parquet.OpenFile(object, object.Size(), parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true), parquet.ReadBufferSize(readAhead))
	if err != nil {
		return nil, err
	}
	s := &partSource{filter: f, part: p, object: object, groups: file.RowGroups()}
	for i, name := range ownColumns {
		leaf, ok := file.Schema().Lookup(name)
		if !ok {
			return nil, fmt.Errorf("it has no column %s", name)
		}
		s.own[i] = int(leaf.ColumnIndex)
	}
	for _, c := range f.columns {
		leaf, ok := file.Schema().Lookup(leafPath(c)...)
		if !ok {
			s.leaves = append(s.leaves, -1)
			continue
		}
		s.leaves = append(s.leaves, int(leaf.ColumnIndex))
	}
	s.rec.Values = make([]Value, len(f.columns))
	return s, nil
}

func (s *partSource) record() *Record { return &s.rec }

func (s *partSource) close() error {
	s.closeGroup()
	return s.object.Close()
}

func (s *partSource) closeGroup() {
	for _, c := range s.columns {
		c.close()
	}
	s.columns = nil
}

func (s *partSource) next(ctx context.Context) (bool, error) {
	for {
		for s.left == 0 {
			if more, err := s.nextGroup(ctx); !more || err != nil {
				return false, err
			}
		}
		s.left--
		if err := s.readRow(); err != nil {
			return false, fmt.Errorf("partition %s: %w", s.part.Name, err)
		}
		if s.rec.EventTime > s.last {
			s.left, s.groups = 0, nil
			return false, nil
		}
		if s.takes(s.rec.EventTime, s.rec.ArrivalTime) && (s.below == 0 || s.rec.Sequence < s.below) {
			return true, nil
		}
	}
}

// nextGroup opens the next row group that can hold what is asked for.
func (s *partSource) nextGroup(ctx context.Context) (more bool, err error) {
	defer func() {
		if p := recover(); p != nil { // as in openPart
			more, err = false, fmt.Errorf("%w: partition %s: %v", ErrCorrupt, s.part.Name, p)
		}
	}()
	s.closeGroup()
	for len(s.groups) > 0 {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		group := s.groups[0]
		s.groups = s.groups[1:]
		chunks := group.ColumnChunks()
		if bounded, ok := chunks[s.own[1]].(*parquet.FileColumnChunk); ok {
			if low, high, ok := bounded.Bounds(); ok && (high.Int64() < s.from || low.Int64() > s.last) {
				continue
			}
		}
		s.left = group.NumRows()
		for _, leaf := range s.own {
			s.columns = append(s.columns, &columnReader{pages: chunks[leaf].Pages()})
		}
		for _, leaf := range s.leaves {
			c := &columnReader{}
			if leaf >= 0 {
				c.pages = chunks[leaf].Pages()
			}
			s.columns = append(s.columns, c)
		}
		return true, nil
	}
	return false, nil
}

func (s *partSource) readRow() (err error) {
	defer func() {
		if p := recover(); p != nil { // as in openPart
			err = fmt.Errorf("%w: %v", ErrCorrupt, p)
		}
	}()
	var own [4]parquet.Value
	for i := range own {
		v, err := s.columns[i].value()
		if err != nil {
			return fmt.Errorf("column %s: %w", ownColumns[i], err)
		}
		own[i] = v
	}
	s.rec.ID = textOf(own[0])
	s.rec.EventTime, s.rec.ArrivalTime, s.rec.Sequence = own[1].Int64(), own[2].Int64(), uint64(own[3].Int64())
	clearValues(s.rec.Values)
	for i, c := range s.filter.columns {
		if err := s.columns[len(own)+i].into(&s.rec.Values[i], c.Type); err != nil {
			return fmt.Errorf("column %s: %w", c.Name, err)
		}
	}
	return nil
}

func textOf(v parquet.Value) string {
	b := v.ByteArray()
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// columnReader reads a column of a row group, value by value.
type columnReader struct {
	pages  parquet.Pages // nil if the partition has no such column
	page   parquet.Page
	values parquet.ValueReader
	buffer [128]parquet.Value
	pos, n int
}

func (c *columnReader) close() {
	if c.page != nil {
		parquet.Release(c.page)
	}
	if c.pages != nil {
		_ = c.pages.Close() // it was only read
	}
}

// fill reads on; io.EOF at the end of the row group. What was read before is not
// valid any more.
func (c *columnReader) fill() error {
	for {
		if c.values != nil {
			n, err := c.values.ReadValues(c.buffer[:])
			c.pos, c.n = 0, n
			if n > 0 {
				return nil
			}
			if err != nil && !errors.Is(err, io.EOF) {
				return err
			}
			parquet.Release(c.page)
			c.page, c.values = nil, nil
		}
		page, err := c.pages.ReadPage()
		if err != nil {
			return err
		}
		c.page, c.values = page, page.Values()
	}
}

// value is the next value of a column without lists.
func (c *columnReader) value() (parquet.Value, error) {
	if c.pos == c.n {
		if err := c.fill(); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return parquet.Value{}, err
		}
	}
	c.pos++
	return c.buffer[c.pos-1], nil
}

// into reads the value of the next row.
func (c *columnReader) into(v *Value, t Type) error {
	if c.pages == nil {
		return nil
	}
	p, err := c.value()
	if err != nil {
		return err
	}
	if t == TypeFloat32List {
		return c.list(v, p)
	}
	if p.IsNull() {
		return nil
	}
	switch t {
	case TypeFloat64:
		*v = Float64(p.Double())
	case TypeFloat32:
		*v = Float32(p.Float())
	case TypeBool:
		*v = Bool(p.Boolean())
	case TypeString, TypeBytes:
		v.kind, v.text = t, textOf(p)
	default:
		*v = Value{kind: t, bits: uint64(p.Int64())}
	}
	return nil
}

// list reads on while values repeat.
func (c *columnReader) list(v *Value, first parquet.Value) error {
	switch first.DefinitionLevel() {
	case 0:
		return nil
	case 1:
		v.kind = TypeFloat32List
		return nil
	}
	v.kind = TypeFloat32List
	v.list = append(v.list, first.Float())
	for {
		if c.pos == c.n {
			if err := c.fill(); errors.Is(err, io.EOF) {
				c.pos, c.n = 0, 0
				return nil
			} else if err != nil {
				return err
			}
		}
		if c.buffer[c.pos].RepetitionLevel() == 0 {
			return nil
		}
		v.list = append(v.list, c.buffer[c.pos].Float())
		c.pos++
	}
}
