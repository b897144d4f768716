// SPDX-License-Identifier: Apache-2.0

package online

import (
	"errors"
	"math/bits"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// The sweep gives back the memory of events that lie outside all windows, of entities
// that get no new ones. Its clock is the newest arrival in a table, never ahead of the
// machine's: a store that replays history must not lose it to a clock that is years
// ahead, nor to one event from the future.

const (
	// sweepLag is how far behind the clock the sweep stays, for reads at a time that has
	// just passed.
	sweepLag = time.Hour
	// sweepStepMin is the shortest time between steps.
	sweepStepMin = 100 * time.Millisecond
	// sweepEntities is the number of entities looked at under one lock.
	sweepEntities = chunkLen
)

// sweeper is where the sweep is. The goroutine of the store owns it.
type sweeper struct {
	aggregators         []*window.Aggregator // by table
	shard, table, chunk int
	// diskKey is where the sweep of what is on disk only goes on.
	diskKey []byte
}

// sweepStep is the time between steps.
func (l *Local) sweepStep() time.Duration {
	if l.options.SweepEvery <= 0 {
		return time.Hour
	}
	return max(sweepStepMin, l.options.SweepEvery/1024)
}

// sweepShare is how many entities a step looks at.
func (l *Local) sweepShare(step time.Duration) int {
	all := int64(0)
	for i := range l.options.Tables {
		all += l.entities(i)
	}
	return int(all*int64(step)/int64(l.options.SweepEvery)) + sweepEntities
}

// sweep looks at about n entities in memory, and with a bound on memory at as many on
// disk.
func (l *Local) sweep(n int) {
	if l.sweeper.aggregators == nil {
		l.sweeper.aggregators = make([]*window.Aggregator, len(l.options.Tables))
		for i, t := range l.options.Tables {
			if t.View != nil {
				l.sweeper.aggregators[i] = t.View.Window.NewAggregator()
			}
		}
	}
	for n > 0 {
		n -= max(1, l.sweepChunk())
	}
	if l.budget != 0 {
		if err := l.sweepDisk(); err != nil && !errors.Is(err, ErrClosed) {
			l.disk.health.failed(err)
		}
	}
}

// sweepChunk looks at the next chunk and returns how many entities it has.
func (l *Local) sweepChunk() int {
	w := &l.sweeper
	sh := l.shards[w.shard]
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if w.table == len(sh.mu.tables) {
		w.shard, w.table, w.chunk = (w.shard+1)%len(l.shards), 0, 0
		return 0
	}
	t := &sh.mu.tables[w.table]
	at := l.sweepTime(w.table)
	if t.lookup || w.chunk >= len(t.chunks) || at == 0 {
		w.table, w.chunk = w.table+1, 0
		return 0
	}
	c := t.chunks[w.chunk]
	for used := c.used &^ (c.removed | c.pinned); used != 0; used &= used - 1 {
		l.sweepEntityLocked(t, w.table, w.chunk*chunkLen+bits.TrailingZeros32(used), at)
	}
	w.chunk++
	return bits.OnesCount32(c.used)
}

// sweepTime is the clock of a table, 0 for none.
func (l *Local) sweepTime(table int) int64 {
	newest := l.watermarks[table].Load()
	if newest == 0 {
		return 0
	}
	return max(0, min(newest, l.options.Now().UnixMicro())-sweepLag.Microseconds())
}

// sweepEntityLocked drops what lies outside all windows. It changes no value, so the
// entity is not dirty; when nothing is left for long, it is removed.
func (l *Local) sweepEntityLocked(t *table, table, slot int, at int64) {
	s := t.state(slot)
	t.bytes -= int64(s.Bytes())
	l.sweeper.aggregators[table].Trim(s, at)
	t.bytes += int64(s.Bytes())
	if s.Len() > 0 || l.options.ForgetAfter <= 0 {
		return
	}
	if newest, found := s.Newest(timeMax); found && at-newest < l.options.ForgetAfter.Microseconds() {
		return
	}
	t.clear(slot)
	c, bit := t.mark(slot)
	c.removed |= bit
	c.dirty |= bit
	l.counts.removed.Add(1)
}

// sweepDiskEntities is how many stored entities a step looks at.
const sweepDiskEntities = 256

// sweepDisk loads some of the entities on disk that have had their day, so that the
// sweep finds them in memory.
func (l *Local) sweepDisk() error {
	var old [][]byte
	err := l.disk.use(func(db *pebble.DB) error {
		it, err := db.NewIter(&pebble.IterOptions{LowerBound: []byte{keyEntity}, UpperBound: []byte{keyEntity + 1}})
		if err != nil {
			return err
		}
		ok := it.SeekGE(l.sweeper.diskKey)
		for n := 0; ok && n < sweepDiskEntities; n++ {
			if l.hadItsDay(it) {
				old = append(old, slices.Clone(it.Key()))
			}
			ok = it.Next()
		}
		l.sweeper.diskKey = l.sweeper.diskKey[:0]
		if ok {
			l.sweeper.diskKey = append(l.sweeper.diskKey, it.Key()...)
		}
		return errors.Join(it.Error(), it.Close())
	})
	for _, k := range old {
		if err == nil {
			err = l.sweepLoad(k)
		}
	}
	return err
}

// hadItsDay reports whether the stored entity at an iterator is to be removed.
func (l *Local) hadItsDay(it *pebble.Iterator) bool {
	table, key, ok := l.ofDiskKey(it.Key())
	if !ok || l.shapes[table].lookup || l.options.ForgetAfter <= 0 {
		return false
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return false // it.Error has it
	}
	e, err := l.decode(table, key, slices.Clone(value))
	at := l.sweepTime(table)
	if err != nil || at == 0 {
		return false // whoever asks for it is told
	}
	newest, found := e.state.Newest(timeMax)
	if !found || at-newest < l.options.ForgetAfter.Microseconds() {
		return false
	}
	l.sweeper.aggregators[table].Trim(&e.state, at)
	return e.state.Len() == 0
}

// sweepLoad brings an entity in memory and looks at it there. One that somebody else
// has brought, or may have pinned, is left to the next time.
func (l *Local) sweepLoad(diskKey []byte) error {
	table, key, _ := l.ofDiskKey(diskKey)
	hash := l.hashOf(key)
	sh := l.shards[l.shardOf(hash)]
	if !sh.apply.TryLock() {
		return nil
	}
	defer sh.apply.Unlock()
	var pins []pin
	if _, _, err := l.load(sh, table, key, hash, &pins); err != nil || len(pins) == 0 {
		return err
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	t := &sh.mu.tables[table]
	c, bit := t.mark(pins[0].slot)
	c.pinned &^= bit
	l.sweepEntityLocked(t, table, pins[0].slot, l.sweepTime(table))
	return nil
}

// ofDiskKey is the inverse of appendDiskKey.
func (l *Local) ofDiskKey(k []byte) (table int, key []byte, ok bool) {
	if len(k) <= keyHeadBytes {
		return 0, nil, false
	}
	id := uint32(k[1])<<24 | uint32(k[2])<<16 | uint32(k[3])<<8 | uint32(k[4])
	table = slices.Index(l.ids, id)
	return table, k[keyHeadBytes:], table >= 0
}

// noteArrival moves the clock of a table, in steps of a second at least.
func (l *Local) noteArrival(table int, arrival int64) {
	if w := &l.watermarks[table]; arrival >= w.Load()+time.Second.Microseconds() {
		raise(w, arrival)
	}
}
