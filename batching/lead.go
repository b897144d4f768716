// SPDX-License-Identifier: Apache-2.0

package batching

import "time"

// lead runs the batch of an instance and then frees the instance. The others of the
// batch are woken first: they bring the requests of the next one. Self is the item
// whose caller leads, nil for a worker.
func (b *Batcher) lead(inst *instance, self *Item) {
	b.executor.Execute(inst.index, inst.batch)
	if !b.ordered {
		for _, it := range inst.batch {
			if it != self {
				it.notify()
			}
		}
	}
	inst.finish.at = Now()
	b.post(&inst.finish, nil)
	if b.ordered && self != nil {
		<-self.wake // the core answers, in the order of arrival
	}
}

// wakeWorker has the batch of an instance run by its worker, which is started the
// first time. Only whoever was given the instance by the core calls this.
func (b *Batcher) wakeWorker(inst *instance) {
	if inst.lead == nil {
		inst.lead = make(chan struct{}, 1)
		b.workers.Go(func() {
			for range inst.lead {
				b.lead(inst, nil)
			}
		})
	}
	inst.lead <- struct{}{}
}

// stop ends timer and workers. The core has drained, so nobody wakes them any more.
func (b *Batcher) stop() {
	if b.timer != nil {
		b.timer.Stop()
	}
	for _, inst := range b.core.instances {
		if inst.lead != nil {
			close(inst.lead)
		}
	}
	b.workers.Wait()
}

// setTimer has the core stepped at a time, unless it will be even earlier. A timer
// that comes too early costs a step and is set again, which is cheaper than to set
// it at each event. Only the goroutine at the core calls this.
func (b *Batcher) setTimer(at int64) {
	if at >= b.timerAt {
		return
	}
	b.timerAt = at
	delay := time.Duration(max(at-Now(), 0))
	if b.timer == nil {
		b.timer = time.AfterFunc(delay, b.tick)
	} else {
		b.timer.Reset(delay)
	}
}

// tick runs on the timer's own goroutine and ends with its step.
func (b *Batcher) tick() {
	b.post(&event{kind: eventTick, at: Now()}, nil)
}

// lowerDeadline makes the deadline at least as early as at.
func (it *Item) lowerDeadline(at int64) {
	if it.Deadline == 0 || at < it.Deadline {
		it.Deadline = at
	}
}
