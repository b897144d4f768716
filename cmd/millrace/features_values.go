// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

// askedFlags are the keys and facts of one row that a command asks for.
type askedFlags struct {
	entities, facts []string
}

// askedField is a key or a field of a request. Its type is Invalid where only a server
// knows it.
type askedField struct {
	name     string
	typ      column.Type
	required bool
}

// columnsOf makes columns of one row of NAME=VALUE pairs, in the order of the fields. Every
// mistake is reported.
func columnsOf(flag string, pairs []string, fields []askedField) ([]column.Column, error) {
	given, err := parsePairs(flag, pairs)
	if err != nil {
		return nil, err
	}
	var problems []error
	columns := make([]column.Column, len(fields))
	for i, f := range fields {
		columns[i] = column.Column{Name: f.name, Type: f.typ}
		text, found := given[f.name]
		delete(given, f.name)
		if !found {
			if f.required {
				problems = append(problems, fmt.Errorf("--%s %s=VALUE is missing: it is of type %s", flag, f.name, f.typ))
			}
			columns[i].AppendNull()
			continue
		}
		if err := appendValue(&columns[i], text); err != nil {
			problems = append(problems, fmt.Errorf("--%s %s: %w", flag, f.name, err))
		}
	}
	for name := range given {
		problems = append(problems, fmt.Errorf("--%s %s: there is no such name; %s", flag, name, askedNames(fields)))
	}
	if len(problems) > 0 {
		return nil, usageError{errors.Join(problems...)}
	}
	return columns, nil
}

func askedNames(fields []askedField) string {
	if len(fields) == 0 {
		return "none is asked for"
	}
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	return "known: " + strings.Join(names, ", ")
}

// appendValue reads a value of the column's type.
func appendValue(c *column.Column, text string) error {
	switch c.Type {
	case column.String:
		c.AppendText(text)
		return nil
	case column.Bool:
		if b, err := strconv.ParseBool(text); err == nil {
			c.AppendNumber(map[bool]float64{true: 1}[b])
			return nil
		}
	case column.Int64:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			c.AppendInt(n)
			return nil
		}
	case column.Float64:
		if x, err := strconv.ParseFloat(text, 64); err == nil && !math.IsInf(x, 0) && !math.IsNaN(x) {
			c.AppendNumber(x)
			return nil
		}
	case column.Timestamp:
		t, err := momentOf(text, time.Now())
		if err != nil {
			return err
		}
		c.AppendInt(t.UnixMicro())
		return nil
	}
	return fmt.Errorf("%q is not of type %s", text, c.Type)
}

// guessType is the type that a value looks like, for a key whose type only the server
// knows. A value in double quotes is a text, and loses them.
func guessType(text string) (column.Type, string) {
	if n := len(text); n >= 2 && text[0] == '"' && text[n-1] == '"' {
		return column.String, text[1 : n-1]
	}
	if _, err := strconv.ParseInt(text, 10, 64); err == nil {
		return column.Int64, text
	}
	return column.String, text
}

func keysOf(s *definition.Service) []askedField {
	var fields []askedField
	for _, e := range s.Entities {
		fields = append(fields, askedField{e.Key, e.Type, true})
	}
	return fields
}

func requestOf(s *definition.Service) []askedField {
	var fields []askedField
	for _, f := range s.Request {
		fields = append(fields, askedField{f.Name, f.Type, f.Required})
	}
	return fields
}

// inputs makes one row of inputs of a service.
func (a *askedFlags) inputs(s *definition.Service, at int64) (*plan.Inputs, error) {
	keys, err := columnsOf("entity", a.entities, keysOf(s))
	request, err2 := columnsOf("fact", a.facts, requestOf(s))
	if err := errors.Join(err, err2); err != nil {
		return nil, usageError{err}
	}
	for i := range s.Request {
		if message := s.Request[i].Check(&request[i], 0); message != "" {
			return nil, usageError{fmt.Errorf("--fact %s: %s", s.Request[i].Name, message)}
		}
	}
	return &plan.Inputs{Rows: 1, Keys: keys, Request: request, At: at}, nil
}

// readValue is a feature's value with what is known about it.
type readValue struct {
	Name string `json:"name"`
	// Value is null where there is none.
	Value  any    `json:"value"`
	Status string `json:"status"`
	// EventTime is when the newest event behind the value happened.
	EventTime string `json:"event_time,omitempty"`
}

// numberValue is a number as the feature's type has it; nil for null.
func numberValue(t column.Type, x float64) any {
	switch {
	case math.IsNaN(x):
		return nil
	case math.IsInf(x, 0):
		return strconv.FormatFloat(x, 'g', -1, 64) // JSON has no such numbers
	case t == column.Bool:
		return x != 0
	case t == column.Int64 || t == column.Timestamp:
		return int64(x)
	}
	return x
}

// valueText writes a value for people.
func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return "-"
	case float64:
		return strconv.FormatFloat(v, 'g', -1, 64)
	case string:
		return strconv.Quote(v)
	}
	return fmt.Sprint(v)
}
