// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

// OpenFile reads files that no source is defined for, such as labels: path is a file or
// a pattern. The batches have a column for each of the fields; without fields they are
// those that Infer finds.
func OpenFile(ctx context.Context, format definition.Format, path string, fields []definition.Field, o Options) (*Reader, error) {
	if format == definition.PostgreSQL {
		return nil, fmt.Errorf("%s: %w: a query is no file", path, ErrInput)
	}
	if fields == nil {
		var err error
		if fields, err = Infer(ctx, format, path); err != nil {
			return nil, err
		}
	}
	s := &definition.Source{
		Name: path, Fields: fields, ID: -1, Timestamp: -1, Arrival: -1,
		Inputs: []definition.Input{{Format: format, Path: path, Columns: o.Columns}},
	}
	return Open(ctx, s, o)
}

// plainField is a field without rules.
func plainField(name string) definition.Field {
	return definition.Field{Name: name, Min: math.NaN(), Max: math.NaN()}
}
