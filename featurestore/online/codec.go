// SPDX-License-Identifier: Apache-2.0

package online

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// The byte maps of keys and values are in the package comment.
const (
	keyMeta       = 'm'
	keyEntity     = 'e'
	keyHeadBytes  = 5
	entityVersion = 1
	entityHead    = 1 + 8
	rowHead       = 3 * 8
	storedVersion = 1
)

// entity is what a slot holds besides its key.
type entity struct {
	applied uint64
	state   window.State
	row     row
}

// appendEntity appends the stored form of an entity.
func (t *table) appendEntity(dst []byte, slot int) ([]byte, error) {
	dst = append(dst, entityVersion)
	dst = binary.LittleEndian.AppendUint64(dst, t.head(slot).applied)
	if !t.lookup {
		return t.state(slot).AppendBinary(dst)
	}
	r := t.row(slot)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.time))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.arrival))
	dst = binary.LittleEndian.AppendUint64(dst, r.id)
	return append(dst, r.value...), nil
}

// decode makes an entity of its stored form, which it takes over.
func (l *Local) decode(table int, key, value []byte) (e entity, err error) {
	t := &l.options.Tables[table]
	if len(value) < entityHead || value[0] != entityVersion {
		return e, l.tableError(table, key, fmt.Errorf("%w: no state of version %d", ErrCorrupt, entityVersion))
	}
	e.applied = binary.LittleEndian.Uint64(value[1:])
	b := value[entityHead:]
	if t.View != nil {
		if err := t.View.Window.Decode(&e.state, b); err != nil {
			return e, l.tableError(table, key, fmt.Errorf("%w: %w", ErrCorrupt, err))
		}
		return e, nil
	}
	if len(b) < rowHead {
		return e, l.tableError(table, key, fmt.Errorf("%w: a row of %d bytes", ErrCorrupt, len(b)))
	}
	e.row = row{
		time:    int64(binary.LittleEndian.Uint64(b)),
		arrival: int64(binary.LittleEndian.Uint64(b[8:])),
		id:      binary.LittleEndian.Uint64(b[16:]),
		value:   b[rowHead:len(b):len(b)],
	}
	return e, nil
}

// put adds an entity that is not there.
func (t *table) put(hash uint64, key []byte, e *entity) int {
	slot := t.insert(hash, key)
	t.head(slot).applied = e.applied
	if t.lookup {
		*t.row(slot) = e.row
	} else {
		*t.state(slot) = e.state // moved
	}
	t.bytes += t.contentBytes(slot)
	c, bit := t.mark(slot)
	c.recent.Or(bit)
	return slot
}

// appendDiskKey appends the key under which an entity is stored.
func appendDiskKey(dst []byte, id uint32, key []byte) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, keyEntity), id)
	return append(dst, key...)
}

// stored is the meta record: what is known of the whole.
type stored struct {
	// Version is that of the format.
	Version int `json:"version"`
	// ReplayFrom: all records up to it are in the states.
	ReplayFrom uint64 `json:"replay_from"`
	// NextID is the next table id to be given; none is given twice.
	NextID uint32        `json:"next_id"`
	Tables []storedTable `json:"tables"`
}

type storedTable struct {
	ID          uint32 `json:"id"`
	Name        string `json:"name"`
	Fingerprint []byte `json:"fingerprint"`
	// Rebuilding says that it is being computed anew and has not all of its events.
	Rebuilding bool `json:"rebuilding,omitempty"`
	// Entities is about how many there are, to make room for them.
	Entities int64 `json:"entities"`
}

func (s *stored) table(name string) *storedTable {
	for i := range s.Tables {
		if s.Tables[i].Name == name {
			return &s.Tables[i]
		}
	}
	return nil
}

func parseStored(b []byte) (*stored, error) {
	s := &stored{}
	if err := json.Unmarshal(b, s); err != nil {
		return nil, fmt.Errorf("%w: the meta record: %w", ErrCorrupt, err)
	}
	if s.Version != storedVersion {
		return nil, fmt.Errorf("%w: they have version %d, this program reads %d", ErrVersion, s.Version, storedVersion)
	}
	return s, nil
}

// storedName tells a view from a lookup of the same name.
func storedName(t *plan.Table) string {
	if t.View != nil {
		return "view " + t.Name
	}
	return "lookup " + t.Name
}

func entitiesOf(t *plan.Table) []*definition.Entity {
	if t.View != nil {
		return t.View.Entities
	}
	return t.Lookup.Entities
}

// ownFingerprint is that of the definition.
func (o *Options) ownFingerprint(table int) [16]byte {
	if t := &o.Tables[table]; t.View != nil {
		return t.View.Fingerprint()
	}
	return o.Tables[table].Lookup.Fingerprint()
}
