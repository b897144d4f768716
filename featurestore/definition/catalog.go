// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// Catalog is everything that a project defines about features, checked and ready to
// run. It is immutable. Indices between its parts are positions in these slices.
type Catalog struct {
	Entities []*Entity
	Sources  []*Source
	Views    []*View
	Lookups  []*Lookup
	Services []*Service
	// Files are the definition files it was read from, in order.
	Files []string
	// Hash is the SHA-256 of what the definitions mean: comments, order of files and
	// layout do not change it.
	Hash [32]byte
}

// Entity is a kind of thing that features describe, such as a customer.
type Entity struct {
	Name string
	// Index is the entity's place in Catalog.Entities.
	Index int
	// Key is the name of the field that identifies it, in requests and sources.
	Key string
	// Type is the key's type: column.Int64 or column.String.
	Type column.Type
}

// Field is a field of a source or of a request.
type Field struct {
	Name string
	Type column.Type
	// Required fields may not be null.
	Required bool
	// Late fields become known after the event, as labels do: a push with the same id
	// and time fills them in. In history, without an arrival time of its own, a late
	// value is taken to be known KnownAfter after the event.
	Late       bool
	KnownAfter time.Duration
	// Min and Max bound numbers, both included; NaN is no bound.
	Min, Max float64
	// Values are the texts allowed; empty is any.
	Values []string
	// Description is for people.
	Description string
}

// Source is where events come from: pushes, files, queries.
type Source struct {
	Name  string
	Index int
	// Fields are the values of an event, besides what Arrival names.
	Fields []Field
	// ID, Timestamp and Arrival are places in Fields of the event's id (Int64 or String),
	// its time, and when it became known; -1 for none. Without an id the rows of a file
	// are told apart by their number, and pushes must bring an id of their own. Without
	// an arrival an event of history is taken to have arrived when it happened.
	ID, Timestamp, Arrival int
	// Push says that events may be pushed.
	Push bool
	// Inputs are where history is read from.
	Inputs []Input
	// FutureMax is how far ahead of its arrival an event's time may lie.
	FutureMax time.Duration
	// Description is for people.
	Description string
}

// Format is how an input is stored.
type Format uint8

// The formats.
const (
	CSV Format = iota + 1
	Parquet
	JSONLines
	PostgreSQL
)

// Input is a file, a set of files or a query with events of a source.
type Input struct {
	Format Format
	// Path is a file or a pattern of them as filepath.Match takes it; relative paths
	// have been joined to the folder of the definition file.
	Path string
	// URL is a PostgreSQL connection string, in which ${NAME} was replaced from the
	// environment, and Query the SQL.
	URL, Query string
	// Columns maps a field's name to the name it has in the input, where that differs.
	Columns map[string]string
	// Unset are the variables that URL names and the environment lacks; with any, the
	// input cannot be read. See Check.
	Unset []string
	// File and Line are where the input is defined, for messages.
	File string
	Line int
}

// View is a set of windowed aggregations over a source for an entity.
type View struct {
	Name  string
	Index int
	// Entities are its entities and Keys the source's fields that hold their keys.
	Entities []*Entity
	Keys     []int
	Source   *Source
	// Filter decides which events count; nil is all. A null is false.
	Filter *expression.Program
	// Columns give the window's numeric columns from the source's fields, in the order of
	// Window.Definition().Columns. A filter of a single feature is folded in: where it is
	// not true the column is null.
	Columns []Column
	// KeyColumns give its key columns: places of String or Int64 fields, filtered likewise.
	KeyColumns []KeyColumn
	// Window is the view compiled; feature i of Features starts at its value Offset.
	Window   *window.View
	Features []ViewFeature
	// Description is for people.
	Description string
}

// Column is a numeric column of a view.
type Column struct {
	// Field is the place of the field it is, or -1 if Program computes it.
	Field   int
	Program *expression.Program
	// Filter is that of the feature; nil is none.
	Filter *expression.Program
	// LateField is the place of the late field that it depends on, or -1. Such a column is
	// amended when the field becomes known.
	LateField int
}

// KeyColumn is a column of which only distinct values are counted.
type KeyColumn struct {
	Field  int
	Filter *expression.Program
}

// ViewFeature is one feature of a view.
type ViewFeature struct {
	Name string
	// Offset is where its values begin in the view's row, and Width how many they are.
	Offset, Width int
	// Type is what its values are: Int64 for counts, the column's type for values that
	// are picked from it, as by last or max, Float64 for all others. The values are
	// float64 in any case.
	Type        column.Type
	Description string
}

// Lookup holds the latest values of some fields of a source for an entity.
type Lookup struct {
	Name     string
	Index    int
	Entities []*Entity
	Keys     []int
	Source   *Source
	// Fields are places in Source.Fields of its features.
	Fields []int
	// TTL is how old a value may be; 0 is any age.
	TTL time.Duration
	// Description is for people.
	Description string
}

// Service is what a model takes: features in order, and the request they need.
type Service struct {
	Name  string
	Index int
	// Entities are the entities of all its features: a request has the key of each.
	Entities []*Entity
	// Request are the fields of a request besides the keys.
	Request []Field
	// Time is the place in Request of the moment asked for, or -1 for now.
	Time int
	// Features are the model's inputs in order.
	Features []Feature
	// Model names the model that it feeds, empty for none.
	Model string
	// Description is for people.
	Description string

	hash [32]byte
}

// Kind says where a feature of a service comes from.
type Kind uint8

// The kinds.
const (
	// FromView is a windowed aggregation.
	FromView Kind = iota + 1
	// FromLookup is a field of a lookup.
	FromLookup
	// FromRequest is a field of the request.
	FromRequest
	// FromKey is the key of an entity itself.
	FromKey
	// FromExpression is computed from the request and the features before it.
	FromExpression
)

// Feature is one value of a service's vector.
type Feature struct {
	// Name is unique in the service.
	Name string
	// Type is what the model takes: Float64, Int64, Bool or String.
	Type column.Type
	Kind Kind
	// View or Lookup is the index of the origin in the catalog; Offset is the value's
	// place in the view's row, in Lookup.Fields, in Service.Request or in
	// Service.Entities.
	View, Lookup, Offset int
	// Expression reads Service.Env.
	Expression *expression.Program
	// HasDefault says that a value that is not present is replaced: by Default for a
	// number, DefaultText for a text.
	HasDefault  bool
	Default     float64
	DefaultText string
	// Description is for people.
	Description string
}

// Env are the fields that the expressions of a service see, in this order: the keys
// of its entities, its request, its features. An expression of feature i may use only
// features before i.
func (s *Service) Env() []expression.Field {
	env := make([]expression.Field, 0, len(s.Entities)+len(s.Request)+len(s.Features))
	for _, e := range s.Entities {
		env = append(env, expression.Field{Name: e.Key, Type: e.Type})
	}
	for _, f := range s.Request {
		env = append(env, expression.Field{Name: f.Name, Type: f.Type})
	}
	for _, f := range s.Features {
		env = append(env, expression.Field{Name: f.Name, Type: f.Type})
	}
	return env
}
