// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"slices"
	"time"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// Status says whether a feature has a value, and why not.
type Status uint8

// The numbers are those of the wire.
const (
	StatusInvalid Status = iota
	Present
	Null
	NotFound
	OutsideMaxAge
)

// String is the word for it.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return "unknown"
}

var statusNames = [...]string{"invalid", "present", "null", "not found", "outside max age"}

// GetRequest asks for features of some entities, a row for each.
type GetRequest struct {
	// Service is a feature service. Features, in its place, are single ones, as
	// view:feature and lookup:field.
	Service  string
	Features []string
	// Entities are the keys, Request the fields of the request.
	Entities, Request Columns
	// At is the moment asked for; zero is now, or the service's time field.
	At time.Time
	// EventTimes also asks when the newest event behind each value happened.
	EventTimes bool
}

// NewGet asks for a feature service.
func NewGet(service string) *GetRequest { return &GetRequest{Service: service} }

// Features are the values read, a row for each entity asked for.
type Features struct {
	Names []string
	Rows  int

	numbers    []float64
	texts      []string
	textPlaces []int // place of a feature among the texts of a row; -1 for numbers
	textWidth  int
	statuses   []byte
	eventTimes []int64
}

// Place is the place of a feature in Names, -1 if it is not there.
func (f *Features) Place(name string) int { return slices.Index(f.Names, name) }

// Number is a value: NaN for null and for texts.
func (f *Features) Number(row, place int) float64 { return f.Numbers(row)[place] }

// Numbers are the values of a row, in the order of Names.
func (f *Features) Numbers(row int) []float64 {
	n := len(f.Names)
	return f.numbers[row*n : (row+1)*n : (row+1)*n]
}

// Text is the value of a text feature, and whether the feature is one; its Status says
// whether it is there.
func (f *Features) Text(row, place int) (string, bool) {
	i := f.textPlaces[place]
	if i < 0 {
		return "", false
	}
	return f.texts[row*f.textWidth+i], true
}

// Status says whether there is a value.
func (f *Features) Status(row, place int) Status {
	return Status(f.statuses[row*len(f.Names)+place])
}

// EventTime is when the newest event behind a value happened; zero for none, or if the
// request did not ask.
func (f *Features) EventTime(row, place int) time.Time {
	if len(f.eventTimes) == 0 {
		return time.Time{}
	}
	if micros := f.eventTimes[row*len(f.Names)+place]; micros != 0 {
		return time.UnixMicro(micros).UTC()
	}
	return time.Time{}
}

// Get reads features. It may always be repeated.
func (c *Client) Get(ctx context.Context, q *GetRequest) (*Features, error) {
	rows := max(q.Entities.Rows(), q.Request.Rows())
	if err := q.Entities.check("get", "entities", rows); err != nil {
		return nil, err
	}
	if err := q.Request.check("get", "request", rows); err != nil {
		return nil, err
	}
	message := &millracev1.GetRequest{
		Service: q.Service, Features: q.Features, Entities: q.Entities.columns, Request: q.Request.columns, EventTimes: q.EventTimes,
	}
	if !q.At.IsZero() {
		message.At = q.At.UnixMicro()
	}
	plan := callPlan{name: "get", timeout: c.options.GetTimeout, repeat: true, hedge: true}
	answer, _, err := call(ctx, c, plan, func(ctx context.Context, l *lane) (*Features, error) {
		m, err := l.features.Get(ctx, message)
		if err != nil {
			return nil, err
		}
		return newFeatures(m, rows)
	})
	return answer, err
}

// newFeatures takes over an answer, whose lengths have to fit together.
func newFeatures(m *millracev1.GetResponse, rows int) (*Features, error) {
	n := len(m.Names)
	f := &Features{
		Names: m.Names, Rows: int(m.Rows), numbers: m.Numbers, texts: m.Texts, statuses: m.Statuses,
		eventTimes: m.EventTimes, textPlaces: make([]int, n), textWidth: len(m.TextFeatures),
	}
	// A service without entities and fields of the request answers one row to none.
	if f.Rows != rows && rows > 0 {
		return nil, malformed("get", "%d rows for %d", f.Rows, rows)
	}
	if len(f.numbers) != f.Rows*n || len(f.statuses) != f.Rows*n || len(f.texts) != f.Rows*f.textWidth {
		return nil, malformed("get", "%d rows of %d features have %d numbers, %d texts and %d statuses",
			f.Rows, n, len(f.numbers), len(f.texts), len(f.statuses))
	}
	if len(f.eventTimes) != 0 && len(f.eventTimes) != f.Rows*n {
		return nil, malformed("get", "%d rows of %d features have %d event times", f.Rows, n, len(f.eventTimes))
	}
	for i := range f.textPlaces {
		f.textPlaces[i] = -1
	}
	for i, place := range m.TextFeatures {
		if int(place) >= n {
			return nil, malformed("get", "text feature %d of %d", place, n)
		}
		f.textPlaces[place] = i
	}
	return f, nil
}
