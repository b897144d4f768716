// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"bytes"
	"fmt"

	"github.com/redis/rueidis"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/online/cache"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

// entity is what the writer knows of an entity.
type entity struct {
	key           string // in Redis
	name          string // its key in the table, which ends that
	bucket, table int
	value         value
	// version is the one in Redis that value was made from, if loaded is set; zero for
	// none.
	version cache.Version
	loaded  bool
	// stored is the size of what is in Redis, 0 if that is nothing or not known; writing that
	// of what is sent.
	stored, writing int
	// tasks are to be applied. applied says that value has them, but Redis may not.
	tasks   []task
	applied bool
	err     error // why the tasks could not be applied
	group   uint64
	size    int
	// newer and older are its neighbours in the order of use.
	newer, older *entity
}

// task is an update of an entity.
type task struct {
	update   *plan.Update
	event    *Event // nil for one of an earlier group
	outcome  int    // place in event.Outcomes
	sequence uint64
	// tried says that it was in a write of the entity, and in all since; first is the count
	// of that one.
	tried bool
	first uint64
}

// take makes an answer the entity's value. Errors wrap online.ErrCorrupt.
func (e *entity) take(t *table, m *rueidis.RedisMessage) error {
	e.value, e.version, e.loaded, e.applied, e.stored = value{}, cache.Version{}, false, false, 0
	switch {
	case m.IsNil():
	case m.IsInt64():
		return fmt.Errorf("%w: it is no string", online.ErrCorrupt)
	default:
		stored, err := m.AsBytes()
		if err != nil {
			return fmt.Errorf("%w: %w", online.ErrCorrupt, err)
		}
		if err := e.value.decode(t, bytes.Clone(stored)); err != nil { // updates write into it
			return err
		}
		e.version, e.stored = e.value.version(), len(stored)
	}
	e.loaded = true
	return nil
}

// settle drops the tasks that the value just taken has: those of the last write of the
// owner that was carried out, which may be one without an answer.
func (e *entity) settle(owner uint64) {
	m := e.value.find(owner)
	if m == nil || m.owner != owner {
		return
	}
	left := e.tasks[:0]
	for _, t := range e.tasks {
		if !t.tried || m.count-t.first >= 1<<63 { // counts wrap around
			left = append(left, t)
		}
	}
	clear(e.tasks[len(left):])
	e.tasks = left
}

// use is the order in which entities were used; the zero value is empty.
type use struct {
	newest, oldest *entity
	bytes          int64
}

func (u *use) remove(e *entity) {
	if e.newer != nil {
		e.newer.older = e.older
	} else {
		u.newest = e.older
	}
	if e.older != nil {
		e.older.newer = e.newer
	} else {
		u.oldest = e.newer
	}
	e.newer, e.older = nil, nil
	u.bytes -= int64(e.size)
}

func (u *use) add(e *entity) {
	e.size = entityBytes + len(e.key) + e.value.bytes()
	e.older = u.newest
	if u.newest != nil {
		u.newest.newer = e
	}
	u.newest = e
	if u.oldest == nil {
		u.oldest = e
	}
	u.bytes += int64(e.size)
}

// entityBytes is an entity without what it refers to, and its place in the map.
const entityBytes = 256
