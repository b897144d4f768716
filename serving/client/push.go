// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"slices"

	"google.golang.org/grpc/codes"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// Events are events of a source, in columns.
type Events struct {
	Columns
	// IDs name the events of a source without an id field.
	IDs []string
	// IDField is the id field of the source, if it has one. With ids, one way or the other,
	// a push may be repeated: the server counts an event once.
	IDField string
	// NoWait returns when the events are readable, before they are durable.
	NoWait bool
}

// PushResult says what became of the events of a push.
type PushResult struct {
	// Accepted events were taken, of which Duplicates had been known.
	Accepted, Duplicates int
	// Refused are the events that were not taken, by row.
	Refused []EventError
}

// EventError says why an event was not taken.
type EventError struct {
	// Row in the push.
	Row int
	// Field is the path of what is wrong; it may be empty.
	Field, Message string
	// Retryable: the same event may be taken later, unchanged.
	Retryable bool
}

// Error is the text for a person.
func (e *EventError) Error() string {
	if e.Field == "" {
		return e.Message
	}
	return e.Field + ": " + e.Message
}

// Push sends events, at most 100,000. When it returns without error, those taken are
// durable, and those refused are in the result: they fail none of their neighbours.
func (c *Client) Push(ctx context.Context, source string, e *Events) (*PushResult, error) {
	rows := max(e.Rows(), len(e.IDs))
	if err := e.check("push", "columns", rows); err != nil {
		return nil, err
	}
	if len(e.IDs) > 0 && len(e.IDs) != rows {
		return nil, invalidRequest("push", "ids", "ids: %d of them for %d events", len(e.IDs), rows)
	}
	message := &millracev1.PushRequest{Source: source, Columns: e.columns, Ids: e.IDs, NoWait: e.NoWait}
	return c.push(ctx, message, e.identified(), rows)
}

// identified reports whether all events have ids.
func (e *Events) identified() bool {
	if len(e.IDs) > 0 {
		return !slices.Contains(e.IDs, "")
	}
	i := slices.IndexFunc(e.columns, func(c *millracev1.Column) bool { return c.Name == e.IDField })
	return e.IDField != "" && i >= 0 && len(e.columns[i].Nulls) == 0
}

func (c *Client) push(ctx context.Context, message *millracev1.PushRequest, safe bool, rows int) (*PushResult, error) {
	plan := callPlan{name: "push", timeout: c.options.PushTimeout, repeat: safe}
	result, _, err := call(ctx, c, plan, func(ctx context.Context, l *lane) (*PushResult, error) {
		m, err := l.features.Push(ctx, message, c.options.authorized()...)
		if err != nil {
			return nil, err
		}
		return newPushResult(m, rows)
	})
	return result, err
}

// newPushResult takes over an answer.
func newPushResult(m *millracev1.PushResponse, rows int) (*PushResult, error) {
	if m.Error != "" {
		return nil, errorOf("push", codes.Unknown, m.Error)
	}
	r := &PushResult{Accepted: int(m.Accepted), Duplicates: int(m.Duplicates)}
	for _, e := range m.Errors {
		if int(e.GetRow()) >= rows {
			return nil, malformed("push", "an error for row %d of %d", e.GetRow(), rows)
		}
		r.Refused = append(r.Refused, EventError{Row: int(e.GetRow()), Field: e.GetField(), Message: e.GetMessage(), Retryable: e.GetRetryable()})
	}
	if r.Accepted+len(r.Refused) != rows {
		return nil, malformed("push", "%d events taken and %d refused of %d", r.Accepted, len(r.Refused), rows)
	}
	return r, nil
}
