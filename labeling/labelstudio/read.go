// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/labeling"
)

// Item is a task with its annotations. The project is not set in them.
type Item struct {
	Task        labeling.Task
	Annotations []labeling.Imported
	// Starred are those that are marked as ground truth, of which the last one is the task's
	// gold. Where the task is there already and is not gold, they are what somebody said.
	Starred []labeling.Imported
}

type wireTask struct {
	ID          json.RawMessage  `json:"id,omitempty"`
	Data        json.RawMessage  `json:"data"`
	Meta        json.RawMessage  `json:"meta,omitempty"`
	Annotations []wireAnnotation `json:"annotations"`
	Predictions wirePredictions  `json:"predictions"`
}

// wirePredictions are those of a task. Label Studio's exports have nothing but their
// numbers there, which say nothing here and are passed over.
type wirePredictions []wirePrediction

// UnmarshalJSON takes an array of predictions and numbers of predictions.
func (p *wirePredictions) UnmarshalJSON(text []byte) error {
	var all []json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*p = nil
	for _, one := range all {
		var number json.Number
		if json.Unmarshal(one, &number) == nil {
			continue
		}
		var w wirePrediction
		if err := json.Unmarshal(one, &w); err != nil {
			return err
		}
		*p = append(*p, w)
	}
	return nil
}

type wireAnnotation struct {
	ID           int64           `json:"id,omitempty"`
	Result       []result        `json:"result"`
	CompletedBy  json.RawMessage `json:"completed_by,omitempty"`
	WasCancelled bool            `json:"was_cancelled"`
	GroundTruth  bool            `json:"ground_truth"`
	LeadTime     *float64        `json:"lead_time,omitempty"`
	CreatedAt    string          `json:"created_at,omitempty"`
	// Annotator and Comment are this system's own: Label Studio passes over them.
	Annotator string `json:"annotator,omitempty"`
	Comment   string `json:"comment,omitempty"`
}

type wirePrediction struct {
	ModelVersion string   `json:"model_version"`
	Score        *float64 `json:"score,omitempty"`
	Result       []result `json:"result"`
}

// gate lets a decoder read only so far ahead of where it is, so that no task, however
// large the file says it is, fills memory.
type gate struct {
	r           io.Reader
	read, until int64
}

// Read reads up to the bound.
func (g *gate) Read(b []byte) (int, error) {
	if g.read >= g.until {
		return 0, fmt.Errorf("%w: a task has more than %d bytes", ErrTooLarge, TaskBytesMax)
	}
	n, err := g.r.Read(b[:min(int64(len(b)), g.until-g.read)])
	g.read += int64(n)
	return n, err
}

// Read hands the tasks of a file to visit, one after another, until it returns an error. An
// error names the task by its number, from 0, and where in the file it begins.
func Read(r io.Reader, c Config, visit func(*Item) error) error {
	g := &gate{r: r, until: TaskBytesMax}
	d := json.NewDecoder(g)
	inArray := false
	for n := 0; ; {
		at := d.InputOffset()
		g.until = at + TaskBytesMax
		if inArray && !d.More() {
			if _, err := d.Token(); err != nil {
				return place(n, at, err)
			}
			inArray = false
			continue
		}
		if !inArray {
			first, err := peek(d)
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return place(n, at, err)
			}
			if first == '[' {
				if _, err := d.Token(); err != nil {
					return place(n, at, err)
				}
				inArray = true
				continue
			}
		}
		var w wireTask
		if err := d.Decode(&w); err != nil {
			return place(n, at, err)
		}
		item, err := c.item(&w)
		if err != nil {
			return place(n, at, err)
		}
		if err := visit(item); err != nil {
			return fmt.Errorf("task %d, byte %d: %w", n, at, err)
		}
		n++
	}
}

// peek is the next byte that is no space, which stays in the decoder.
func peek(d *json.Decoder) (byte, error) {
	if !d.More() { // between values it is true unless the input ends or a bracket closes
		if _, err := d.Token(); err != nil {
			return 0, err
		}
		return 0, errors.New("a bracket too many")
	}
	var next [1]byte // More has passed over the spaces before it
	_, err := io.ReadFull(d.Buffered(), next[:])
	return next[0], err
}

func place(n int, at int64, err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("the file is cut off here: %w", io.ErrUnexpectedEOF)
	}
	if errors.Is(err, ErrTooLarge) {
		return fmt.Errorf("task %d, byte %d: %w", n, at, err)
	}
	return fmt.Errorf("%w: task %d, byte %d: %w", ErrFormat, n, at, err)
}

// item is a task as the store takes it.
func (c *Config) item(w *wireTask) (*Item, error) {
	if len(w.Data) == 0 || w.Data[0] != '{' {
		return nil, errors.New("data: want an object")
	}
	item := &Item{Task: labeling.Task{Data: w.Data}}
	var err error
	if item.Task.ID, err = taskID(w); err != nil {
		return nil, err
	}
	text := c.textOf(w.Data)
	for i := range w.Annotations {
		if err := c.annotation(item, &w.Annotations[i], text); err != nil {
			return nil, fmt.Errorf("annotations[%d].%w", i, err)
		}
	}
	if n := len(w.Predictions); n > 0 {
		p := &w.Predictions[n-1]
		guess := &labeling.Prediction{Model: foreignModel, Version: p.ModelVersion}
		if guess.Value, err = c.decode(p.Result, text); err != nil {
			return nil, fmt.Errorf("predictions[%d].%w", n-1, err)
		}
		if p.Score != nil {
			guess.Score = *p.Score
		}
		item.Task.Prediction = guess
	}
	return item, nil
}

// foreignModel is the model of predictions that came with tasks, whose version is all that
// Label Studio names.
const foreignModel = "label-studio"

func taskID(w *wireTask) (string, error) {
	var meta struct {
		ID string `json:"millrace_id"`
	}
	if len(w.Meta) > 0 && json.Unmarshal(w.Meta, &meta) == nil && meta.ID != "" {
		return meta.ID, nil
	}
	if id := strings.Trim(string(w.ID), `"`); id != "" && id != "null" {
		if len(id) > 64 {
			return "", fmt.Errorf("id: %d characters, at most 64 are taken", len(id))
		}
		return "ls-" + id, nil
	}
	sum := sha256.Sum256(w.Data)
	return hex.EncodeToString(sum[:16]), nil
}

func (c *Config) annotation(item *Item, w *wireAnnotation, text string) error {
	a := labeling.Imported{Submission: labeling.Submission{Task: item.Task.ID, Annotator: w.Annotator, Comment: w.Comment}, Skip: w.WasCancelled}
	var err error
	if a.Annotator == "" {
		a.Annotator, err = annotator(w.CompletedBy)
	}
	if err != nil {
		return err
	}
	if w.ID != 0 && a.Comment == "" {
		a.Comment = Comment(w.ID)
	}
	if w.CreatedAt != "" {
		if a.At, err = time.Parse(time.RFC3339, w.CreatedAt); err != nil {
			return fmt.Errorf("created_at: %w", err)
		}
	}
	if w.LeadTime != nil && *w.LeadTime > 0 {
		a.Lead = time.Duration(min(*w.LeadTime, labeling.LeadMax.Seconds()) * float64(time.Second))
	}
	if !w.WasCancelled {
		if a.Value, err = c.decode(w.Result, text); err != nil {
			return err
		}
	}
	if w.GroundTruth && !w.WasCancelled {
		item.Task.Gold = &a.Value
		item.Starred = append(item.Starred, a)
		return nil
	}
	item.Annotations = append(item.Annotations, a)
	return nil
}

// annotator is who made an annotation: a number, or an object with a number, a mail address
// or both. The number comes first, since webhooks and most exports have nothing else, and
// nobody shall count as two people.
func annotator(by json.RawMessage) (string, error) {
	if len(by) == 0 || string(by) == "null" {
		return "label-studio", nil
	}
	var person struct {
		ID    json.Number `json:"id"`
		Email string      `json:"email"`
	}
	if by[0] == '{' {
		if err := json.Unmarshal(by, &person); err != nil {
			return "", fmt.Errorf("completed_by: %w", err)
		}
		if person.ID == "" && person.Email != "" {
			return person.Email, nil
		}
	} else if err := json.Unmarshal(by, &person.ID); err != nil {
		return "", fmt.Errorf("completed_by: want a number or an object: %w", err)
	}
	return "ls-" + person.ID.String(), nil
}

// Imported sums an import up.
type Imported struct {
	// Tasks were in the file; Added says which were new.
	Tasks int
	Added labeling.Added
	// Annotations were taken, skips among them.
	Annotations int
}

// importChunk is how many tasks are stored together.
const importChunk = 200

// Import adds the tasks and annotations of a file to a project, whose labels must be those
// of the configuration. What is before an error is stored, and importing the file again,
// corrected, passes over it.
func Import(ctx context.Context, s *labeling.Store, project string, r io.Reader, c Config) (sum Imported, err error) {
	p, err := s.Project(project)
	if err != nil {
		return sum, err
	}
	if err := c.fits(&p); err != nil {
		return sum, err
	}
	var tasks []labeling.Task
	var annotations, starred []labeling.Imported
	held := 0
	flush := func() error {
		added, err := s.Add(ctx, project, tasks)
		sum.Added.New, sum.Added.Same = sum.Added.New+added.New, sum.Added.Same+added.Same
		if err == nil {
			annotations, err = withStarred(s, annotations, starred)
		}
		if err == nil {
			var n int
			n, err = s.Import(ctx, annotations)
			sum.Annotations += n
		}
		if err != nil {
			err = fmt.Errorf("the %d tasks up to here: %w", len(tasks), err)
		}
		tasks, annotations, starred, held = tasks[:0], annotations[:0], starred[:0], 0
		return err
	}
	err = Read(r, c, func(item *Item) error {
		sum.Tasks++
		tasks = append(tasks, item.Task)
		now := s.Now()
		taken := func(to, all []labeling.Imported) []labeling.Imported {
			for _, a := range all {
				if a.Project = project; a.At.After(now) {
					a.At = time.Time{} // by another clock: it counts from now on
				}
				to = append(to, a)
			}
			return to
		}
		annotations, starred = taken(annotations, item.Annotations), taken(starred, item.Starred)
		if held += len(item.Task.Data) + 500*(len(item.Annotations)+len(item.Starred)); len(tasks) < importChunk && held < TaskBytesMax {
			return nil
		}
		return flush()
	})
	if len(tasks) > 0 && (err == nil || ctx.Err() == nil) {
		err = errors.Join(err, flush())
	}
	return sum, err
}

// withStarred adds the annotations that are marked as ground truth to the others, but for
// those of tasks that are gold here.
func withStarred(s *labeling.Store, all, starred []labeling.Imported) ([]labeling.Imported, error) {
	for _, a := range starred {
		v, err := s.Task(a.Project, a.Task)
		if err != nil {
			return all, err
		}
		if v.Task.Gold == nil {
			all = append(all, a)
		}
	}
	return all, nil
}
