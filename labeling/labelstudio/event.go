// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The actions of webhooks that say something of annotations.
const (
	AnnotationCreated  = "ANNOTATION_CREATED"
	AnnotationsCreated = "ANNOTATIONS_CREATED" // several at once, of predictions
	AnnotationUpdated  = "ANNOTATION_UPDATED"
	AnnotationsDeleted = "ANNOTATIONS_DELETED"
)

// Event is what a webhook says of annotations.
type Event struct {
	Action string
	// Items are the tasks, each with one annotation that was made or changed.
	Items []*Item
	// Deleted are Label Studio's numbers of annotations that are gone.
	Deleted []int64
}

// Comment is what an annotation of Label Studio has as comment, unless it came with
// another: its number there, by which a deletion finds it.
func Comment(id int64) string { return commentPrefix + strconv.FormatInt(id, 10) }

const commentPrefix = "Label Studio annotation "

// numberOf is the number that Comment names, 0 if it names none.
func numberOf(comment string) int64 {
	id, err := strconv.ParseInt(strings.TrimPrefix(comment, commentPrefix), 10, 64)
	if err != nil || Comment(id) != comment {
		return 0
	}
	return id
}

// ParseEvent reads the body of a webhook. Actions that are not of annotations give an event
// with nothing else. Label Studio sends the task along when an annotation was made or
// changed, lists of both when several were made, and nothing but numbers when some were
// deleted.
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
	tasks, annotations := []json.RawMessage{orNull(in.Task)}, []json.RawMessage{orNull(in.Annotation)}
	switch in.Action {
	case AnnotationsDeleted:
		for _, d := range in.Deleted {
			e.Deleted = append(e.Deleted, d.ID)
		}
		return e, nil
	case AnnotationsCreated:
		if err := errors.Join(json.Unmarshal(tasks[0], &tasks), json.Unmarshal(annotations[0], &annotations)); err != nil {
			return nil, fmt.Errorf("%w: webhook: task and annotation: %w", ErrFormat, err)
		}
		if len(tasks) != len(annotations) {
			return nil, fmt.Errorf("%w: webhook: %d tasks for %d annotations", ErrFormat, len(tasks), len(annotations))
		}
	case AnnotationCreated, AnnotationUpdated:
	default:
		return e, nil
	}
	for i := range tasks {
		item, err := c.annotated(tasks[i], annotations[i])
		if err != nil {
			return nil, fmt.Errorf("%w: webhook: task: %w", ErrFormat, err)
		}
		e.Items = append(e.Items, item)
	}
	return e, nil
}

// annotated is a task with nothing but an annotation of it.
func (c *Config) annotated(task, annotation json.RawMessage) (*Item, error) {
	var w wireTask
	var a wireAnnotation
	if err := errors.Join(json.Unmarshal(task, &w), json.Unmarshal(annotation, &a)); err != nil {
		return nil, err
	}
	// The task's own list may have others' annotations, which came by webhooks of their own.
	w.Annotations, w.Predictions = []wireAnnotation{a}, nil
	item, err := c.item(&w)
	if err != nil {
		return nil, err
	}
	// A star in Label Studio does not make gold of what people label: it is said by somebody.
	item.Annotations, item.Starred, item.Task.Gold = append(item.Annotations, item.Starred...), nil, nil
	return item, nil
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
