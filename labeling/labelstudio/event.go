// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"encoding/json"
	"errors"
	"fmt"
)

// The actions of webhooks that say something of annotations.
const (
	AnnotationCreated  = "ANNOTATION_CREATED"
	AnnotationUpdated  = "ANNOTATION_UPDATED"
	AnnotationsDeleted = "ANNOTATIONS_DELETED"
)

// Event is what a webhook says of annotations.
type Event struct {
	Action string
	// Item is the task, with the annotation that was made or changed; nil for a deletion.
	Item *Item
	// IDs are Label Studio's numbers of the annotations.
	IDs []int64
}

// ParseEvent reads the body of a webhook. Actions that are not of annotations give an event
// with nothing else. Label Studio sends the task along when an annotation was made or
// changed, and nothing but numbers when some were deleted.
func (c *Config) ParseEvent(body []byte) (*Event, error) {
	var in struct {
		Action     string          `json:"action"`
		Task       json.RawMessage `json:"task"`
		Annotation json.RawMessage `json:"annotation"`
		Deleted    []numbered      `json:"annotations"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("%w: webhook: %w", ErrFormat, err)
	}
	e := &Event{Action: in.Action}
	switch in.Action {
	case AnnotationsDeleted:
		for _, d := range in.Deleted {
			e.IDs = append(e.IDs, d.ID)
		}
		return e, nil
	case AnnotationCreated, AnnotationUpdated:
	default:
		return e, nil
	}
	var w wireTask
	var a wireAnnotation
	var id numbered
	if err := errors.Join(json.Unmarshal(orNull(in.Task), &w), json.Unmarshal(orNull(in.Annotation), &a), json.Unmarshal(orNull(in.Annotation), &id)); err != nil {
		return nil, fmt.Errorf("%w: webhook: %w", ErrFormat, err)
	}
	// The task's own list may have others' annotations, which came by webhooks of their own.
	w.Annotations, w.Predictions = []wireAnnotation{a}, nil
	item, err := c.item(&w)
	if err != nil {
		return nil, fmt.Errorf("%w: webhook: task: %w", ErrFormat, err)
	}
	e.Item, e.IDs = item, []int64{id.ID}
	return e, nil
}

type numbered struct {
	ID int64 `json:"id"`
}

func orNull(raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return json.RawMessage("null")
	}
	return raw
}
