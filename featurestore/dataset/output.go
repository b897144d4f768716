// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"fmt"
	"math"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// Column says what a column of a training set is.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
	// Role is carried, feature, status, label, weight, or outcome: what is known of a decision.
	Role string `json:"role"`
	// Origin says where a feature comes from.
	Origin string `json:"origin,omitempty"`
}

// The roles of columns.
const (
	roleCarried = "carried"
	roleFeature = "feature"
	roleStatus  = "status"
	roleLabel   = "label"
	roleWeight  = "weight"
)

// float32Name is the type of a number in 32 bits.
const float32Name = "float32"

// statusSuffix ends the name of a status column.
const statusSuffix = "__status"

// output turns vectors into the columns of a training set: carried columns, features in the
// service's order with their statuses, labels, weight.
type output struct {
	columns []outColumn
	names   []Column
	float32 bool
	// fresh makes null what is older than its bound. A training set keeps it, as a served
	// vector does; its status tells.
	fresh bool
}

// outColumn is where a column comes from: a column of the engine's rows, a feature's
// number, text or status.
type outColumn struct {
	t       column.Type
	row     int // place among the columns of rows, -1 for a feature
	feature int
	text    int // place among the text features, -1 for none
	status  bool
	given   bool // it has a default, so it is never null
}

// newOutput lists the columns.
func newOutput(c *definition.Catalog, s *definition.Service, o *Options, l *labels) (*output, error) {
	out := &output{float32: o.Float32}
	carried := func(role string, places []int) {
		for _, p := range places {
			out.add(Column{Name: l.fields[p].Name, Role: role}, outColumn{t: l.fields[p].Type, row: l.at[p]})
		}
	}
	carried(roleCarried, l.carry)
	out.features(c, s, o.Status)
	carried(roleLabel, l.names)
	if l.weight {
		out.add(Column{Name: "weight", Role: roleWeight}, outColumn{t: column.Float64, row: len(l.fill)})
	}
	return out, out.check()
}

// features adds the features of a service, and their statuses.
func (out *output) features(c *definition.Catalog, s *definition.Service, status bool) {
	texts := 0
	for i := range s.Features {
		f := &s.Features[i]
		col := outColumn{t: f.Type, row: -1, feature: i, text: -1, given: f.HasDefault}
		if f.Type == column.String {
			col.text = texts
			texts++
		}
		out.add(Column{Name: f.Name, Role: roleFeature, Origin: c.Origin(s, f)}, col)
		if status && (f.Kind == definition.FromView || f.Kind == definition.FromLookup) {
			out.add(Column{Name: f.Name + statusSuffix, Role: roleStatus}, outColumn{t: column.String, row: -1, feature: i, text: -1, status: true})
		}
	}
}

func (out *output) add(c Column, from outColumn) {
	c.Type = from.t.String()
	if out.float32 && from.t == column.Float64 && (c.Role == roleFeature || c.Role == roleWeight) {
		c.Type = float32Name
	}
	out.names, out.columns = append(out.names, c), append(out.columns, from)
}

// check refuses two columns of one name.
func (out *output) check() error {
	seen := map[string]string{}
	for _, c := range out.names {
		if role, there := seen[c.Name]; there {
			return fmt.Errorf("%w: labels: column %s would be there twice, as %s and as %s; do not carry it, or give the feature another name", ErrOptions, c.Name, role, c.Role)
		}
		seen[c.Name] = c.Role
	}
	return nil
}

// newBatch returns an empty batch of the output.
func (out *output) newBatch() *column.Batch {
	b := &column.Batch{}
	for i, c := range out.columns {
		b.Columns = append(b.Columns, column.Column{Name: out.names[i].Name, Type: c.t})
	}
	return b
}

// texts gives texts memory of their own, of the same ones but one. It is for one goroutine.
type texts map[string]string

// textsMax bounds the texts that are remembered.
const textsMax = 4096

func (t texts) keep(s string) string {
	if kept, ok := t[s]; ok {
		return kept
	}
	s = strings.Clone(s)
	if len(t) < textsMax {
		t[s] = s
	}
	return s
}

// fill appends rows and their vectors to a batch.
func (out *output) fill(to *column.Batch, from *assembled) {
	for i, c := range out.columns {
		into := &to.Columns[i]
		switch {
		case c.row >= 0:
			copyRows(into, &from.rows.Columns[c.row], 0, from.rows.Rows)
		case c.status:
			for row := range from.rows.Rows {
				into.AppendText(from.vectors.StatusRow(row)[c.feature].String())
			}
		default:
			fillFeature(into, c, &from.vectors, from.kept, out.fresh)
		}
	}
	to.Rows += from.rows.Rows
}

// fillFeature appends a feature as a model would see it: a value that is not there is
// null, and with fresh one that is too old.
func fillFeature(into *column.Column, c outColumn, v *plan.Vectors, kept texts, fresh bool) {
	for row := range v.Rows {
		if fresh && v.StatusRow(row)[c.feature] != window.Present {
			into.AppendNull()
			continue
		}
		if c.text >= 0 {
			if text := v.TextRow(row)[c.text]; text != "" || c.given || v.StatusRow(row)[c.feature] == window.Present {
				into.AppendText(kept.keep(text))
			} else {
				into.AppendNull()
			}
			continue
		}
		x := v.Numbers[row*v.Width+c.feature]
		switch {
		case c.t == column.Float64 || c.t == column.Bool:
			into.AppendNumber(x)
		case math.IsNaN(x):
			into.AppendNull()
		default:
			into.AppendInt(int64(x))
		}
	}
}
