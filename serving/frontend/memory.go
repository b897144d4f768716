// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// memory remembers answers by idempotency key. It is bounded: the oldest go first.
type memory struct {
	shards    [memoryShards]memoryShard
	perShard  int
	forgotten *atomic.Int64
}

const memoryShards = 64

type memoryShard struct {
	mu      sync.Mutex
	entries map[string]*entry
	order   []*entry // a ring, oldest at head
	head    int
}

// entry is a key and its answer, once there is one.
type entry struct {
	key   string
	facts uint64 // hash of the facts
	// done is closed when answer or err is set; both are then fixed.
	done    chan struct{}
	answer  Answer
	err     error
	expires int64 // microseconds on the store's clock
}

// answered is the done of entries that were born with an answer.
var answered = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

func newMemory(keysMax int, forgotten *atomic.Int64) *memory {
	m := &memory{perShard: max(1, keysMax/memoryShards), forgotten: forgotten}
	for i := range m.shards {
		m.shards[i].entries = map[string]*entry{}
	}
	return m
}

func (m *memory) shard(key string) *memoryShard {
	return &m.shards[window.KeyOf(key)%memoryShards]
}

// claim finds a key's entry, or makes one that the caller has to settle.
func (m *memory) claim(key string, facts uint64, now, expires int64) (e *entry, mine bool) {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e = s.entries[key]; e != nil && e.expires > now {
		return e, false
	}
	e = &entry{key: key, facts: facts, done: make(chan struct{}), expires: expires}
	m.insert(s, e, now)
	return e, true
}

// restore puts an answer back that was read from the log.
func (m *memory) restore(key string, facts uint64, now, expires int64, answer Answer) {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	m.insert(s, &entry{key: key, facts: facts, done: answered, expires: expires, answer: answer}, now)
}

// insert adds an entry in place of the oldest where the bound is reached.
func (m *memory) insert(s *memoryShard, e *entry, now int64) {
	s.entries[e.key] = e
	if len(s.order) < m.perShard {
		s.order = append(s.order, e)
		return
	}
	oldest := s.order[s.head]
	if s.entries[oldest.key] == oldest {
		delete(s.entries, oldest.key)
		if oldest.expires > now {
			m.forgotten.Add(1)
		}
	}
	s.order[s.head] = e
	s.head = (s.head + 1) % len(s.order)
}

// settle fixes an entry's answer. An error is forgotten, so that the request may be
// tried again.
func (m *memory) settle(e *entry, answer *Answer, err error) {
	if err != nil {
		e.err = err
		s := m.shard(e.key)
		s.mu.Lock()
		if s.entries[e.key] == e {
			delete(s.entries, e.key)
		}
		s.mu.Unlock()
	} else {
		e.answer = *answer
		e.answer.Reasons = slices.Clone(answer.Reasons)
		e.answer.Values, e.answer.Statuses = slices.Clone(answer.Values), slices.Clone(answer.Statuses)
		e.answer.Contributions = slices.Clone(answer.Contributions)
	}
	close(e.done)
}

// errOwnerGone says that the request that was to settle an entry ended with its client.
var errOwnerGone = errors.New("the client of the first request with this key is gone")

// wait returns the answer of an entry that somebody else settles. After errOwnerGone
// the key is free again.
func (e *entry) wait(ctx context.Context, facts uint64, into *Answer) error {
	if e.facts != facts {
		_, key, _ := strings.Cut(e.key, "\x00") // behind the decision
		return fmt.Errorf("%w: idempotency_key: %.64q was used with other facts", ErrInvalid, key)
	}
	select {
	case <-e.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case e.err == nil:
	case errors.Is(e.err, ErrUnavailable): // may tell of deadlines too, but not the client's
		return e.err
	case errors.Is(e.err, context.Canceled), errors.Is(e.err, context.DeadlineExceeded):
		return errOwnerGone
	default:
		return e.err
	}
	reasons := append(into.Reasons[:0], e.answer.Reasons...)
	*into = e.answer
	into.Reasons, into.Repeated = reasons, true
	return nil
}

func (m *memory) len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += len(s.entries)
		s.mu.Unlock()
	}
	return n
}
