// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source/internal/pages"
)

// ParquetColumn is a column of a file to write.
type ParquetColumn struct {
	Name string
	Type column.Type
	// Float32 stores a Float64 in 32 bits, rounded.
	Float32 bool
	// Required columns have no nulls; the others may.
	Required bool
}

// Compression is how a file is compressed.
type Compression uint8

// The compressions.
const (
	Snappy Compression = iota
	Zstandard
	Uncompressed
)

var writeCodecs = [...]pages.Codec{Snappy: pages.Snappy, Zstandard: pages.Zstd, Uncompressed: pages.Plain}

// WriterOptions say how a Parquet file is written. The zero value is sensible.
type WriterOptions struct {
	// Workers encode row groups beside one another: 0 is GOMAXPROCS, at most WorkersMax.
	// The bytes of the file do not depend on it.
	Workers int
	// RowGroupRows bounds a row group: 0 is 131072, less where the columns are many, so
	// that a row group has 64 MiB at most; 1 to 1<<20. Each worker holds one, and one is
	// being filled.
	RowGroupRows int
	Compression  Compression
	// Notes are stored as key-value metadata, in this order.
	Notes []Note
}

// Note is a key and its value in a file's metadata.
type Note struct{ Key, Value string }

const (
	rowGroupRows    = 1 << 17
	rowGroupRowsMax = 1 << 20
	rowGroupBytes   = 64 << 20
	columnsMax      = 1 << 15
	rowGroupsMax    = 1<<15 - 1 // their number has 16 bits
)

// ErrWriter means that a writer was asked for what it cannot do.
var ErrWriter = errors.New("parquet writer")

// EnsureDefaults replaces zero values by what they stand for, for so many columns.
func (o *WriterOptions) EnsureDefaults(columns int) {
	if o.Workers == 0 {
		o.Workers = min(runtime.GOMAXPROCS(0), WorkersMax)
	}
	if o.RowGroupRows == 0 {
		o.RowGroupRows = max(min(rowGroupRows, rowGroupBytes/(8*max(columns, 1))), 1024)
	}
}

// Validate reports everything that is wrong, after EnsureDefaults.
func (o *WriterOptions) Validate() error {
	var wrong []error
	if o.Workers < 1 || o.Workers > WorkersMax {
		wrong = append(wrong, fmt.Errorf("%w: %d workers: 1 to %d", ErrWriter, o.Workers, WorkersMax))
	}
	if o.RowGroupRows < 1 || o.RowGroupRows > rowGroupRowsMax {
		wrong = append(wrong, fmt.Errorf("%w: row groups of %d rows: 1 to %d", ErrWriter, o.RowGroupRows, rowGroupRowsMax))
	}
	if int(o.Compression) >= len(writeCodecs) {
		wrong = append(wrong, fmt.Errorf("%w: no compression %d", ErrWriter, o.Compression))
	}
	return errors.Join(wrong...)
}

// ParquetWriter writes batches to a Parquet file. Equal batches make equal bytes,
// however they are cut and however many workers encode them. It is used by one
// goroutine; what it starts ends with Close or Abort, one of which must be called.
type ParquetWriter struct {
	path    string
	file    *os.File
	columns []pages.Column
	types   []column.Type
	o       WriterOptions
	group   *group
	spare   chan *group
	jobs    chan *group // to encode
	order   chan *group // to write
	all     sync.WaitGroup
	footer  *pages.Footer
	rows    int64
	ended   bool

	failed struct {
		sync.Mutex
		err error
	}
}

// group is a row group on its way.
type group struct {
	columns []pages.Values
	rows    int
	bytes   int // of texts
	done    chan struct{}
	out     [][]byte // memory of each column's pages
	chunks  []pages.Encoded
	err     error
}

// partialSuffix ends the name of a file that is not whole yet.
const partialSuffix = ".new"

// NewParquetWriter begins a file. It has another name, with .new behind it, until Close
// has made it whole and durable; then it replaces the file of that path.
func NewParquetWriter(path string, columns []ParquetColumn, o WriterOptions) (*ParquetWriter, error) {
	o.EnsureDefaults(len(columns))
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	w := &ParquetWriter{path: path, o: o}
	if err := w.setColumns(columns); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	encoders := make([]*pages.Encoder, o.Workers)
	for i := range encoders {
		var err error
		if encoders[i], err = pages.NewEncoder(writeCodecs[o.Compression]); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	file, err := os.Create(path + partialSuffix)
	if err != nil {
		return nil, err
	}
	if _, err := file.WriteString(pages.Magic); err != nil {
		return nil, errors.Join(err, file.Close(), os.Remove(file.Name()))
	}
	w.file, w.footer = file, pages.NewFooter(w.columns)
	w.start(encoders)
	return w, nil
}

func (w *ParquetWriter) setColumns(columns []ParquetColumn) error {
	if len(columns) == 0 || len(columns) > columnsMax {
		return fmt.Errorf("%w: %d columns: 1 to %d", ErrWriter, len(columns), columnsMax)
	}
	seen := map[string]bool{}
	for _, c := range columns {
		if c.Name == "" || seen[c.Name] || !utf8.ValidString(c.Name) {
			return fmt.Errorf("%w: column %q: it is there twice, or has no name", ErrWriter, c.Name)
		}
		seen[c.Name] = true
		k := map[column.Type]pages.Kind{column.Bool: pages.Bools, column.Int64: pages.Ints, column.Float64: pages.Floats,
			column.String: pages.Texts, column.Timestamp: pages.Times}[c.Type]
		if k == pages.Unknown || c.Float32 && c.Type != column.Float64 {
			return fmt.Errorf("%w: column %q: a column of type %s, float32 %t", ErrWriter, c.Name, c.Type, c.Float32)
		}
		w.columns = append(w.columns, pages.Column{Name: c.Name, Kind: k, Single: c.Float32, Required: c.Required})
		w.types = append(w.types, c.Type)
	}
	return nil
}

// start starts who encodes and who writes. Row groups go round: there are no more than
// the workers and two.
func (w *ParquetWriter) start(encoders []*pages.Encoder) {
	n := len(encoders) + 2
	w.spare, w.jobs, w.order = make(chan *group, n), make(chan *group, n), make(chan *group, n)
	for range n {
		w.spare <- &group{columns: make([]pages.Values, len(w.columns)), out: make([][]byte, len(w.columns))}
	}
	w.group = <-w.spare
	for _, e := range encoders {
		w.all.Go(func() {
			for g := range w.jobs {
				g.encode(w.columns, e)
				close(g.done)
			}
		})
	}
	w.all.Go(func() {
		offset := int64(len(pages.Magic))
		for g := range w.order {
			<-g.done
			offset = w.put(g, offset)
			g.reset()
			w.spare <- g
		}
	})
}

func (g *group) reset() {
	for i := range g.columns {
		v := &g.columns[i]
		clear(v.Texts)
		v.Ints, v.Numbers, v.Texts, v.Nulls, v.Rows = v.Ints[:0], v.Numbers[:0], v.Texts[:0], v.Nulls[:0], 0
	}
	g.rows, g.bytes, g.err, g.chunks = 0, 0, nil, g.chunks[:0]
}

// encode makes the bytes of all columns.
func (g *group) encode(columns []pages.Column, e *pages.Encoder) {
	for i := range columns {
		v := &g.columns[i]
		v.Rows = g.rows
		chunk, err := e.Encode(g.out[i][:0], &columns[i], v)
		if err != nil {
			g.err = err
			return
		}
		g.out[i] = chunk.Bytes
		g.chunks = append(g.chunks, chunk)
	}
}

// put writes a row group, unless something failed before.
func (w *ParquetWriter) put(g *group, offset int64) int64 {
	if err := w.failure(); err != nil {
		return offset
	}
	if g.err != nil {
		w.fail(g.err)
		return offset
	}
	if w.footer.Groups() == rowGroupsMax {
		w.fail(fmt.Errorf("%w: more than %d row groups; use larger ones", ErrWriter, rowGroupsMax))
		return offset
	}
	w.footer.Add(offset, int64(g.rows), g.chunks)
	for _, c := range g.chunks {
		if _, err := w.file.Write(c.Bytes); err != nil {
			w.fail(err)
			return offset
		}
		offset += int64(len(c.Bytes))
	}
	return offset
}

func (w *ParquetWriter) fail(err error) {
	w.failed.Lock()
	defer w.failed.Unlock()
	if w.failed.err == nil {
		w.failed.err = err
	}
}

func (w *ParquetWriter) failure() error {
	w.failed.Lock()
	defer w.failed.Unlock()
	return w.failed.err
}

// Write appends the rows of a batch, whose columns are those of the file in their order,
// by type; their names do not matter. The batch stays with the caller.
func (w *ParquetWriter) Write(b *column.Batch) error {
	if w.ended {
		return fmt.Errorf("%s: %w: it is closed", w.path, ErrWriter)
	}
	if err := w.failure(); err != nil {
		return fmt.Errorf("%s: %w", w.path, err)
	}
	if len(b.Columns) != len(w.columns) {
		return fmt.Errorf("%s: %w: a batch of %d columns for %d", w.path, ErrWriter, len(b.Columns), len(w.columns))
	}
	for i := range b.Columns {
		c := &b.Columns[i]
		if c.Type != w.types[i] || c.Len() != b.Rows || len(c.Nulls) > 0 && len(c.Nulls) != b.Rows {
			return fmt.Errorf("%s: %w: column %q: %d values of type %s for %d rows of %s", w.path, ErrWriter, w.columns[i].Name, c.Len(), c.Type, b.Rows, w.types[i])
		}
	}
	for from := 0; from < b.Rows; {
		n := w.group.take(b, from, w.o.RowGroupRows)
		from += n
		w.rows += int64(n)
		if w.group.rows == w.o.RowGroupRows || w.group.bytes >= rowGroupBytes {
			w.send()
		}
	}
	return nil
}

// send hands the row group over and waits for room for another.
func (w *ParquetWriter) send() {
	w.group.done = make(chan struct{})
	w.jobs <- w.group
	w.order <- w.group
	w.group = <-w.spare
}

// take copies rows until the group is full and says how many. Where it ends depends on
// the rows alone.
func (g *group) take(b *column.Batch, from, most int) int {
	to := min(b.Rows, from+most-g.rows)
	for i := range b.Columns {
		if b.Columns[i].Type == column.String && g.bytes < rowGroupBytes {
			to = g.room(b, from, to)
			break
		}
	}
	for i := range b.Columns {
		c, v := &b.Columns[i], &g.columns[i]
		switch c.Type {
		case column.Bool, column.Float64:
			v.Numbers = append(v.Numbers, c.Numbers[from:to]...)
			continue
		case column.String:
			v.Texts = append(v.Texts, c.Texts[from:to]...)
		default:
			v.Ints = append(v.Ints, c.Ints[from:to]...)
		}
		v.TakeNulls(c.Nulls, g.rows, from, to)
	}
	g.rows += to - from
	return to - from
}

// room counts the bytes of texts and says where they are enough.
func (g *group) room(b *column.Batch, from, to int) int {
	for row := from; row < to; row++ {
		for i := range b.Columns {
			if b.Columns[i].Type == column.String {
				g.bytes += len(b.Columns[i].Texts[row])
			}
		}
		if g.bytes >= rowGroupBytes {
			return row + 1
		}
	}
	return to
}

// Rows is how many rows were written.
func (w *ParquetWriter) Rows() int64 { return w.rows }

// finish ends the goroutines.
func (w *ParquetWriter) finish() {
	w.ended = true
	close(w.jobs)
	close(w.order)
	w.all.Wait()
}

// Close makes the file whole, durable and visible. After an error there is no file of
// this writer; one that was there before is as it was.
func (w *ParquetWriter) Close() error {
	if w.ended {
		return nil
	}
	if w.group.rows > 0 {
		w.send()
	}
	w.finish()
	err := w.failure()
	if err == nil {
		err = w.end()
	}
	if err == nil {
		err = w.file.Sync()
	}
	err = errors.Join(err, w.file.Close())
	if err == nil {
		err = os.Rename(w.file.Name(), w.path)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", w.path, errors.Join(err, os.Remove(w.file.Name())))
	}
	if err := syncFolder(filepath.Dir(w.path)); err != nil {
		return fmt.Errorf("%s: it is written, and may be gone after a crash: %w", w.path, err)
	}
	return nil
}

func (w *ParquetWriter) end() error {
	var notes []pages.KeyValue
	for _, n := range w.o.Notes {
		notes = append(notes, pages.KeyValue(n))
	}
	b, err := w.footer.Bytes(notes)
	if err != nil {
		return err
	}
	_, err = w.file.Write(b)
	return err
}

// Abort gives the file up. After Close it does nothing.
func (w *ParquetWriter) Abort() error {
	if w.ended {
		return nil
	}
	w.fail(errors.New("it was given up"))
	w.finish()
	return errors.Join(w.file.Close(), os.Remove(w.file.Name()))
}

func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

var _ io.Closer = (*ParquetWriter)(nil)
