// SPDX-License-Identifier: Apache-2.0

// Package profile sums up the columns of a window of rows in bounded memory.
//
//	P1  A profile depends on the rows alone: not on their order, nor on how they were cut
//	    in parts that were merged. All sums are exact.
//	P2  Its size is bounded by Options, whatever the rows are.
//	P3  Counts are of all rows. Values for tests and quantiles are those of a sample: the
//	    rows with the least keys, which are hashes of their ids. Whether a row is in it has
//	    nothing to do with its values or its time.
//
// Of a text column the categories that the reference has are counted one by one, and of
// others those with the least hashes, at most Options.Categories; the rest is one count.
// What the k-th least hash is says how many categories there are.
//
// A missing value is NaN in a numeric column and the empty text in a text column.
//
// Sources: Bar-Yossef et al., Counting distinct elements in a data stream, RANDOM 2002;
// Cohen and Kaplan, Summarizing data using bottom-k sketches, PODC 2007.
//
// Concurrency: a profile belongs to one goroutine at a time.
package profile

import (
	"errors"
	"fmt"
	"math"
)

// Errors that callers branch on.
var (
	// ErrInput means that a row, a schema or a file does not suit.
	ErrInput = errors.New("invalid profile input")
	// ErrCorrupt means that bytes are not a profile: they were changed, or cut.
	ErrCorrupt = errors.New("profile is corrupt")
)

// Limits.
const (
	ColumnsMax    = 4096
	SampleMax     = 1 << 20
	CategoriesMax = 1 << 16
	// TextBytesMax bounds a category; longer ones are cut, and told apart by their hash.
	TextBytesMax = 256
)

// Column is a column of a schema.
type Column struct {
	Name string `json:"name"`
	// Text says that the column has categories instead of numbers.
	Text bool `json:"text,omitempty"`
}

// Options bound a profile.
type Options struct {
	// Sample is how many rows are kept; 0 is 5000, at most SampleMax.
	Sample int
	// Categories is how many categories of a column are counted one by one; 0 is 1000, at
	// most CategoriesMax.
	Categories int
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	if o.Sample == 0 {
		o.Sample = 5000
	}
	if o.Categories == 0 {
		o.Categories = 1000
	}
}

// Validate reports all that is wrong, after EnsureDefaults.
func (o *Options) Validate() error {
	var all []error
	if o.Sample < 1 || o.Sample > SampleMax {
		all = append(all, fmt.Errorf("%w: a sample of %d rows, it has 1 to %d", ErrInput, o.Sample, SampleMax))
	}
	if o.Categories < 1 || o.Categories > CategoriesMax {
		all = append(all, fmt.Errorf("%w: %d categories, there are 1 to %d", ErrInput, o.Categories, CategoriesMax))
	}
	return errors.Join(all...)
}

// Row is a row to add. The profile copies what it keeps.
type Row struct {
	// Key is a hash of the row's id (Hash).
	Key uint64
	// Time is when the row happened, in microseconds since 1970.
	Time int64
	// Entity is a hash of what the row is of, such as a customer; 0 for none.
	Entity uint64
	// Numbers and Texts are the values of the numeric and the text columns, in the order
	// of the schema.
	Numbers []float64
	Texts   []string
}

// Profile is the sum of a window's rows. Its fields are exported to be stored, and read.
type Profile struct {
	Schema  []Column
	Options Options
	Rows    int64
	// Oldest and Newest are the times of rows; both are 0 without rows.
	Oldest, Newest int64
	Numbers        []Number
	Texts          []Text
	Sample         Sample
}

// New begins a profile. The reference, which may be nil, says which categories are counted
// one by one in any case, and what its range is; it stays with the caller.
func New(schema []Column, o Options, reference *Profile) (*Profile, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if len(schema) > ColumnsMax {
		return nil, fmt.Errorf("%w: %d columns are more than %d", ErrInput, len(schema), ColumnsMax)
	}
	names := map[string]bool{}
	p := &Profile{Schema: schema, Options: o, Sample: Sample{Max: o.Sample}}
	for _, c := range schema {
		if c.Name == "" || names[c.Name] {
			return nil, fmt.Errorf("%w: column %q is there twice or has no name", ErrInput, c.Name)
		}
		names[c.Name] = true
		if c.Text {
			p.Texts = append(p.Texts, Text{Max: o.Categories})
		} else {
			p.Numbers = append(p.Numbers, newNumber())
		}
	}
	if reference != nil {
		if err := p.like(reference); err != nil {
			return nil, err
		}
		for i := range p.Texts {
			p.Texts[i].know(&reference.Texts[i])
		}
		for i := range p.Numbers {
			p.Numbers[i].Low, p.Numbers[i].High = reference.Numbers[i].Min, reference.Numbers[i].Max
		}
	}
	return p, nil
}

func (p *Profile) like(other *Profile) error {
	if len(p.Schema) != len(other.Schema) {
		return fmt.Errorf("%w: %d and %d columns", ErrInput, len(p.Schema), len(other.Schema))
	}
	for i, c := range p.Schema {
		if c != other.Schema[i] {
			return fmt.Errorf("%w: column %d is %q on one side and %q on the other", ErrInput, i, c.Name, other.Schema[i].Name)
		}
	}
	return nil
}

// Add adds a row.
func (p *Profile) Add(r *Row) error {
	if len(r.Numbers) != len(p.Numbers) || len(r.Texts) != len(p.Texts) {
		return fmt.Errorf("%w: a row has %d numbers and %d texts, the schema %d and %d", ErrInput, len(r.Numbers), len(r.Texts), len(p.Numbers), len(p.Texts))
	}
	p.span(r.Time, r.Time)
	p.Rows++
	for i, v := range r.Numbers {
		p.Numbers[i].add(v)
	}
	for i, v := range r.Texts {
		p.Texts[i].add(v, 1)
	}
	p.Sample.add(r)
	return nil
}

// span widens the time of the rows, before they are counted.
func (p *Profile) span(oldest, newest int64) {
	if p.Rows == 0 {
		p.Oldest, p.Newest = oldest, newest
	}
	p.Oldest, p.Newest = min(p.Oldest, oldest), max(p.Newest, newest)
}

// Merge adds the rows of another profile of the same schema, which stays as it is. Both
// have to be made with the same options and the same reference.
func (p *Profile) Merge(other *Profile) error {
	if err := p.like(other); err != nil {
		return err
	}
	if other.Rows == 0 {
		return nil
	}
	p.span(other.Oldest, other.Newest)
	p.Rows += other.Rows
	for i := range p.Numbers {
		p.Numbers[i].merge(&other.Numbers[i])
	}
	for i := range p.Texts {
		p.Texts[i].merge(&other.Texts[i])
	}
	p.Sample.merge(&other.Sample)
	return nil
}

// Hash is a hash of a text, such as an id, for Row.Key and Row.Entity. It is the same in
// all versions: FNV-1a with the finish of MurmurHash3, so that all bits depend on all bytes.
func Hash(text string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 1099511628211
	}
	h = (h ^ h>>33) * 0xff51afd7ed558ccd
	h = (h ^ h>>33) * 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// Number sums up a numeric column. Missing and infinite values are in no other count.
type Number struct {
	Count, Missing, Infinite int64
	// Min and Max are those of Count values: +Inf and -Inf without any.
	Min, Max float64
	// Low and High are the range of the reference: Below and Above count what is outside.
	Low, High    float64
	Below, Above int64
	Sum, Squares Sum
}

func newNumber() Number {
	return Number{Min: math.Inf(1), Max: math.Inf(-1), Low: math.Inf(-1), High: math.Inf(1)}
}

func (n *Number) add(v float64) {
	switch {
	case math.IsNaN(v):
		n.Missing++
		return
	case math.IsInf(v, 0):
		n.Infinite++
		return
	case v < n.Low:
		n.Below++
	case v > n.High:
		n.Above++
	}
	n.Count++
	n.Min, n.Max = min(n.Min, v), max(n.Max, v)
	n.Sum.Add(v)
	square := v * v
	n.Squares.Add(square)
	n.Squares.Add(math.FMA(v, v, -square)) // what rounding left out
}

func (n *Number) merge(o *Number) {
	n.Count, n.Missing, n.Infinite = n.Count+o.Count, n.Missing+o.Missing, n.Infinite+o.Infinite
	n.Below, n.Above = n.Below+o.Below, n.Above+o.Above
	n.Min, n.Max = min(n.Min, o.Min), max(n.Max, o.Max)
	n.Sum.Merge(&o.Sum)
	n.Squares.Merge(&o.Squares)
}

// Moments are the mean and the standard deviation, NaN without values.
func (n *Number) Moments() (mean, sd float64) {
	if n.Count == 0 {
		return math.NaN(), math.NaN()
	}
	return moments(&n.Sum, &n.Squares, n.Count)
}
