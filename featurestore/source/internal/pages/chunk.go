// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"fmt"
	"io"
	"sync"

	"github.com/parquet-go/parquet-go/format"
)

// Chunk is a column of a row group: where its pages are, and its dictionary.
type Chunk struct {
	file  *File
	leaf  *Leaf
	codec format.CompressionCodec
	pages []page

	dictionaryPage *page
	dictionary     struct {
		once   sync.Once
		values Values
		err    error
	}
}

// page is where a page is.
type page struct {
	offset int64 // of its body
	header format.PageHeader
	first  int64 // row, in the row group
	rows   int
}

// Chunk finds the pages of a column in a row group. It reads their headers alone.
func (f *File) Chunk(group int, leaf *Leaf) (*Chunk, error) {
	c, err := f.chunk(group, leaf)
	if err != nil {
		return nil, fmt.Errorf("row group %d, column %q: %w", group, leaf.Name, err)
	}
	return c, nil
}

func (f *File) chunk(group int, leaf *Leaf) (*Chunk, error) {
	g := &f.meta.RowGroups[group]
	column := &g.Columns[leaf.index]
	meta := &column.MetaData
	if column.FilePath != "" {
		return nil, fmt.Errorf("%w: its data are in another file, %q", ErrUnsupported, column.FilePath)
	}
	if column.CryptoMetadata.Value != nil {
		return nil, fmt.Errorf("%w: it is encrypted", ErrUnsupported)
	}
	if meta.Type != leaf.physical {
		return nil, fmt.Errorf("%w: it is stored as %v and the schema says %s", ErrCorrupt, meta.Type, physicalNames[leaf.physical])
	}
	start := meta.DataPageOffset
	if d := meta.DictionaryPageOffset; d > 0 && d < start {
		start = d
	}
	end := start + meta.TotalCompressedSize
	if start < int64(len(magic)) || end < start || end > f.size {
		return nil, fmt.Errorf("%w: it claims the bytes from %d to %d of %d", ErrCorrupt, start, end, f.size)
	}
	c := &Chunk{file: f, leaf: leaf, codec: meta.Codec}
	return c, c.find(start, end, g.NumRows)
}

// find walks from header to header.
func (c *Chunk) find(offset, end, rows int64) error {
	var row int64
	var buffer []byte
	for row < rows {
		p := page{first: row}
		n, err := c.header(&p, &buffer, offset, end)
		if err != nil {
			return fmt.Errorf("header of page %d: %w", len(c.pages), err)
		}
		p.offset = offset + int64(n)
		offset = p.offset + int64(p.header.CompressedPageSize)
		if offset > end {
			return fmt.Errorf("%w: page %d goes beyond the end of its column", ErrCorrupt, len(c.pages))
		}
		switch p.header.Type {
		case format.DictionaryPage:
			if c.dictionaryPage != nil || len(c.pages) > 0 || !p.header.DictionaryPageHeader.Valid {
				return fmt.Errorf("%w: its dictionary is out of place", ErrCorrupt)
			}
			p.rows = int(p.header.DictionaryPageHeader.V.NumValues)
			c.dictionaryPage = &p
		case format.DataPage, format.DataPageV2:
			if p.rows > 0 {
				c.pages = append(c.pages, p)
				row += int64(p.rows)
			}
		}
	}
	if row != rows {
		return fmt.Errorf("%w: its pages have %d rows, the row group %d", ErrCorrupt, row, rows)
	}
	return nil
}

// header reads a page's header, however long it is, and returns its length.
func (c *Chunk) header(p *page, buffer *[]byte, offset, end int64) (int, error) {
	for size := int64(512); ; size *= 16 {
		size = min(size, end-offset)
		if size <= 0 {
			return 0, fmt.Errorf("%w: %w", ErrCorrupt, io.ErrUnexpectedEOF)
		}
		if int64(cap(*buffer)) < size {
			*buffer = make([]byte, size)
		}
		b := (*buffer)[:size]
		if err := readFull(c.file.reader, b, offset); err != nil {
			return 0, err
		}
		p.header = format.PageHeader{}
		n, err := decodeThrift(b, &p.header)
		if err == nil {
			return n, p.check()
		}
		if size == end-offset || size > headerBytesMax {
			return 0, fmt.Errorf("%w: %w", ErrCorrupt, err)
		}
	}
}

// check compares the claims of a header with the bounds, and drops what is not needed
// and refers to the buffer it was read from.
func (p *page) check() error {
	h := &p.header
	if h.CompressedPageSize < 0 || h.UncompressedPageSize < 0 || h.CompressedPageSize > PageBytesMax || h.UncompressedPageSize > PageBytesMax {
		return fmt.Errorf("%w: it claims %d bytes, %d unpacked; at most %d are read", ErrUnsupported, h.CompressedPageSize, h.UncompressedPageSize, PageBytesMax)
	}
	switch h.Type {
	case format.DataPage:
		if !h.DataPageHeader.Valid {
			return fmt.Errorf("%w: a data page without its header", ErrCorrupt)
		}
		h.DataPageHeader.V.Statistics = format.Statistics{}
		p.rows = int(h.DataPageHeader.V.NumValues) // no lists, so values are rows
	case format.DataPageV2:
		if !h.DataPageHeaderV2.Valid {
			return fmt.Errorf("%w: a data page without its header", ErrCorrupt)
		}
		v := &h.DataPageHeaderV2.V
		v.Statistics = format.Statistics{}
		p.rows = int(v.NumValues)
		if v.NumRows != v.NumValues || v.NumNulls < 0 || v.NumNulls > v.NumValues || v.DefinitionLevelsByteLength < 0 || v.RepetitionLevelsByteLength < 0 {
			return fmt.Errorf("%w: its counts contradict one another", ErrCorrupt)
		}
	case format.DictionaryPage:
		p.rows = int(h.DictionaryPageHeader.V.NumValues)
	}
	if p.rows < 0 || p.rows > PageRowsMax {
		return fmt.Errorf("%w: it claims %d values; at most %d are read", ErrUnsupported, p.rows, PageRowsMax)
	}
	return nil
}

// Pages is the number of pages.
func (c *Chunk) Pages() int { return len(c.pages) }

// Page is where a page's rows are in the row group.
func (c *Chunk) Page(i int) (first int64, rows int) { return c.pages[i].first, c.pages[i].rows }
