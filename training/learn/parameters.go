// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// ParameterKind is what values a parameter takes.
type ParameterKind uint8

// The kinds, and the Go types of their values: int64, float64, string, bool.
const (
	Int ParameterKind = iota
	Float
	Text
	Flag
)

// Parameter describes a parameter of a method.
type Parameter struct {
	Name string
	Doc  string
	Kind ParameterKind
	// Default has the Go type of Kind.
	Default any
	// Min and Max bound numbers, both included.
	Min, Max float64
	// Options are the values that a Text may have; nil is any.
	Options []string
	// SearchMin and SearchMax are where a search looks if it is not told; equal ones mean
	// that the parameter is not searched by default. Log is for a scale where factors count.
	SearchMin, SearchMax float64
	Log                  bool
}

// Values are parameters by name.
type Values map[string]any

// Int, Float, Text and Flag read a value that is known to be there.
func (v Values) Int(name string) int       { return int(v[name].(int64)) }
func (v Values) Float(name string) float64 { return v[name].(float64) }
func (v Values) Text(name string) string   { return v[name].(string) }
func (v Values) Flag(name string) bool     { return v[name].(bool) }

// Complete checks values against the parameters of a method and adds the defaults. Whole
// numbers are taken for floats, and floats without a fraction for whole numbers. All that
// is wrong is reported at once; errors wrap ErrParameters.
func (m *Method) Complete(given Values) (Values, error) {
	var problems []error
	complete := make(Values, len(m.Parameters))
	for _, p := range m.Parameters {
		complete[p.Name] = p.Default
	}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		i := slices.IndexFunc(m.Parameters, func(p Parameter) bool { return p.Name == name })
		if i < 0 {
			problems = append(problems, fmt.Errorf("%w: %s has no parameter %q; it has %s", ErrParameters, m.Name, name, m.parameterNames()))
			continue
		}
		value, err := m.Parameters[i].convert(given[name])
		if err != nil {
			problems = append(problems, fmt.Errorf("%w: %s.%s: %w", ErrParameters, m.Name, name, err))
			continue
		}
		complete[name] = value
	}
	return complete, errors.Join(problems...)
}

func (m *Method) parameterNames() string {
	names := make([]string, len(m.Parameters))
	for i, p := range m.Parameters {
		names[i] = p.Name
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// convert makes a value of the parameter's type, as YAML, JSON or a flag has it.
func (p *Parameter) convert(value any) (any, error) {
	switch p.Kind {
	case Text:
		text, ok := value.(string)
		if !ok {
			return nil, fmt.Errorf("%v is not a text", value)
		}
		if p.Options != nil && !slices.Contains(p.Options, text) {
			return nil, fmt.Errorf("%q is none of %s", text, strings.Join(p.Options, ", "))
		}
		return text, nil
	case Flag:
		if flag, ok := value.(bool); ok {
			return flag, nil
		}
		return nil, fmt.Errorf("%v is neither true nor false", value)
	}
	number, err := toFloat(value)
	if err != nil {
		return nil, err
	}
	if !(number >= p.Min && number <= p.Max) {
		return nil, fmt.Errorf("%v is not within %v and %v", value, p.Min, p.Max)
	}
	if p.Kind == Float {
		return number, nil
	}
	if number != math.Trunc(number) {
		return nil, fmt.Errorf("%v is not a whole number", value)
	}
	return int64(number), nil
}

func toFloat(value any) (float64, error) {
	switch v := value.(type) {
	case float64:
		return v, nil
	case float32:
		return float64(v), nil
	case int:
		return float64(v), nil
	case int64:
		return float64(v), nil
	case uint64:
		return float64(v), nil
	}
	return 0, fmt.Errorf("%v is not a number", value)
}
