// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ErrVersion means that a report is of another version of the JSON form, or has none. The
// caller should make it anew with this program.
var ErrVersion = errors.New("unknown version of the report")

var errTrailing = errors.New("there is more after the report")

// bytesMax bounds what ReadJSON takes: a report of thousands of slices is a few MiB.
const bytesMax = 64 << 20

// WriteJSON writes the report as indented JSON with a last newline. Numbers that are not
// finite become null, points of curves that are not finite are left out: JSON has no word
// for them. The version written is Version, whatever r says.
func WriteJSON(w io.Writer, r *Report) error {
	data, err := json.MarshalIndent(finite(r), "", "  ")
	if err != nil {
		return fmt.Errorf("write report as JSON: %w", err)
	}
	if _, err := w.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("write report as JSON: %w", err)
	}
	return nil
}

// ReadJSON reads what WriteJSON wrote. It refuses another version (ErrVersion), unknown
// fields, more than one value, more than 64 MiB, and plots that do not fit together.
func ReadJSON(rd io.Reader) (*Report, error) {
	data, err := io.ReadAll(io.LimitReader(rd, bytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if len(data) > bytesMax {
		return nil, fmt.Errorf("read report: it has more than %d MiB", bytesMax>>20)
	}
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	switch {
	case head.Version == nil:
		return nil, fmt.Errorf("read report: version: %w: there is none, this program reads %d", ErrVersion, Version)
	case *head.Version != Version:
		return nil, fmt.Errorf("read report: version: %w: %d, this program reads %d", ErrVersion, *head.Version, Version)
	}
	r := new(Report)
	if err := unmarshalStrict(data, r); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("read report: %w", err)
	}
	return r, nil
}

// check says what of a report that was read could not have been written.
func (r *Report) check() error {
	switch r.Verdict {
	case Pass, Fail, NoGates:
	default:
		return fmt.Errorf("verdict: %q is none of pass, fail and no gates", r.Verdict)
	}
	for _, group := range r.Plots.curves() {
		for i, c := range *group.curves {
			if len(c.X) != len(c.Y) || len(c.Counts) != 0 && len(c.Counts) != len(c.X) {
				return fmt.Errorf("plots.%s[%d]: %d x, %d y and %d counts do not go together",
					group.field, i, len(c.X), len(c.Y), len(c.Counts))
			}
		}
	}
	for i, h := range r.Plots.Scores {
		if len(h.Edges) != len(h.Counts)+1 {
			return fmt.Errorf("plots.scores[%d]: %d edges for %d counts, want one more than counts",
				i, len(h.Edges), len(h.Counts))
		}
	}
	if c := r.Plots.Confusion; c != nil {
		if len(c.Counts) != len(c.Classes) {
			return fmt.Errorf("plots.confusion: %d rows for %d classes", len(c.Counts), len(c.Classes))
		}
		for i, row := range c.Counts {
			if len(row) != len(c.Classes) {
				return fmt.Errorf("plots.confusion.counts[%d]: %d columns for %d classes", i, len(row), len(c.Classes))
			}
		}
	}
	return nil
}

// namedCurves is a list of curves and what it is called in JSON.
type namedCurves struct {
	field  string
	curves *[]Curve
}

func (p *Plots) curves() []namedCurves {
	return []namedCurves{
		{"roc", &p.ROC}, {"precision_recall", &p.PrecisionRecall},
		{"reliability", &p.Reliability}, {"residuals", &p.Residuals},
	}
}
