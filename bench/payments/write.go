// SPDX-License-Identifier: Apache-2.0

package payments

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// columns of a file, in the order of the published set.
var columns = []source.ParquetColumn{
	{Name: "transaction_id", Type: column.Int64, Required: true},
	{Name: "event_timestamp", Type: column.Timestamp, Required: true},
	{Name: "customer_id", Type: column.Int64, Required: true},
	{Name: "terminal_id", Type: column.Int64, Required: true},
	{Name: "amount", Type: column.Float64, Required: true},
	{Name: "is_fraud", Type: column.Bool, Required: true},
	{Name: "fraud_scenario", Type: column.Int64, Required: true},
}

// Written says what a file has.
type Written struct {
	Payments, Frauds int64
}

// sink takes the payments of a file.
type sink interface {
	write([]Payment) error
	// finish makes the file whole, abort removes it.
	finish() error
	abort() error
}

// Write writes a world to a file, Parquet or CSV by its name's ending. It appears when
// it is whole; one that was there is replaced. Progress, unless nil, is told how many
// days are done.
func Write(ctx context.Context, path string, o Options, progress func(days int)) (w Written, err error) {
	world, err := NewWorld(o)
	if err != nil {
		return w, err
	}
	out, err := create(path)
	if err != nil {
		return w, err
	}
	for day := 1; ; day++ {
		payments := world.NextDay()
		if payments == nil {
			return w, out.finish()
		}
		for i := range payments {
			if payments[i].Fraud {
				w.Frauds++
			}
		}
		w.Payments += int64(len(payments))
		if err := errors.Join(ctx.Err(), out.write(payments)); err != nil {
			return w, errors.Join(err, out.abort())
		}
		if progress != nil {
			progress(day)
		}
	}
}

func create(path string) (sink, error) {
	switch ending := strings.ToLower(filepath.Ext(path)); ending {
	case ".parquet":
		w, err := source.NewParquetWriter(path, columns, source.WriterOptions{})
		if err != nil {
			return nil, err
		}
		return &parquetSink{writer: w}, nil
	case ".csv":
		f, err := os.Create(path + ".new")
		if err != nil {
			return nil, err
		}
		s := &csvSink{path: path, file: f, w: bufio.NewWriterSize(f, 1<<20)}
		return s, s.header()
	default:
		return nil, fmt.Errorf("%s: name it .parquet or .csv, not %q", path, ending)
	}
}

type parquetSink struct {
	writer *source.ParquetWriter
	batch  column.Batch
}

func (s *parquetSink) write(payments []Payment) error {
	b := &s.batch
	if b.Columns == nil {
		b.Columns = make([]column.Column, len(columns))
	}
	for i := range columns {
		b.Columns[i].Reset()
		b.Columns[i].Name, b.Columns[i].Type = columns[i].Name, columns[i].Type
	}
	b.Rows = len(payments)
	for i := range payments {
		p := &payments[i]
		b.Columns[0].AppendInt(p.ID)
		b.Columns[1].AppendInt(p.At.UnixMicro())
		b.Columns[2].AppendInt(p.Customer)
		b.Columns[3].AppendInt(p.Terminal)
		b.Columns[4].AppendNumber(p.Amount)
		b.Columns[5].AppendNumber(float64(min(p.Scenario, 1)))
		b.Columns[6].AppendInt(p.Scenario)
	}
	return s.writer.Write(b)
}

func (s *parquetSink) finish() error { return s.writer.Close() }
func (s *parquetSink) abort() error  { return s.writer.Abort() }

type csvSink struct {
	path string
	file *os.File
	w    *bufio.Writer
	line []byte
}

func (s *csvSink) header() error {
	names := make([]string, len(columns))
	for i := range columns {
		names[i] = columns[i].Name
	}
	_, err := s.w.WriteString(strings.Join(names, ",") + "\n")
	return err
}

func (s *csvSink) write(payments []Payment) error {
	for i := range payments {
		p := &payments[i]
		b := append(strconv.AppendInt(s.line[:0], p.ID, 10), ',')
		b = append(p.At.AppendFormat(b, "2006-01-02T15:04:05Z"), ',')
		b = append(strconv.AppendInt(b, p.Customer, 10), ',')
		b = append(strconv.AppendInt(b, p.Terminal, 10), ',')
		b = append(strconv.AppendFloat(b, p.Amount, 'f', 2, 64), ',')
		b = append(strconv.AppendBool(b, p.Fraud), ',')
		s.line = append(strconv.AppendInt(b, p.Scenario, 10), '\n')
		if _, err := s.w.Write(s.line); err != nil {
			return err
		}
	}
	return nil
}

func (s *csvSink) finish() error {
	if err := errors.Join(s.w.Flush(), s.file.Sync(), s.file.Close()); err != nil {
		return errors.Join(err, os.Remove(s.file.Name()))
	}
	return os.Rename(s.file.Name(), s.path)
}

func (s *csvSink) abort() error { return errors.Join(s.file.Close(), os.Remove(s.file.Name())) }
