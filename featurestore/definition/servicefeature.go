// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"math"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// finish gives the features of an entry their types and defaults and adds them; false
// ends the service.
func (r *serviceReader) finish(it *item) bool {
	program := (*expression.Program)(nil)
	if it.node != nil {
		if program = it.o.program("expression", r.env); program == nil {
			it.natural = column.Invalid
		} else {
			it.natural = program.Type()
		}
	}
	typ := r.featureType(it)
	for i := range it.features {
		f := &it.features[i]
		f.Type, f.Expression = typ, program
		if it.o != nil {
			if text := it.o.text("description"); text != "" {
				f.Description = text
			}
			r.featureDefault(it.o, f)
		}
		if !r.addFeature(it, f) {
			return false
		}
	}
	return true
}

// addFeature adds a feature whose name is free.
func (r *serviceReader) addFeature(it *item, f *Feature) bool {
	s := r.service
	if before, taken := r.at[f.Name]; taken {
		r.add(it.at, it.path, "the name %s is taken by the feature at %v; give this one a name of its own", f.Name, before)
		return true
	}
	if len(f.Name) > featureNameMax {
		r.add(it.at, it.path, "the name %s has %d characters, at most %d are allowed: give it another", clip(f.Name), len(f.Name), featureNameMax)
		return true
	}
	for i, q := range s.Request {
		if q.Name == f.Name && (f.Kind != FromRequest || f.Offset != i) {
			r.add(it.at, it.path, "%s is a field of the request: give the feature another name", f.Name)
			return true
		}
	}
	for i, e := range s.Entities {
		if e.Key == f.Name && (f.Kind != FromKey || f.Offset != i) {
			r.add(it.at, it.path, "%s is a key: give the feature another name", f.Name)
			return true
		}
	}
	if len(s.Features) == featuresMax {
		r.add(it.at, r.o.path+".features", "more than %d features", featuresMax)
		return false
	}
	r.at[f.Name] = it.at
	s.Features = append(s.Features, *f)
	r.env = append(r.env, expression.Field{Name: f.Name, Type: f.Type})
	return true
}

// featureType is the type asked for, or the one that the values have.
func (r *serviceReader) featureType(it *item) column.Type {
	natural := it.natural
	if it.o == nil || !it.o.has("type") {
		switch {
		case it.features[0].Kind == FromView:
			return column.Float64
		case natural == column.Timestamp:
			r.add(it.at, it.path, "a timestamp is nothing that a model takes: use an expression such as hour(...), or give type: int64 or float64 for microseconds since 1970")
		}
		return natural
	}
	t := r.fieldType(it.o.get("type"), it.path+".type")
	if t == column.Invalid || natural == column.Invalid {
		return t
	}
	if !converts(natural, t) {
		it.o.bad("type", "%s values cannot be %s", natural, t)
	}
	return t
}

// converts reports whether a model can be given values of one type as another without
// loss.
func converts(from, to column.Type) bool {
	switch to {
	case column.Float64:
		return from.Number()
	case column.Int64:
		return from == column.Bool || from == column.Int64 || from == column.Timestamp
	case column.Timestamp:
		return false
	}
	return from == to
}

// featureDefault reads what takes the place of a value that is not present.
func (r *serviceReader) featureDefault(o *object, f *Feature) {
	n := o.get("default")
	if n == nil || f.Type == column.Invalid {
		return
	}
	x, number := n.number()
	ok := false
	switch f.Type {
	case column.Float64:
		ok = number
	case column.Int64:
		ok = number && x == math.Trunc(x) && math.Abs(x) <= column.IntegerMax
	case column.Bool:
		if ok = n.kind == boolKind; ok {
			x = 0
			if strings.EqualFold(n.text, "true") {
				x = 1
			}
		}
	case column.String:
		ok = n.kind == textKind
	}
	if !ok {
		o.bad("default", "a default of the type %s is needed, not %s", f.Type, shown(n))
		return
	}
	f.HasDefault, f.Default = true, x
	if f.Type == column.String {
		f.Default, f.DefaultText = math.NaN(), n.text
	}
}
