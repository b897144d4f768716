// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"bytes"
	"container/list"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// Options is how a store is kept.
type Options struct {
	// Log is where everything is stored. It must be given, and stays the caller's to close,
	// after the last call of the store.
	Log *offline.Log
	// Now is the clock of what is labelled, which may be that of a simulation; nil is the
	// machine's.
	Now func() time.Time
	// LeaseNow is the clock of leases. People take as long as they take, however fast
	// simulated time runs: where Now is simulated, it is the machine's. Nil is Now.
	LeaseNow func() time.Time
	// Seed decides when gold tasks come. Keep it the same for a log.
	Seed uint64

	// ProjectsMax bounds the projects: 0 is 256.
	ProjectsMax int
	// TasksMax bounds the tasks of all projects: 0 is 1<<20.
	TasksMax int
	// PeopleMax bounds the annotators, and the reviewers, of a project: 0 is 1000.
	PeopleMax int
	// BytesMax bounds tasks and annotations in memory, about: 0 is 1 GiB.
	BytesMax int64
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LeaseNow == nil {
		o.LeaseNow = o.Now
	}
	if o.ProjectsMax == 0 {
		o.ProjectsMax = 256
	}
	if o.TasksMax == 0 {
		o.TasksMax = 1 << 20
	}
	if o.PeopleMax == 0 {
		o.PeopleMax = 1000
	}
	if o.BytesMax == 0 {
		o.BytesMax = 1 << 30
	}
}

// Validate reports everything that is wrong, after EnsureDefaults. The error wraps
// ErrInvalid.
func (o *Options) Validate() error {
	var problems []error
	if o.Log == nil {
		problems = append(problems, errors.New("log: none given"))
	}
	if o.ProjectsMax < 0 || o.TasksMax < 0 || o.PeopleMax < 0 || o.BytesMax < 0 {
		problems = append(problems, errors.New("bounds must not be negative"))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w options: %w", ErrInvalid, err)
	}
	return nil
}

// Store is the labelling of all projects of a log. Two stores must not share a log.
type Store struct {
	o         Options
	streams   map[string]*offline.Stream
	recovered Recovered
	mu        struct {
		sync.Mutex
		projects map[string]*project
		tasks    int
		bytes    int64
		leases   leases
		// changed has the tasks whose final value may have changed since TakeChanged; it is
		// bounded by TasksMax. head is the next to take.
		changed []*task
		head    int
	}
}

// Recovered is what Open found in the log.
type Recovered struct {
	Projects, Tasks, Annotations, Leases int
	// Orphans are events whose task or project the log no longer has, as after its
	// retention took it.
	Orphans int
}

// project is the state of a project; Store.mu guards it and all it refers to.
type project struct {
	Project
	seq       uint64
	tasks     map[string]*task
	order     []*task // as they were added
	golds     []*task
	open      queue // tasks that somebody can be handed
	reviews   queue // tasks that wait for a reviewer
	people    map[string]*person
	reviewers map[string]*person
	counts    map[Status]int
}

// person is somebody in one role of a project.
type person struct {
	name      string
	held      []*entry   // active leases, oldest first
	history   *list.List // entries with an answer, newest last
	postponed *list.List // entries, oldest first
	// cursor is where to look for the next task: before it in the queue is none that the
	// person may have.
	cursor place
}

// task is a task with what people said.
type task struct {
	Task
	// marked says that the task waits in Store.mu.changed.
	marked  bool
	p       *project
	seq     uint64 // of the event that added it
	guess   uint64 // sequence of the suggestion that counts
	entries map[string]*entry
	review  *entry
	status  Status
	final   *Value
	queued  *queue // the queue it is in, with the place it has there
	place   place
}

// entry is what one person has to do with a task: a lease, an answer, or both.
type entry struct {
	t      *task
	by     *person
	review bool
	answer
	lease struct {
		seq     uint64 // of its event; 0 if there never was one
		expires time.Time
		active  bool
		index   int // in the heap
	}
	inHistory, inPostponed *list.Element
}

// answer is the newest thing that was said; kind is empty if nothing ever was.
type answer struct {
	kind    string
	value   Value
	at      time.Time
	lead    time.Duration
	comment string
	seq     uint64
}

// entryBytes and taskBytes are about what an entry and a task take beside their texts.
const (
	entryBytes = 400
	taskBytes  = 600
)

// Open reads the state of a log. The log must outlive the store.
func Open(ctx context.Context, o Options) (*Store, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &Store{o: o}
	s.mu.projects = map[string]*project{}
	if err := s.declare(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.rebuild(ctx); err != nil {
		return nil, fmt.Errorf("labelling: %w", err)
	}
	return s, nil
}

// Recovered says what was in the log when it was opened.
func (s *Store) Recovered() Recovered { return s.recovered }

// Now is the store's time, simulated in a replay.
func (s *Store) Now() time.Time { return s.now() }

// now is the time in the precision of the log, so that a state read back is the same.
func (s *Store) now() time.Time { return time.UnixMicro(s.o.Now().UnixMicro()).UTC() }

// leaseNow is the same by the clock of leases.
func (s *Store) leaseNow() time.Time { return time.UnixMicro(s.o.LeaseNow().UnixMicro()).UTC() }

// project finds a project; s.mu must be held.
func (s *Store) project(name string) (*project, error) {
	p := s.mu.projects[name]
	if p == nil {
		return nil, fmt.Errorf("%w %.80q", ErrUnknownProject, name)
	}
	return p, nil
}

// find finds a task; s.mu must be held.
func (s *Store) find(projectName, id string) (*task, error) {
	p, err := s.project(projectName)
	if err != nil {
		return nil, err
	}
	t := p.tasks[id]
	if t == nil {
		return nil, fmt.Errorf("%w %.150q of project %q", ErrUnknownTask, id, projectName)
	}
	return t, nil
}

// Define makes a project, or changes what it is. What people said stays: a label set of a
// project with tasks may only grow (else ErrConflict).
func (s *Store) Define(ctx context.Context, definition Project) error {
	definition.EnsureDefaults()
	if err := definition.Validate(); err != nil {
		return err
	}
	definition.Labels.Labels = slices.Clone(definition.Labels.Labels)
	seq, err := s.define(ctx, &definition)
	if err != nil {
		return err
	}
	return s.durable(ctx, seq)
}

func (s *Store) define(ctx context.Context, definition *Project) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.expire()
	p := s.mu.projects[definition.Name]
	if p == nil && len(s.mu.projects) >= s.o.ProjectsMax {
		return 0, fmt.Errorf("%w: there are %d projects", ErrFull, len(s.mu.projects))
	}
	if p != nil && len(p.order) > 0 {
		if err := definition.compatible(&p.Project); err != nil {
			return 0, err
		}
	}
	if p != nil && reflect.DeepEqual(p.Project, *definition) {
		return p.seq, nil // no new version of what is the same
	}
	seq, err := s.appendProject(ctx, definition, now)
	if err != nil {
		return 0, err
	}
	if p == nil {
		p = s.newProject(definition.Name)
	}
	p.Project, p.seq = *definition, seq
	for _, t := range p.order {
		s.refresh(t)
	}
	return seq, nil
}

func (s *Store) newProject(name string) *project {
	p := &project{Project: Project{Name: name}, tasks: map[string]*task{}, people: map[string]*person{},
		reviewers: map[string]*person{}, counts: map[Status]int{}}
	s.mu.projects[name] = p
	return p
}

// Projects are the definitions, by name.
func (s *Store) Projects() []Project {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Project, 0, len(s.mu.projects))
	for _, p := range s.mu.projects {
		all = append(all, p.Project)
	}
	slices.SortFunc(all, func(a, b Project) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Project is the definition of one; ErrUnknownProject if there is none.
func (s *Store) Project(name string) (Project, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.project(name)
	if err != nil {
		return Project{}, err
	}
	return p.Project, nil
}

// Added counts what Add did.
type Added struct {
	// New tasks were added; Same ones were there already, with the same data.
	New, Same int
}

// chunkBytes is how much goes to the log's queue before a method that stores many things
// waits for the disk, so that it fits beside what others store.
const chunkBytes = 2 << 20

// Add adds tasks. All are checked before the first is added: an error names the place,
// as tasks[3]: data. A task that is there with the same data is passed over, with other
// data it is ErrConflict. A crash or ErrFull in the middle leaves the first ones, so adding
// the same again goes on.
func (s *Store) Add(ctx context.Context, projectName string, tasks []Task) (Added, error) {
	var added Added
	definition, err := s.Project(projectName)
	if err != nil {
		return added, err
	}
	checked := slices.Clone(tasks)
	for i := range checked {
		if err := checked[i].check(&definition); err != nil {
			return added, fmt.Errorf("%w: tasks[%d]: %w", ErrInvalid, i, err)
		}
	}
	if err := s.conflicts(projectName, checked); err != nil {
		return added, err
	}
	for done := 0; done < len(checked); {
		n, seq, err := s.addChunk(ctx, projectName, checked[done:], &added)
		if err := errors.Join(err, s.durable(ctx, seq)); err != nil {
			return added, fmt.Errorf("tasks[%d]: %w", done+n, err)
		}
		done += n
	}
	return added, nil
}

func (s *Store) conflicts(projectName string, tasks []Task) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, err := s.project(projectName)
	if err != nil {
		return err
	}
	for i := range tasks {
		if there := p.tasks[tasks[i].ID]; there != nil && !sameData(there.Data, tasks[i].Data) {
			return fmt.Errorf("%w: tasks[%d]: task %q is there with other data", ErrConflict, i, tasks[i].ID)
		}
	}
	return nil
}

// sameData compares data by what it says: other systems change white space, the order of
// fields, and how characters and numbers are written.
func sameData(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	x, errX := plainJSON(a)
	y, errY := plainJSON(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// plainJSON is data in one form. Numbers become that of 64 bits that is nearest, as they
// do in other systems; whole ones stay exact.
func plainJSON(data json.RawMessage) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	return json.Marshal(plainNumbers(v))
}

func plainNumbers(v any) any {
	switch x := v.(type) {
	case map[string]any:
		for name, inner := range x {
			x[name] = plainNumbers(inner)
		}
	case []any:
		for i, inner := range x {
			x[i] = plainNumbers(inner)
		}
	case json.Number:
		if _, err := x.Int64(); err == nil {
			return x
		}
		if f, err := x.Float64(); err == nil {
			return f
		}
	}
	return v
}

// addChunk adds the first of the tasks, and says how many and the sequence to wait for.
func (s *Store) addChunk(ctx context.Context, projectName string, tasks []Task, added *Added) (n int, seq uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.expire()
	p := s.mu.projects[projectName] // projects never go
	for size := 0; n < len(tasks) && size < chunkBytes; n++ {
		t := &tasks[n]
		size += len(t.Data)
		if there := p.tasks[t.ID]; there != nil {
			if !sameData(there.Data, t.Data) {
				return n, seq, fmt.Errorf("%w: task %q is given twice, with other data", ErrConflict, t.ID)
			}
			added.Same++
			seq = max(seq, there.seq)
			continue
		}
		last, err := s.addOne(ctx, p, t, now)
		if err != nil {
			return n, seq, err
		}
		added.New++
		seq = max(seq, last)
	}
	return n, seq, nil
}

// addOne stores a checked task; s.mu must be held.
func (s *Store) addOne(ctx context.Context, p *project, t *Task, now time.Time) (uint64, error) {
	size := t.bytes()
	switch {
	case s.mu.tasks >= s.o.TasksMax:
		return 0, fmt.Errorf("%w: there are %d tasks", ErrFull, s.mu.tasks)
	case s.mu.bytes+size > s.o.BytesMax:
		return 0, fmt.Errorf("%w: tasks and annotations take %d bytes", ErrFull, s.mu.bytes)
	case t.Gold != nil && len(p.golds) >= GoldMax:
		return 0, fmt.Errorf("%w: project %q has %d gold tasks", ErrFull, p.Name, len(p.golds))
	}
	if t.At.IsZero() {
		t.At = now
	}
	t.At = time.UnixMicro(t.At.UnixMicro()).UTC()
	t.Data = bytes.Clone(t.Data)
	seq, err := s.appendTask(ctx, p.Name, t, now)
	if err != nil {
		return 0, err
	}
	s.insert(p, t, seq)
	return seq, nil
}

// insert puts a stored task into the state.
func (s *Store) insert(p *project, stored *Task, seq uint64) {
	t := &task{Task: *stored, p: p, seq: seq, guess: seq}
	p.tasks[t.ID] = t
	p.order = append(p.order, t)
	if t.Gold != nil {
		p.golds = append(p.golds, t)
	}
	s.mu.tasks++
	s.mu.bytes += t.bytes()
	s.refresh(t)
}

// SuggestMax is the largest number of suggestions of one call.
const SuggestMax = 10_000

// Suggest gives tasks new priorities, reasons and predictions, by task id; what is not
// in a suggestion is gone. Nothing is taken if one of them is wrong.
func (s *Store) Suggest(ctx context.Context, projectName string, suggestions map[string]Suggestion) error {
	if len(suggestions) > SuggestMax {
		return fmt.Errorf("%w: %d suggestions at once, at most %d are taken", ErrInvalid, len(suggestions), SuggestMax)
	}
	ids := slices.Sorted(maps.Keys(suggestions))
	checked := make([]Suggestion, len(ids))
	for i, id := range ids {
		checked[i] = suggestions[id]
		if err := s.checkSuggestion(projectName, id, &checked[i]); err != nil {
			return err
		}
	}
	for done := 0; done < len(ids); {
		n, seq, err := s.suggestChunk(ctx, projectName, ids[done:], checked[done:])
		if err := errors.Join(err, s.durable(ctx, seq)); err != nil {
			return err
		}
		done += n
	}
	return nil
}

func (s *Store) checkSuggestion(projectName, id string, g *Suggestion) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, err := s.find(projectName, id)
	if err != nil {
		return err
	}
	text, err := taskText(&t.p.Project, t.Data)
	if err == nil {
		err = g.check(&t.p.Project, text)
	}
	if err != nil {
		return fmt.Errorf("%w suggestion for task %q: %w", ErrInvalid, id, err)
	}
	return nil
}

func (s *Store) suggestChunk(ctx context.Context, projectName string, ids []string, suggestions []Suggestion) (n int, seq uint64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	s.expire()
	for size := int64(0); n < len(ids) && size < chunkBytes; n++ {
		t, g := s.mu.projects[projectName].tasks[ids[n]], &suggestions[n]
		more := g.bytes() - t.Suggestion.bytes()
		if s.mu.bytes+more > s.o.BytesMax {
			return n, seq, fmt.Errorf("%w: tasks and annotations take %d bytes", ErrFull, s.mu.bytes)
		}
		if seq, err = s.appendSuggestion(ctx, t, g, now); err != nil {
			return n, seq, err
		}
		size += g.bytes()
		s.mu.bytes += more
		t.Suggestion, t.guess = *g, seq
		s.refresh(t)
	}
	return n, seq, nil
}
