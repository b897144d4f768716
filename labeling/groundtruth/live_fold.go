// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

func (l *Live) hash(text string) uint64 { return maphash.String(l.seed, text) }

// predict takes a prediction in, with the feedback that waited for it.
func (l *Live) predict(r *offline.Record, now int64) error {
	if l.reader.of(r, preDecision).Text() != l.label.Decision {
		return nil
	}
	end := addTimes(r.EventTime, l.index.window, l.index.late)
	if end < now {
		l.stats.TooOld++
		return nil
	}
	hash := l.hash(r.ID)
	slot, err := l.find(hash, r.ID)
	if err != nil {
		return err
	}
	if slot >= 0 {
		l.stats.Repeated++
		return nil
	}
	b := binary.AppendVarint(appendText(l.encoded[:0], r.ID), r.ArrivalTime)
	for _, i := range l.kept {
		b = appendSpilled(b, *l.reader.of(r, i))
	}
	l.encoded = b
	at, err := l.spill.append(b, end)
	if err != nil {
		return err
	}
	if l.index.used >= l.options.PredictionsMax {
		l.stats.Displaced++
		l.forgetFirst()
	}
	key := l.label.factsKey(l.reader.of(r, preFacts).Text())
	added, err := l.index.add(entry{hash: hash, time: r.EventTime, record: at})
	if err != nil {
		return err
	}
	if err := l.adopt(added, 'p', r.ID, func(*candidate) bool { return true }); err != nil {
		return err
	}
	if key == "" {
		return nil
	}
	return l.link(added, r.ID, key)
}

// find returns the slot of a prediction, -1 if it is not there.
func (l *Live) find(hash uint64, id string) (found int64, err error) {
	found = -1
	l.index.each(hash, func(slot uint32) bool {
		var same string
		if same, err = l.idOf(slot); err == nil && same == id {
			found = int64(slot)
		}
		if errors.Is(err, errGone) { // cannot be told from another, and not be used
			l.stats.Displaced++
			err = nil
		}
		return found >= 0 || err != nil
	})
	return found, err
}

// load reads the details of a prediction.
func (l *Live) load(slot uint32) (unspill, error) {
	b, err := l.spill.read(l.index.at(slot).place(), l.details)
	if err != nil {
		return unspill{}, err
	}
	l.details = b[:0]
	return unspill{b}, nil
}

func (l *Live) idOf(slot uint32) (string, error) {
	u, err := l.load(slot)
	if err != nil {
		return "", err
	}
	return u.text(), nil
}

// rowOf fills the row of a prediction, without label.
func (l *Live) rowOf(slot uint32) error {
	u, err := l.load(slot)
	if err != nil {
		return err
	}
	r := offline.Record{ID: u.text(), EventTime: l.index.at(slot).time, ArrivalTime: u.varint()}
	for _, i := range l.kept { // others stay null
		l.reader.values[i] = u.value()
	}
	l.reader.row(&r, &l.row)
	return nil
}

// keyOf is the entity of a prediction.
func (l *Live) keyOf(slot uint32) (string, error) {
	if err := l.rowOf(slot); err != nil {
		return "", err
	}
	return l.label.factsKey(l.row.Facts), nil
}

// hear takes feedback in.
func (l *Live) hear(r *offline.Record, now int64) error {
	if r.Values[outName].Text() != l.label.Outcome {
		return nil
	}
	o := &l.outcome
	if err := decodeOutcome(r, o); err != nil {
		return fmt.Errorf("feedback %.80q: %w", r.ID, err)
	}
	c := o.candidate()
	if !c.byEntity {
		slot, err := l.find(l.hash(o.PredictionID), o.PredictionID)
		if err != nil {
			return err
		}
		if slot < 0 {
			return l.wait('p', o.PredictionID, &c, now)
		}
		return l.attach(uint32(slot), c)
	}
	key := l.label.entityKey(o.Entity)
	if key == "" {
		return nil
	}
	slot, err := l.nearest(key, c.event)
	if err != nil {
		return err
	}
	if slot < 0 {
		return l.wait('e', key, &c, now)
	}
	return l.attach(uint32(slot), c)
}

// attach adds feedback to a prediction and hands the row out if its label is another.
func (l *Live) attach(slot uint32, more ...candidate) error {
	e := l.index.at(slot)
	var known []candidate
	var before Label
	var err error
	if l.visit != nil { // else nobody is told of a change
		if known, err = l.chainOf(e.head); err != nil {
			return err
		}
		before = l.decide(e, known)
	}
	for i := range more {
		l.stats.Joined++
		if !l.label.inWindow(e.time, more[i].event, more[i].byEntity) {
			l.stats.OutOfWindow++
		}
		if e.head, err = l.spillCandidate(e.head, &more[i], "", addTimes(e.time, l.index.window, l.index.late)); err != nil {
			return err
		}
		known = append(known, more[i])
	}
	return l.emitChange(slot, before, known)
}

// decide is the label of an entry. It reorders the chain.
func (l *Live) decide(e *entry, chain []candidate) Label {
	return l.label.decide(e.time, e.mature(), latest(append([]candidate(nil), chain...)))
}

func (l *Live) emitChange(slot uint32, before Label, chain []candidate) error {
	if l.visit == nil {
		return nil
	}
	after := l.decide(l.index.at(slot), chain)
	if after == before {
		return nil
	}
	return l.emit(slot, after)
}

// emitAsIs hands out a prediction with the label that it has.
func (l *Live) emitAsIs(slot uint32) error {
	if l.visit == nil {
		return nil
	}
	chain, err := l.chainOf(l.index.at(slot).head)
	if err != nil {
		return err
	}
	return l.emit(slot, l.decide(l.index.at(slot), chain))
}

func (l *Live) emit(slot uint32, label Label) error {
	err := l.rowOf(slot)
	if errors.Is(err, errGone) {
		l.stats.Displaced++
		return nil
	} else if err != nil {
		return err
	}
	l.row.Label = label
	l.stats.Emitted++
	if label.Contradicted {
		l.stats.Contradicted++
	}
	return l.visit(&l.row)
}

// spillCandidate stores feedback in front of a chain.
func (l *Live) spillCandidate(next ref, c *candidate, target string, due int64) (ref, error) {
	b := binary.AppendUvarint(l.encoded[:0], uint64(next))
	b = appendText(appendText(appendText(b, target), c.record), c.feedback)
	b = append(b, byte(c.kind), byte(c.value.Type))
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(c.value.Number))
	b = appendText(appendText(b, c.value.Text), c.source)
	b = binary.AppendVarint(binary.AppendVarint(b, c.event), c.arrival)
	b = binary.AppendUvarint(b, c.sequence)
	b = binary.LittleEndian.AppendUint64(b, math.Float64bits(c.weight))
	entity := byte(0)
	if c.byEntity {
		entity = 1
	}
	l.encoded = append(b, entity)
	return l.spill.append(l.encoded, due)
}

// chained reads one piece of feedback of a chain.
func (l *Live) chained(at ref) (next ref, target string, c candidate, err error) {
	b, err := l.spill.read(at, l.loaded)
	if err != nil {
		return 0, "", c, err
	}
	u := unspill{b}
	next, target = ref(u.uvarint()), u.text()
	c.record, c.feedback = u.text(), u.text()
	kinds := u.take(2)
	c.kind, c.value.Type = Kind(kinds[0]), ValueType(kinds[1])
	c.value.Number = u.float()
	c.value.Text, c.source = u.text(), u.text()
	c.event, c.arrival, c.sequence = u.varint(), u.varint(), u.uvarint()
	c.weight = u.float()
	c.byEntity = u.take(1)[0] != 0
	l.loaded = b[:0]
	return next, target, c, nil
}

// chainOf reads the feedback of a prediction, newest first.
func (l *Live) chainOf(at ref) ([]candidate, error) {
	chain := l.chain[:0]
	for at != 0 && len(chain) < VersionsMax {
		next, _, c, err := l.chained(at)
		if errors.Is(err, errGone) {
			l.stats.Displaced++
			break
		} else if err != nil {
			return nil, err
		}
		chain = append(chain, c)
		at = next
	}
	l.chain = chain
	return chain, nil
}

// order compares a prediction of the index with a time and id.
func (l *Live) order(slot uint32, t int64, id string) (int, error) {
	if c := compareInts(l.index.at(slot).time, t); c != 0 {
		return c, nil
	}
	mine, err := l.idOf(slot)
	if errors.Is(err, errGone) {
		return -1, nil
	}
	return strings.Compare(mine, id), err
}

// link puts a prediction among those of its entity, and takes over feedback that is
// nearer to it than to the one before.
func (l *Live) link(slot uint32, id, key string) error {
	hash := l.hash("e" + key)
	*l.index.entity(slot) = hash
	t := l.index.at(slot).time
	var younger, older uint32
	for older = l.heads[hash]; older != 0; older = l.index.at(older - 1).older {
		c, err := l.order(older-1, t, id)
		if err != nil {
			return err
		}
		if c < 0 {
			break
		}
		younger = older
	}
	l.index.at(slot).older, l.index.at(slot).younger = older, younger
	if older != 0 {
		l.index.at(older - 1).younger = slot + 1
	}
	if younger != 0 {
		l.index.at(younger - 1).older = slot + 1
	} else {
		l.heads[hash] = slot + 1
	}
	limit := int64(math.MaxInt64) // events from here on are of the next prediction
	if younger != 0 {
		limit = l.index.at(younger - 1).time
	}
	if err := l.takeOver(slot, older, key, limit); err != nil {
		return err
	}
	within := l.label.Within.Microseconds()
	return l.adopt(slot, 'e', key, func(c *candidate) bool {
		return c.event >= t && c.event < limit && c.event-t <= within
	})
}

// unlink takes a prediction out of those of its entity.
func (l *Live) unlink(slot uint32) {
	e, hash := l.index.at(slot), *l.index.entity(slot)
	if e.older == 0 && e.younger == 0 && l.heads[hash] != slot+1 {
		return // it never had one
	}
	if e.older != 0 {
		l.index.at(e.older - 1).younger = e.younger
	}
	if e.younger != 0 {
		l.index.at(e.younger - 1).older = e.older
	} else if e.older != 0 {
		l.heads[hash] = e.older
	} else {
		delete(l.heads, hash)
	}
	*l.index.entity(slot) = 0
}

// nearest is the prediction of an entity that an event is of, -1 if there is none.
func (l *Live) nearest(key string, event int64) (int64, error) {
	for at := l.heads[l.hash("e"+key)]; at != 0; at = l.index.at(at - 1).older {
		t := l.index.at(at - 1).time
		if t > event {
			continue
		}
		if event-t > l.label.Within.Microseconds() {
			return -1, nil
		}
		switch mine, err := l.keyOf(at - 1); {
		case errors.Is(err, errGone):
			l.stats.Displaced++
		case err != nil:
			return -1, err
		case mine == key:
			return int64(at - 1), nil
		}
	}
	return -1, nil
}

// takeOver moves feedback by entity from the prediction before a new one.
func (l *Live) takeOver(slot, older uint32, key string, limit int64) error {
	if older == 0 || l.index.at(older-1).head == 0 {
		return nil
	}
	before := l.index.at(older - 1)
	mine, err := l.keyOf(older - 1)
	if errors.Is(err, errGone) || (err == nil && mine != key) {
		return nil
	} else if err != nil {
		return err
	}
	chain, err := l.chainOf(before.head)
	if err != nil {
		return err
	}
	t := l.index.at(slot).time
	var kept, moved []candidate
	for i := len(chain) - 1; i >= 0; i-- { // oldest first, as they were attached
		if c := chain[i]; c.byEntity && c.event >= t && c.event < limit {
			moved = append(moved, c)
		} else {
			kept = append(kept, c)
		}
	}
	if len(moved) == 0 {
		return nil
	}
	l.stats.Moved += int64(len(moved))
	label := l.decide(before, chain)
	before.head = 0
	for i := range kept {
		if before.head, err = l.spillCandidate(before.head, &kept[i], "", addTimes(before.time, l.index.window, l.index.late)); err != nil {
			return err
		}
	}
	if err := l.emitChange(older-1, label, kept); err != nil {
		return err
	}
	l.stats.Joined -= int64(len(moved)) // counted before
	return l.attach(slot, moved...)
}
