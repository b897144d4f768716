// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// JoinFile is one side of a join.
type JoinFile struct {
	Format definition.Format
	// Path is a file or a pattern.
	Path string
	// Key is the column joined by, int64 or string, and Time that of the moment. Arrival, if it
	// is not empty, is when a row became known.
	Key, Time, Arrival string
}

// JoinOptions are what Join is asked for.
type JoinOptions struct {
	// Labels are the rows of the result. Of Rows each gets the latest one of its key that had
	// happened, and arrived, by its time.
	Labels, Rows JoinFile
	// Carry are columns of the labels for the result, nil for key and time; Columns are those
	// of the rows, null where none was found, or none that is at most TTL old. 0 is any age.
	Carry, Columns []string
	TTL            time.Duration
	// Output is the Parquet file to write. The others are those of Options.
	Output    string
	Workers   int
	MemoryMax int64
	TempDir   string
}

// Join is the point-in-time join of two files that nothing is defined for, by what looks
// up features for training sets. It returns the number of rows written.
func Join(ctx context.Context, o JoinOptions) (int64, error) {
	c, err := o.catalog(ctx)
	if err != nil {
		return 0, fmt.Errorf("join: %w", err)
	}
	renamed := map[string]string{}
	if key := c.Entities[0].Key; o.Labels.Key != key {
		renamed[key] = o.Labels.Key
	}
	carry := slices.Clone(o.Carry)
	for i, name := range carry {
		if name == o.Labels.Key {
			carry[i] = c.Entities[0].Key
		}
	}
	b, err := prepare(ctx, Options{
		Catalog: c, Service: joinName, Output: o.Output, Workers: o.Workers, MemoryMax: o.MemoryMax, TempDir: o.TempDir,
		Labels: Labels{Path: o.Labels.Path, Format: o.Labels.Format, Time: o.Labels.Time, Carry: carry, Columns: renamed},
	})
	if err != nil {
		return 0, fmt.Errorf("join: %w", err)
	}
	defer b.engine.close()
	b.output.fresh = true
	err = b.make(ctx)
	return b.rows, err
}

// joinName names what is made up for a join.
const joinName = "rows"

// catalog makes up the definitions: a lookup of the rows, and a service of its fields.
func (o *JoinOptions) catalog(ctx context.Context) (*definition.Catalog, error) {
	fields, err := source.Infer(ctx, o.Rows.Format, o.Rows.Path)
	if err != nil {
		return nil, err
	}
	s := &definition.Source{Name: joinName, ID: -1, Arrival: -1, Inputs: []definition.Input{{Format: o.Rows.Format, Path: o.Rows.Path}}}
	var missing error
	add := func(name string) int {
		i := slices.IndexFunc(fields, func(f definition.Field) bool { return f.Name == name })
		if i < 0 {
			missing = fmt.Errorf("%w: no column %s in %s; there are %s", ErrOptions, name, o.Rows.Path, fieldNames(fields))
			return -1
		}
		s.Fields = append(s.Fields, fields[i])
		return len(s.Fields) - 1
	}
	key := add(o.Rows.Key)
	if s.Timestamp = add(o.Rows.Time); o.Rows.Arrival != "" {
		s.Arrival = add(o.Rows.Arrival)
	}
	lookup := &definition.Lookup{Name: joinName, Keys: []int{key}, Source: s, TTL: o.TTL}
	for _, name := range o.Columns {
		lookup.Fields = append(lookup.Fields, add(name))
	}
	if missing != nil {
		return nil, missing
	}
	if t := s.Fields[key].Type; t != column.Int64 && t != column.String {
		return nil, fmt.Errorf("%w: key %s is %s, not int64 or string", ErrOptions, o.Rows.Key, t)
	}
	e := &definition.Entity{Name: "key", Key: o.Rows.Key, Type: s.Fields[key].Type}
	lookup.Entities = []*definition.Entity{e}
	service := &definition.Service{Name: joinName, Entities: lookup.Entities, Time: -1}
	for i, f := range lookup.Fields {
		service.Features = append(service.Features, definition.Feature{Name: s.Fields[f].Name, Type: s.Fields[f].Type, Kind: definition.FromLookup, Offset: i})
	}
	return &definition.Catalog{Entities: lookup.Entities, Sources: []*definition.Source{s}, Lookups: []*definition.Lookup{lookup},
		Services: []*definition.Service{service}}, nil
}
