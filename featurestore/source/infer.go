// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/parquet-go/jsonlite"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source/internal/pages"
)

// inferRows is how many rows of a text file Infer looks at, if they are in its first
// block.
const inferRows = 1000

// Infer finds the fields of a file, or of the first one that a pattern names. Parquet
// says them; columns within others are left out. For CSV and JSON lines they are what
// the first 1000 rows, or MiB, suit: bool (true and false alone), int64, float64, timestamp,
// otherwise string. A column without values there is a string. Numbers are no times.
func Infer(ctx context.Context, format definition.Format, path string) ([]definition.Field, error) {
	found, err := partsOf(&definition.Input{Format: format, Path: path})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var fields []definition.Field
	switch p := &found[0]; format {
	case definition.Parquet:
		fields, err = inferParquet(p)
	case definition.CSV:
		fields, err = inferText(p, true, inferCSV)
	case definition.JSONLines:
		fields, err = inferText(p, false, inferJSON)
	default:
		err = fmt.Errorf("%w: columns of a query are not inferred", ErrInput)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", found[0].name, err)
	}
	return fields, nil
}

var parquetTypes = map[pages.Kind]column.Type{
	pages.Bools: column.Bool, pages.Ints: column.Int64, pages.Uints: column.Int64,
	pages.Floats: column.Float64, pages.Times: column.Timestamp, pages.Texts: column.String,
}

func inferParquet(p *part) ([]definition.Field, error) {
	file, err := os.Open(p.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInput, err)
	}
	f, err := pages.Open(file, p.size)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	var fields []definition.Field
	for _, leaf := range f.Leaves() {
		if leaf.Refused == "" {
			field := plainField(leaf.Name)
			field.Type = parquetTypes[leaf.Kind]
			fields = append(fields, field)
		}
	}
	return fields, file.Close()
}

func inferText(p *part, quotes bool, infer func(s *splitter) ([]definition.Field, error)) ([]definition.Field, error) {
	in, err := openStream(p.path)
	if err != nil {
		return nil, err
	}
	fields, err := infer(newSplitter(in, inferRows, quotes))
	return fields, errors.Join(err, in.Close())
}

// guess is what a column may still be.
type guess struct {
	name   string
	seen   bool
	no     [column.Timestamp + 1]bool
	nested bool
}

// value narrows the guess by a value of CSV.
func (g *guess) value(text string) {
	if text == "" {
		return
	}
	g.seen = true
	if !strings.EqualFold(text, "true") && !strings.EqualFold(text, "false") {
		g.no[column.Bool] = true
	}
	if _, err := parseInt(text); err != nil {
		g.no[column.Int64] = true
	}
	if _, err := parseFloat(text); err != nil {
		g.no[column.Float64] = true
	}
	if _, err := parseTime(text); err != nil {
		g.no[column.Timestamp] = true
	}
}

// json narrows the guess by a value of JSON, which has a type already.
func (g *guess) json(v *jsonlite.Value) {
	switch v.Kind() {
	case jsonlite.True, jsonlite.False:
		g.value("true")
	case jsonlite.Number:
		g.value(v.String())
	case jsonlite.String:
		g.seen = true
		g.no[column.Bool], g.no[column.Int64], g.no[column.Float64] = true, true, true
		if _, err := parseTime(v.String()); err != nil {
			g.no[column.Timestamp] = true
		}
	case jsonlite.Object, jsonlite.Array:
		g.nested = true
	}
}

func (g *guess) field() definition.Field {
	f := plainField(g.name)
	f.Type = column.String
	if !g.seen {
		return f
	}
	for _, t := range []column.Type{column.Bool, column.Int64, column.Float64, column.Timestamp} {
		if !g.no[t] {
			f.Type = t
			break
		}
	}
	return f
}

func inferCSV(s *splitter) ([]definition.Field, error) {
	header, err := readHeader(s)
	if err != nil {
		return nil, err
	}
	guesses := make([]guess, len(header))
	for i, name := range header {
		guesses[i].name = name
		if slices.Contains(header[:i], name) {
			return nil, fmt.Errorf("%w: the header has column %q twice", ErrInput, name)
		}
	}
	t, err := s.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	r := csv.NewReader(bytes.NewReader(t.bytes))
	r.FieldsPerRecord = len(header)
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			continue // reading will report the row
		}
		for i, text := range record {
			guesses[i].value(text)
		}
	}
	return fieldsOf(guesses), nil
}

// fieldsOf leaves out what has values within it.
func fieldsOf(guesses []guess) []definition.Field {
	var fields []definition.Field
	for i := range guesses {
		if !guesses[i].nested {
			fields = append(fields, guesses[i].field())
		}
	}
	return fields
}

func inferJSON(s *splitter) ([]definition.Field, error) {
	t, err := s.next()
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var guesses []guess
	places := map[string]int{}
	for rest := string(bytes.TrimPrefix(t.bytes, byteOrderMark)); rest != ""; {
		var line string
		line, rest = cutLine(rest)
		if blank(line) || tooDeep(line) {
			continue
		}
		v, err := jsonlite.Parse(line)
		if err != nil || v.Kind() != jsonlite.Object {
			continue // reading will report the row
		}
		for key, value := range v.Object {
			i, ok := places[key]
			if !ok {
				i = len(guesses)
				places[key] = i
				guesses = append(guesses, guess{name: key})
			}
			guesses[i].json(value)
		}
	}
	if len(guesses) == 0 {
		return nil, fmt.Errorf("%w: no line of the first %d is an object", ErrInput, inferRows)
	}
	return fieldsOf(guesses), nil
}
