// SPDX-License-Identifier: Apache-2.0

package profile

import (
	"context"
	"fmt"
	"strconv"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// File makes a reference of a Parquet file, such as a training set: each column of the
// schema is one of the file's. Rows are known by their number. Time is the name of the
// column with the moment of a row, empty if there is none. Visit, if given, is handed each
// batch, so that labels can be taken from the same pass; it must not keep it. Errors wrap ErrInput or those of package source.
func File(ctx context.Context, path string, schema []Column, time string, o Options, visit func(b *column.Batch)) (*Profile, error) {
	p, err := New(schema, o, nil)
	if err != nil {
		return nil, err
	}
	r, err := source.OpenFile(ctx, definition.Parquet, path, nil, source.Options{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	var b column.Batch
	row, number := Row{Numbers: make([]float64, len(p.Numbers)), Texts: make([]string, len(p.Texts))}, 0
	for {
		ok, err := r.Next(&b)
		if err != nil {
			return nil, err
		}
		if !ok {
			return p, nil
		}
		byName := map[string]*column.Column{}
		for i := range b.Columns {
			byName[b.Columns[i].Name] = &b.Columns[i]
		}
		if err := p.check(byName, time); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for i := range b.Rows {
			number++
			row.Key = Hash(strconv.Itoa(number))
			p.take(&row, byName, time, i)
			if err := p.Add(&row); err != nil {
				return nil, err
			}
		}
		if visit != nil {
			visit(&b)
		}
	}
}

func (p *Profile) check(columns map[string]*column.Column, time string) error {
	for _, c := range p.Schema {
		found := columns[c.Name]
		if found == nil {
			return fmt.Errorf("%w: there is no column %q", ErrInput, c.Name)
		}
		if !c.Text && found.Type == column.String {
			return fmt.Errorf("%w: column %q has texts, the schema numbers", ErrInput, c.Name)
		}
	}
	if found := columns[time]; time != "" && (found == nil || found.Type != column.Timestamp) {
		return fmt.Errorf("%w: column %q is no timestamp", ErrInput, time)
	}
	return nil
}

func (p *Profile) take(row *Row, columns map[string]*column.Column, time string, i int) {
	numbers, texts := 0, 0
	for _, c := range p.Schema {
		from := columns[c.Name]
		if c.Text {
			row.Texts[texts] = text(from, i)
			texts++
			continue
		}
		row.Numbers[numbers] = from.Number(i)
		numbers++
	}
	if time != "" {
		row.Time = columns[time].Ints[i]
	}
}

// text is a value as a category: empty for a null.
func text(c *column.Column, i int) string {
	switch {
	case c.Null(i):
		return ""
	case c.Type == column.String:
		return c.Texts[i]
	case c.Type == column.Int64 || c.Type == column.Timestamp:
		return strconv.FormatInt(c.Ints[i], 10)
	}
	return strconv.FormatFloat(c.Numbers[i], 'g', -1, 64)
}
