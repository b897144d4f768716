// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// model is the store, slow and obvious: lists that are searched from the start.
type model struct {
	p     Project
	tasks []*modelTask
	clock int // counts events, as sequences do
	seed  uint64
}

type modelTask struct {
	id       string
	priority float64
	gold     bool
	said     map[string]modelAnswer // by annotator
	leases   map[string]modelLease
	had      map[string]bool // who ever had it
	review   string
	reviewer map[string]modelLease // at most one
}

type modelAnswer struct {
	kind, value string
	at          int
}

type modelLease struct {
	at      int
	expires time.Time
}

func (m *model) tick() int { m.clock++; return m.clock }

func (m *model) expire(now time.Time) {
	for _, t := range m.tasks {
		for _, leases := range []map[string]modelLease{t.leases, t.reviewer} {
			for who, l := range leases {
				if !l.expires.After(now) {
					delete(leases, who)
				}
			}
		}
	}
}

func (m *model) status(t *modelTask) Status {
	counts, n, skips := map[string]int{}, 0, 0
	for _, a := range t.said {
		switch a.kind {
		case KindAnnotation:
			counts[a.value]++
			n++
		case KindSkip:
			skips++
		}
	}
	switch {
	case t.gold:
		return StatusGold
	case t.review != "":
		return StatusDone
	case n >= m.p.Overlap:
		for _, c := range counts {
			if 2*c > n {
				return StatusDone
			}
		}
		return StatusReview
	case skips >= m.p.SkipsMax:
		return StatusReview
	}
	return StatusOpen
}

func (m *model) free(t *modelTask) bool {
	n := len(t.leases)
	for _, a := range t.said {
		if a.kind == KindAnnotation {
			n++
		}
	}
	return m.status(t) == StatusOpen && n < m.p.Overlap
}

func (m *model) held(who string) []*modelTask {
	var all []*modelTask
	for _, t := range m.tasks {
		if _, has := t.leases[who]; has {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *modelTask) int { return cmp.Compare(a.leases[who].at, b.leases[who].at) })
	return all
}

// next finds the task that somebody should get.
func (m *model) next(who string) *modelTask {
	var best, postponed, gold *modelTask
	history := len(m.held(who))
	for _, t := range m.tasks {
		a, said := t.said[who]
		if said {
			history++
		}
		if _, has := t.leases[who]; has {
			continue
		}
		switch {
		case said && a.kind == KindPostpone && (m.free(t) || t.gold):
			if postponed == nil || a.at < postponed.said[who].at {
				postponed = t
			}
		case said:
		case t.gold:
			if gold == nil {
				gold = t
			}
		case m.free(t) && (best == nil || t.priority > best.priority):
			best = t
		}
	}
	switch {
	case best != nil && gold != nil && goldTurn(m.seed, m.p.Name, who, history, m.p.GoldShare):
		return gold
	case best != nil:
		return best
	}
	return postponed
}

func (m *model) lease(who string, count int, now time.Time) []string {
	m.expire(now)
	for len(m.held(who)) < count {
		t := m.next(who)
		if t == nil {
			break
		}
		t.leases[who] = modelLease{m.tick(), now.Add(m.p.Lease)}
		t.had[who] = true
	}
	out := []string{}
	for _, t := range m.held(who) {
		if len(out) < count {
			out = append(out, t.id)
		}
	}
	return out
}

func (m *model) leaseReview(who string, now time.Time) []string {
	m.expire(now)
	var best *modelTask
	for _, t := range m.tasks {
		if _, has := t.reviewer[who]; has {
			return []string{t.id}
		}
		if m.status(t) == StatusReview && len(t.reviewer) == 0 && (best == nil || t.priority > best.priority) {
			best = t
		}
	}
	if best == nil {
		return []string{}
	}
	best.reviewer[who] = modelLease{m.tick(), now.Add(m.p.Lease)}
	return []string{best.id}
}

// tell takes an answer, and says whether it was allowed.
func (m *model) tell(t *modelTask, who, kind, value string, now time.Time) bool {
	m.expire(now)
	a, said := t.said[who]
	if !t.had[who] {
		return false
	}
	_, has := t.leases[who]
	if said && !has && a.kind == kind && a.value == value {
		return true
	}
	delete(t.leases, who)
	t.said[who] = modelAnswer{kind, value, m.tick()}
	return true
}

func (m *model) undo(who string, now time.Time) string {
	m.expire(now)
	var last *modelTask
	for _, t := range m.tasks {
		if a, said := t.said[who]; said && (last == nil || a.at > last.said[who].at) {
			last = t
		}
	}
	if last == nil {
		return ""
	}
	delete(last.said, who)
	delete(last.leases, who)
	m.tick()
	if (last.gold || m.free(last)) && len(m.held(who)) < HeldMax {
		last.leases[who] = modelLease{m.tick(), now.Add(m.p.Lease)}
	}
	return last.id
}

func (m *model) review(t *modelTask, who, value string, now time.Time) bool {
	m.expire(now)
	for other := range t.reviewer {
		if other != who {
			return false
		}
	}
	if t.gold {
		return false
	}
	t.review = value
	delete(t.reviewer, who)
	return true
}

// history drives a store and its model through the same random things.
type history struct {
	t     *testing.T
	r     *rand.Rand
	clock *clock
	dir   string
	log   *offline.Log
	s     *Store
	m     *model
	steps []string
}

func (h *history) note(format string, args ...any) {
	h.steps = append(h.steps, fmt.Sprintf(format, args...))
}

func (h *history) fatal(format string, args ...any) {
	h.t.Helper()
	h.t.Fatalf("%s\nafter:\n%s", fmt.Sprintf(format, args...), strings.Join(h.steps, "\n"))
}

func (h *history) add(n int) {
	var tasks []Task
	for range n {
		id := fmt.Sprintf("t%03d", len(h.m.tasks))
		task := Task{ID: id, Data: []byte(`{"n":1}`), Suggestion: Suggestion{Priority: float64(h.r.IntN(3))}}
		if h.r.IntN(6) == 0 {
			gold := Choose("red")
			task.Gold = &gold
		}
		tasks = append(tasks, task)
		h.m.tasks = append(h.m.tasks, &modelTask{id: id, priority: task.Priority, gold: task.Gold != nil,
			said: map[string]modelAnswer{}, leases: map[string]modelLease{}, had: map[string]bool{}, reviewer: map[string]modelLease{}})
	}
	if _, err := h.s.Add(h.t.Context(), "colors", tasks); err != nil {
		h.fatal("add: %v", err)
	}
}

// restart opens the log again: closed in order, or as a kill leaves it, compacted or not.
func (h *history) restart(ctx context.Context) {
	if h.r.IntN(2) == 0 {
		if err := h.log.Compact(ctx); err != nil {
			h.fatal("compact: %v", err)
		}
	}
	if h.r.IntN(2) == 0 {
		h.note("kill")
		h.dir = copyDir(h.t, h.dir)
	} else {
		h.note("close")
	}
	if err := h.log.Close(); err != nil {
		h.fatal("close: %v", err)
	}
	h.log = openLog(h.t, h.dir, h.clock)
	h.s = openStore(h.t, h.log, h.clock)
}

func (h *history) step(ctx context.Context) {
	who := fmt.Sprintf("ann%d", h.r.IntN(4))
	now := h.clock.now()
	task := h.m.tasks[h.r.IntN(len(h.m.tasks))]
	if held := h.m.held(who); len(held) > 0 && h.r.IntN(4) > 0 {
		task = held[h.r.IntN(len(held))]
	}
	value := []string{"red", "green", "blue"}[h.r.IntN(3)]
	switch k := h.r.IntN(24); {
	case k < 6:
		count := 1 + h.r.IntN(3)
		got, err := h.s.Lease(ctx, "colors", who, count)
		h.note("%s leases %d: %v %v", who, count, ids(got), err)
		if want := h.m.lease(who, count, now); err != nil || !reflect.DeepEqual(ids(got), want) {
			h.fatal("want %v", want)
		}
	case k < 13:
		kind := []string{KindAnnotation, KindAnnotation, KindAnnotation, KindSkip, KindPostpone}[h.r.IntN(5)]
		h.tell(ctx, task, who, kind, value)
	case k < 16:
		got, err := h.s.Undo(ctx, "colors", who, "")
		h.note("%s undoes: %q %v", who, got.Task.ID, err)
		if want := h.m.undo(who, now); want != got.Task.ID || (want == "") != errors.Is(err, ErrNothing) {
			h.fatal("want %q", want)
		}
	case k < 17:
		got, err := h.s.LeaseReview(ctx, "colors", who, 1)
		h.note("%s leases a review: %v %v", who, ids(got), err)
		if want := h.m.leaseReview(who, now); err != nil || !reflect.DeepEqual(ids(got), want) {
			h.fatal("want %v", want)
		}
	case k < 18:
		_, err := h.s.Review(ctx, Submission{Project: "colors", Task: task.id, Annotator: who, Value: Choose(value)})
		h.note("%s reviews %s: %v", who, task.id, err)
		if h.m.review(task, who, value, now) != (err == nil) || err != nil && !errors.Is(err, ErrConflict) {
			h.fatal("review")
		}
	case k < 19:
		priority := float64(h.r.IntN(5))
		h.note("%s has priority %v", task.id, priority)
		if err := h.s.Suggest(ctx, "colors", map[string]Suggestion{task.id: {Priority: priority}}); err != nil {
			h.fatal("suggest: %v", err)
		}
		task.priority = priority
	case k < 20:
		h.note("add")
		h.add(1 + h.r.IntN(2))
	case k < 21:
		h.restart(ctx)
	default:
		d := time.Duration(h.r.IntN(300)) * time.Second
		h.note("%v pass", d)
		h.clock.advance(d)
	}
}

func (h *history) tell(ctx context.Context, task *modelTask, who, kind, value string) {
	var err error
	switch kind {
	case KindAnnotation:
		_, err = h.s.Submit(ctx, Submission{Project: "colors", Task: task.id, Annotator: who, Value: Choose(value)})
	case KindSkip:
		_, err = h.s.Skip(ctx, "colors", task.id, who, "")
	default:
		_, err = h.s.Postpone(ctx, "colors", task.id, who)
	}
	h.note("%s says %s %s of %s: %v", who, kind, value, task.id, err)
	if kind != KindAnnotation {
		value = ""
	}
	if h.m.tell(task, who, kind, value, h.clock.now()) != (err == nil) || err != nil && !errors.Is(err, ErrNotLeased) {
		h.fatal("tell")
	}
}

// check compares all there is.
func (h *history) check() {
	h.m.expire(h.clock.now())
	counts := map[Status]int{}
	for _, m := range h.m.tasks {
		got, err := h.s.Task("colors", m.id)
		if err != nil {
			h.fatal("task: %v", err)
		}
		want := h.m.status(m)
		counts[want]++
		if got.Status != want || len(got.Annotations) != len(m.said)+min(1, len(m.review)) || len(got.Leases) != len(h.leasesOf(m)) {
			h.fatal("task %s is %+v, want %s and %+v", m.id, got, want, m)
		}
		for _, a := range got.Annotations {
			if said := m.said[a.Annotator]; a.Kind != KindReview && (said.kind != a.Kind || said.value != strings.Join(a.Value.Choices, "")) {
				h.fatal("task %s: %s says %+v, want %+v", m.id, a.Annotator, a, said)
			}
		}
		if len(m.leases) > h.m.p.Overlap && !m.gold {
			h.fatal("task %s has %d leases", m.id, len(m.leases))
		}
	}
	c := must(h.s.Counts("colors"))(h.t)
	if c.Open != counts[StatusOpen] || c.Review != counts[StatusReview] || c.Done != counts[StatusDone] || c.Gold != counts[StatusGold] {
		h.fatal("counts are %+v, want %v", c, counts)
	}
}

func (h *history) leasesOf(m *modelTask) map[string]bool {
	all := map[string]bool{}
	for _, leases := range []map[string]modelLease{m.leases, m.reviewer} {
		for who := range leases {
			all[who] = true
		}
	}
	return all
}

// TestAgainstModel lives random histories in the store and in a slow and obvious one: they
// hand out the same tasks and know the same, whenever the process ends (A1, A2, A4 to A6).
func TestAgainstModel(t *testing.T) {
	histories := 24
	if testing.Short() {
		histories = 6
	}
	for seed := range uint64(histories) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel() // they wait for the disk most of the time
			live(t, seed)
		})
	}
}

func live(t *testing.T, seed uint64) {
	c := newClock()
	h := &history{t: t, r: rand.New(rand.NewPCG(seed, 1)), clock: c, dir: t.TempDir(), m: &model{seed: 7}}
	h.log = openLog(t, h.dir, c)
	h.s = openStore(t, h.log, c)
	h.m.p = colors()
	h.m.p.Overlap, h.m.p.SkipsMax, h.m.p.GoldShare = 1+int(seed%3), 1+h.r.IntN(3), 0.3
	h.m.p.EnsureDefaults()
	define(t, h.s, h.m.p)
	h.note("overlap %d, skips %d", h.m.p.Overlap, h.m.p.SkipsMax)
	h.add(6)
	for i := range 150 {
		h.step(t.Context())
		if i%5 == 0 {
			h.check()
		}
	}
	h.check()
}
