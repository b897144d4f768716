// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// File is an open Parquet file.
type File struct {
	reader io.ReaderAt
	size   int64
	meta   format.FileMetaData
	leaves []Leaf
	nested map[string]string
}

const (
	magic          = "PAR1"
	magicEncrypted = "PARE"
	trailerBytes   = 8 // size of the metadata, magic
)

// Open reads the metadata of a file. The reader stays with the caller and must serve
// concurrent calls.
func Open(r io.ReaderAt, size int64) (*File, error) {
	var trailer [trailerBytes]byte
	if size < 2*int64(len(magic))+4 {
		return nil, fmt.Errorf("%w: %d bytes are too few for a Parquet file", ErrCorrupt, size)
	}
	if err := readFull(r, trailer[:], size-trailerBytes); err != nil {
		return nil, err
	}
	switch string(trailer[4:]) {
	case magic:
	case magicEncrypted:
		return nil, fmt.Errorf("%w: it is encrypted", ErrUnsupported)
	default:
		return nil, fmt.Errorf("%w: it does not end as Parquet files do", ErrCorrupt)
	}
	length := int64(binary.LittleEndian.Uint32(trailer[:]))
	if length > size-trailerBytes-int64(len(magic)) || length > footerBytesMax {
		return nil, fmt.Errorf("%w: its metadata claims %d bytes", ErrCorrupt, length)
	}
	footer := make([]byte, length)
	if err := readFull(r, footer, size-trailerBytes-length); err != nil {
		return nil, err
	}
	f := &File{reader: r, size: size, nested: map[string]string{}}
	if _, err := decodeThrift(footer, &f.meta); err != nil {
		return nil, fmt.Errorf("%w: metadata: %w", ErrCorrupt, err)
	}
	if err := f.readSchema(); err != nil {
		return nil, err
	}
	return f, f.checkGroups()
}

func readFull(r io.ReaderAt, b []byte, offset int64) error {
	n, err := r.ReadAt(b, offset)
	if n == len(b) {
		return nil
	}
	if err == nil || err == io.EOF {
		return fmt.Errorf("%w: it ends at byte %d of %d", ErrCorrupt, offset+int64(n), offset+int64(len(b)))
	}
	return err
}

// boundedReader refuses lists that are longer than what is left of the input: the
// decoder would make room for them first.
type boundedReader struct {
	thrift.BytesReader
	bytes int
}

func (r *boundedReader) check(n int32) error {
	if left := r.bytes - r.BytesRead(); int(n) > left {
		return fmt.Errorf("a list of %d in %d bytes", n, left)
	}
	return nil
}

func (r *boundedReader) ReadList() (thrift.List, error) {
	l, err := r.BytesReader.ReadList()
	if err == nil {
		err = r.check(l.Size)
	}
	return l, err
}

func (r *boundedReader) ReadSet() (thrift.Set, error) {
	l, err := r.ReadList()
	return thrift.Set(l), err
}

func (r *boundedReader) ReadMap() (thrift.Map, error) {
	m, err := r.BytesReader.ReadMap()
	if err == nil {
		err = r.check(m.Size)
	}
	return m, err
}

// decodeThrift reads one structure and says how many bytes it took. The structure may
// refer to b.
func decodeThrift(b []byte, into any) (n int, err error) {
	defer func() {
		if p := recover(); p != nil { // the library may panic over malformed input
			err = fmt.Errorf("%v", p)
		}
	}()
	var protocol thrift.CompactProtocol
	r := &boundedReader{protocol.NewReaderFromBytes(b), len(b)}
	if err := thrift.NewDecoder(r).Decode(into); err != nil {
		return 0, err
	}
	return r.BytesRead(), nil
}

func (f *File) checkGroups() error {
	for i := range f.meta.RowGroups {
		g := &f.meta.RowGroups[i]
		if g.NumRows < 0 {
			return fmt.Errorf("%w: row group %d claims %d rows", ErrCorrupt, i, g.NumRows)
		}
		if n := f.columns(); len(g.Columns) != n {
			return fmt.Errorf("%w: row group %d has %d columns, the schema %d", ErrCorrupt, i, len(g.Columns), n)
		}
	}
	return nil
}

// columns is the number of leaves of the schema, nested ones included.
func (f *File) columns() int {
	n := 0
	for i := range f.meta.Schema {
		if f.meta.Schema[i].Type.Valid {
			n++
		}
	}
	return n
}

// Leaves are the flat columns, in the file's order.
func (f *File) Leaves() []Leaf { return f.leaves }

// Leaf finds a flat column by name. If there is none, why says what is there instead.
func (f *File) Leaf(name string) (leaf *Leaf, why string) {
	for i := range f.leaves {
		if f.leaves[i].Name == name {
			return &f.leaves[i], ""
		}
	}
	return nil, f.nested[name]
}

// Groups is the number of row groups, and GroupRows the rows of one.
func (f *File) Groups() int { return len(f.meta.RowGroups) }

// GroupRows is the number of rows of a row group.
func (f *File) GroupRows(group int) int64 { return f.meta.RowGroups[group].NumRows }

// Rows is the number of rows of the file.
func (f *File) Rows() int64 {
	var rows int64
	for i := range f.meta.RowGroups {
		rows += f.meta.RowGroups[i].NumRows
	}
	return rows
}
