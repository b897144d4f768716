// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// formats are the formats of files, by name and by the end of a file's name.
var formats = map[string]definition.Format{
	"csv": definition.CSV, "parquet": definition.Parquet, "jsonl": definition.JSONLines, "ndjson": definition.JSONLines,
}

// fileFormat is the format that is named, or that the name of the file says.
func fileFormat(name, path string) (definition.Format, error) {
	if name != "" {
		if f, known := formats[name]; known {
			return f, nil
		}
		return 0, fmt.Errorf("is %q, it takes csv, jsonl or parquet", name)
	}
	path = strings.TrimSuffix(strings.TrimSuffix(strings.ToLower(path), ".gz"), ".zst")
	if f, known := formats[path[strings.LastIndexByte(path, '.')+1:]]; known {
		return f, nil
	}
	return 0, fmt.Errorf("%s: the name does not say what is in the file: give the format csv, jsonl or parquet", path)
}

// table is a file that is being read: which of its columns are wanted, and why.
type table struct {
	path, format string
	fields       []definition.Field
	wanted       map[int]bool
	wrong        []error
	kind         definition.Format
}

// openTable finds the columns of a file.
func openTable(ctx context.Context, path, format string) (*table, error) {
	kind, err := fileFormat(format, path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	fields, err := source.Infer(ctx, kind, path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	return &table{path: path, format: format, kind: kind, fields: fields, wanted: map[int]bool{}}, nil
}

func (t *table) has(name string) bool {
	return slices.ContainsFunc(t.fields, func(f definition.Field) bool { return f.Name == name })
}

// want asks for a column; what says what it is for. An empty name is none.
func (t *table) want(what string, names ...string) {
	for _, name := range names {
		if name == "" {
			continue
		}
		i := slices.IndexFunc(t.fields, func(f definition.Field) bool { return f.Name == name })
		if i < 0 {
			t.wrong = append(t.wrong, fmt.Errorf("%w: %s: there is no column %q for the %s%s", ErrData, t.path, name, what, t.suggest(name)))
			continue
		}
		t.wanted[i] = true
	}
}

func (t *table) suggest(name string) string {
	var known []string
	for _, f := range t.fields {
		known = append(known, f.Name)
	}
	if c := expression.Closest(name, known); c != "" {
		return fmt.Sprintf("; did you mean %s?", c)
	}
	const most = 30
	if len(known) > most {
		known = append(known[:most:most], "...")
	}
	return "; it has " + strings.Join(known, ", ")
}

// wantExpression asks for the columns that an expression reads, and compiles it.
func (t *table) wantExpression(what, text string) *expression.Program {
	env := make([]expression.Field, len(t.fields))
	for i, f := range t.fields {
		env[i] = expression.Field{Name: f.Name, Type: f.Type}
	}
	p, err := expression.Compile(text, env)
	if err != nil {
		t.wrong = append(t.wrong, fmt.Errorf("%w: %s %q: %w", ErrSpec, what, text, err))
		return nil
	}
	for _, i := range p.Fields() {
		t.wanted[i] = true
	}
	return p
}

// read reads the wanted columns. keep chooses rows of a batch, by setting them false; nil
// keeps all. The columns are in the order of the file, those not wanted are empty.
func (t *table) read(ctx context.Context, rowsMax, workers int, keep func(b *column.Batch, kept []bool), progress func(int64)) (*column.Batch, []int32, error) {
	var places []int
	for i := range t.wanted {
		places = append(places, i)
	}
	slices.Sort(places)
	r, err := source.OpenFile(ctx, t.kind, t.path, t.fields, source.Options{Fields: places, Parallel: workers})
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", ErrData, err)
	}
	all := &column.Batch{Columns: make([]column.Column, len(t.fields))}
	for i, f := range t.fields {
		all.Columns[i].Name, all.Columns[i].Type = f.Name, f.Type
	}
	g := &gatherer{places: places, all: all, texts: make([]interner, len(t.fields))}
	var b column.Batch
	for {
		more, err := r.Next(&b)
		if err != nil {
			return nil, nil, errors.Join(ctx.Err(), fmt.Errorf("%w: %w", ErrData, err))
		}
		if !more {
			return all, g.numbers, nil
		}
		if g.read+b.Rows > rowsMax {
			return nil, nil, fmt.Errorf("%w: %s has more than %d rows", ErrData, t.path, rowsMax)
		}
		g.add(&b, keep)
		progress(int64(g.read))
	}
}

// gatherer collects the rows of batches.
type gatherer struct {
	places  []int // of the columns that are read
	all     *column.Batch
	texts   []interner
	numbers []int32 // of the rows in the file
	kept    []bool
	read    int
}

func (g *gatherer) add(b *column.Batch, keep func(b *column.Batch, kept []bool)) {
	g.kept = slices.Grow(g.kept[:0], b.Rows)[:b.Rows]
	for i := range g.kept {
		g.kept[i] = true
	}
	if keep != nil {
		keep(b, g.kept)
	}
	for _, c := range g.places {
		appendRows(&g.all.Columns[c], &b.Columns[c], g.kept, &g.texts[c])
	}
	for i, k := range g.kept {
		if k {
			g.numbers = append(g.numbers, int32(g.read+i))
		}
	}
	g.all.Rows = len(g.numbers)
	g.read += b.Rows
}

// appendRows appends the rows that are kept.
func appendRows(to, from *column.Column, kept []bool, texts *interner) {
	for i, k := range kept {
		switch {
		case !k:
		case from.Null(i):
			to.AppendNull()
		case from.Type == column.String:
			to.AppendText(texts.of(from.Texts[i]))
		case from.Type == column.Bool || from.Type == column.Float64:
			to.AppendNumber(from.Numbers[i])
		default:
			to.AppendInt(from.Ints[i])
		}
	}
}

// internMax bounds the texts that are looked for among those seen.
const internMax = 1 << 16

// interner keeps one copy of texts that come often, apart from the page they were read in.
type interner struct{ seen map[string]string }

func (n *interner) of(text string) string {
	if kept, ok := n.seen[text]; ok {
		return kept
	}
	text = strings.Clone(text)
	if n.seen == nil {
		n.seen = map[string]string{}
	}
	if len(n.seen) < internMax {
		n.seen[text] = text
	}
	return text
}

// rowReader runs expressions over the rows of a batch. It belongs to one goroutine.
type rowReader struct {
	batch *column.Batch
	row   expression.Row
}

func newRowReader(b *column.Batch) *rowReader {
	n := len(b.Columns)
	return &rowReader{batch: b, row: expression.Row{Numbers: make([]float64, n), Texts: make([]string, n), NullTexts: make([]bool, n)}}
}

// at is row i, for the fields that a program reads.
func (r *rowReader) at(i int, fields []int) *expression.Row {
	for _, f := range fields {
		c := &r.batch.Columns[f]
		if c.Type == column.String {
			r.row.Texts[f], r.row.NullTexts[f] = c.Texts[i], c.Null(i)
			continue
		}
		r.row.Numbers[f] = c.Number(i)
	}
	return &r.row
}

// textOf is a value as people write it; a null is "null".
func textOf(c *column.Column, i int) string {
	if c.Null(i) {
		return "null"
	}
	switch c.Type {
	case column.String:
		return c.Texts[i]
	case column.Bool:
		if c.Numbers[i] != 0 {
			return "true"
		}
		return "false"
	case column.Float64:
		return strconv.FormatFloat(c.Numbers[i], 'f', -1, 64)
	case column.Timestamp:
		return moment(c.Ints[i]).Format("2006-01-02T15:04:05.999999Z")
	}
	return strconv.FormatInt(c.Ints[i], 10)
}

// numbering numbers the distinct values of a column from 0, in the order of the rows. A
// null is a value.
func numbering(c *column.Column, rows int) (ids []int32, count int) {
	ids = make([]int32, rows)
	switch c.Type {
	case column.String:
		type key struct {
			v    string
			null bool
		}
		return numberEach(ids, func(i int) key { return key{c.Texts[i], c.Null(i)} })
	case column.Int64, column.Timestamp:
		type key struct {
			v    int64
			null bool
		}
		return numberEach(ids, func(i int) key { return key{c.Ints[i], c.Null(i)} })
	}
	type key struct {
		v    float64
		null bool
	}
	return numberEach(ids, func(i int) key {
		if c.Null(i) {
			return key{0, true}
		}
		return key{c.Numbers[i], false}
	})
}

func numberEach[K comparable](ids []int32, of func(i int) K) ([]int32, int) {
	seen := map[K]int32{}
	for i := range ids {
		k := of(i)
		id, ok := seen[k]
		if !ok {
			id = int32(len(seen))
			seen[k] = id
		}
		ids[i] = id
	}
	return ids, len(seen)
}

// hashOf is the hash of the file, empty for a pattern of several.
func hashOf(ctx context.Context, path string) string {
	sum, _, err := source.HashFile(ctx, path)
	if err != nil {
		return ""
	}
	return hex.EncodeToString(sum[:])
}
