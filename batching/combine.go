// SPDX-License-Identifier: Apache-2.0

package batching

import "sync/atomic"

// roundsMax is how often one goroutine empties the inbox before it passes the
// task on, so that a caller is not held up by the events of others.
const roundsMax = 16

// inbox is a lock-free stack of events for whoever is at the core.
type inbox struct{ top atomic.Pointer[event] }

func (in *inbox) push(e *event) {
	for {
		top := in.top.Load()
		e.next = top
		if in.top.CompareAndSwap(top, e) {
			return
		}
	}
}

// takeAll empties the inbox and returns its events, oldest first.
func (in *inbox) takeAll() *event {
	var oldest *event
	for e := in.top.Swap(nil); e != nil; {
		e, e.next, oldest = e.next, oldest, e
	}
	return oldest
}

// post has the core take one step for e and carries out what follows. It returns
// the instance whose batch self is to lead, if that falls to it.
//
// The step is taken here when the core is free. Otherwise e goes into the inbox, and
// the one at the core finds it: either while emptying the inbox, or when it looks
// again after leaving. That look comes after the leaving, and the attempt to enter
// here comes after the push, so at least one of the two sees the other.
func (b *Batcher) post(e *event, self *Item) *instance {
	var out actions
	if b.enter() {
		b.stepAll(b.inbox.takeAll(), &out)
		b.step(e, &out)
		b.leave(&out)
	} else {
		b.inbox.push(e)
	}
	b.emptyInbox(roundsMax, &out)
	return b.carryOut(&out, self)
}

// emptyInbox steps what others leave there, unless another goroutine is doing so.
func (b *Batcher) emptyInbox(rounds int, out *actions) {
	for b.inbox.top.Load() != nil && b.enter() {
		if rounds == 0 {
			b.leave(out)
			go b.relieve()
			return
		}
		rounds--
		b.stepAll(b.inbox.takeAll(), out)
		b.leave(out)
	}
}

// relieve takes over an inbox that does not run empty; it ends when it does.
func (b *Batcher) relieve() {
	var out actions
	b.emptyInbox(roundsMax, &out)
	b.carryOut(&out, nil)
}

func (b *Batcher) enter() bool { return b.busy.CompareAndSwap(false, true) }

// leave lets the next one in. Where the order of answers matters they are given
// before that, lest the next one's come first.
func (b *Batcher) leave(out *actions) {
	if b.ordered {
		out.giveAnswers()
	}
	b.setTimer(b.core.wake())
	b.busy.Store(false)
}

func (b *Batcher) stepAll(e *event, out *actions) {
	for e != nil {
		next := e.next
		b.step(e, out)
		e = next
	}
}

func (b *Batcher) step(e *event, out *actions) {
	e.next = nil
	if e.kind == eventTick {
		b.timerAt = never
	}
	b.core.step(e, out)
	if e.call != nil {
		close(e.call.done)
	}
}

// carryOut gives answers to their callers and batches to their leaders.
func (b *Batcher) carryOut(out *actions, self *Item) (own *instance) {
	out.giveAnswers()
	for inst := out.runs; inst != nil; {
		next := inst.nextRun
		if leader := inst.leader(self); leader == nil {
			b.wakeWorker(inst)
		} else if leader == self {
			own = inst
		} else {
			leader.wake <- inst
		}
		inst = next
	}
	if out.drained {
		close(b.drained)
	}
	return own
}

// giveAnswers gives the answered items back to their callers.
func (out *actions) giveAnswers() {
	for it := out.answered.first; it != nil; {
		next := it.links[linkQueue].next // the item is not ours any more after this
		it.notify()
		it = next
	}
	out.answered = list{}
}

// leader is the item whose caller runs the batch: self when it is one of them, for it
// is awake, else the first that is waited for, else nil.
func (inst *instance) leader(self *Item) *Item {
	var leader *Item
	for _, it := range inst.batch {
		if it == self {
			return self
		}
		if leader == nil && it.sync {
			leader = it
		}
	}
	return leader
}
