// SPDX-License-Identifier: Apache-2.0

package online

import "sync/atomic"

// progress is how far the states are in the event log.
//
// A checkpoint may say "replay from S" only if every record up to S has been applied
// when the first entity is copied. While the store recovers that is so of what was
// replayed, since replays come in order; rebuilt tables are given records out of order
// and say nothing. Once it is live it is so of every sequence that the log has given:
// whoever got one before S was noted holds the apply locks of its entities until it is
// applied, and the copying takes those locks first.
type progress struct {
	replayFrom atomic.Uint64 // of the last checkpoint
	replayed   atomic.Uint64 // newest record that Replay was given
	applied    atomic.Uint64 // newest record that Apply was given
	live       atomic.Bool
	// opened is Options.Position when the store was opened.
	opened uint64
	lag    atomic.Int64 // records since the last checkpoint
}

// ReplayFrom implements Store.
func (l *Local) ReplayFrom() uint64 { return l.progress.replayFrom.Load() }

// Recovered tells the store that rebuilding and replaying are over: every record the
// log has is applied. With Options.Position, a pushed event tells it too; until then
// tables that were rebuilt are not taken for complete by the next start.
func (l *Local) Recovered() { l.progress.live.Store(true) }

// noteApplied counts an event, whose apply locks are still held.
func (l *Local) noteApplied(sequence uint64, updates int) {
	l.counts.applied.Add(int64(updates))
	if sequence != 0 {
		raise(&l.progress.applied, sequence)
		if !l.progress.live.Load() && l.options.Position != nil && sequence > l.progress.opened {
			l.progress.live.Store(true)
		}
	}
	l.noteRecord()
}

func (l *Local) noteReplayed(sequence uint64) {
	raise(&l.progress.replayed, sequence)
	l.noteRecord()
}

func (l *Local) noteRecord() {
	if l.progress.lag.Add(1) == l.options.CheckpointRecords {
		l.askForCheckpoint()
	}
}

// position is what a checkpoint that begins now may say.
func (l *Local) position() uint64 {
	p := &l.progress
	switch {
	case !p.live.Load():
		return p.replayed.Load()
	case l.options.Position != nil:
		return max(p.replayed.Load(), l.options.Position())
	}
	return max(p.replayed.Load(), p.applied.Load())
}

// raise makes v at least x.
func raise[T uint64 | int64](v interface {
	Load() T
	CompareAndSwap(old, new T) bool
}, x T) {
	for old := v.Load(); old < x && !v.CompareAndSwap(old, x); old = v.Load() {
	}
}
