// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// csvFile is an open CSV file.
type csvFile struct {
	part    *part
	stream  *stream
	split   *splitter
	header  []string
	bound   []binding
	missing []bool
}

var byteOrderMark = []byte("\xef\xbb\xbf")

func openCSV(sh *shape, p *part, rows int) (*csvFile, error) {
	f := &csvFile{part: p}
	var err error
	if f.stream, err = openStream(p.path); err != nil {
		return nil, err
	}
	f.split = newSplitter(f.stream, rows, true)
	if f.header, err = readHeader(f.split); err == nil {
		f.bound, f.missing, err = sh.bind(p, f.find)
	}
	if err != nil {
		return nil, errors.Join(err, f.stream.Close())
	}
	return f, nil
}

// readHeader reads the names of the columns.
func readHeader(s *splitter) ([]string, error) {
	first, err := s.take(1)
	if err == io.EOF {
		return nil, fmt.Errorf("%w: it is empty; the first line names the columns", ErrInput)
	}
	if err != nil {
		return nil, err
	}
	header, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(first.bytes, byteOrderMark))).Read()
	if err != nil {
		return nil, fmt.Errorf("%w: the header: %w", ErrInput, err)
	}
	return header, nil
}

func (f *csvFile) find(name string) (int, string) {
	place := slices.Index(f.header, name)
	if place < 0 {
		return -1, listed(f.header)
	}
	if slices.Contains(f.header[place+1:], name) {
		return -1, ": the header has it twice"
	}
	return place, ""
}

func (f *csvFile) next() (piece, error) {
	t, err := f.split.next()
	if err != nil {
		return nil, err
	}
	return &csvPiece{file: f, text: t}, nil
}

func (f *csvFile) progress() float64 {
	return float64(f.stream.read.Load()) / float64(max(f.part.size, 1))
}
func (f *csvFile) absent() []bool { return f.missing }
func (f *csvFile) close() error   { return f.stream.Close() }

type csvPiece struct {
	file *csvFile
	text text
}

func (p *csvPiece) fill(b *column.Batch, w *worker) error {
	f, bad := p.file, &w.rejects
	bad.reset(f.part.name, true, p.text.line)
	r := csv.NewReader(bytes.NewReader(p.text.bytes))
	r.ReuseRecord, r.FieldsPerRecord = true, len(f.header)
	for {
		record, err := r.Read()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			var malformed *csv.ParseError
			if !errors.As(err, &malformed) {
				return err
			}
			bad.line(p.text.line+int64(malformed.StartLine)-1, f.malformed(malformed, len(record)))
			continue
		}
		line, _ := r.FieldPos(0)
		bad.lines = append(bad.lines, p.text.line+int64(line)-1)
		f.row(b, record, bad)
	}
}

func (f *csvFile) malformed(err *csv.ParseError, values int) string {
	if errors.Is(err, csv.ErrFieldCount) {
		return fmt.Sprintf("%d values under %d columns", values, len(f.header))
	}
	return err.Err.Error() + ", in column " + strconv.Itoa(err.Column)
}

// row appends the values of a record.
func (f *csvFile) row(b *column.Batch, record []string, bad *rejects) {
	for _, bound := range f.bound {
		c := &b.Columns[bound.field]
		if err := appendText(c, record[bound.column], bound.unit); err != nil {
			bad.row(b.Rows, c.Name, fmt.Sprintf("%q %v", clip(record[bound.column]), err))
		}
	}
	b.Rows++
}
