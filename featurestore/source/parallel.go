// SPDX-License-Identifier: Apache-2.0

package source

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// ReadParallel reads what is left with several goroutines, 1 to WorkersMax, and hands
// each slice to visit, which may be called by all of them at once. Slices are numbered
// from 0 in the order of the rows; all are visited, also those without rows. A batch is
// good until visit returns, and visit may change it. The error of the first slice that
// has one is returned; later slices may have been visited then.
func (r *Reader) ReadParallel(workers int, visit func(slice int, b *column.Batch) error) error {
	if workers < 1 || workers > WorkersMax {
		return r.named(fmt.Errorf("%d workers: 1 to %d", workers, WorkersMax))
	}
	if r.err != nil {
		return r.err
	}
	if r.ahead != nil {
		return r.named(errors.New("rows are being read ahead for Next"))
	}
	r.start(r.rows(batchRowsParallel))
	var failed struct {
		sync.Mutex
		slice int
		err   error
	}
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			if slice, err := r.work(visit); err != nil {
				failed.Lock()
				defer failed.Unlock()
				if failed.err == nil || slice < failed.slice {
					failed.slice, failed.err = slice, err
				}
			}
		})
	}
	all.Wait()
	if failed.err != nil {
		r.err = r.named(failed.err)
	}
	return r.err
}

// work reads slices until there are none. Those before the one with an error have been
// claimed by then, so that the first error does not depend on who is fastest.
func (r *Reader) work(visit func(slice int, b *column.Batch) error) (slice int, err error) {
	var w worker
	var b column.Batch
	for {
		c, err := r.claim()
		if errors.Is(err, io.EOF) || errors.Is(err, errStopped) {
			return 0, nil
		}
		if err != nil {
			r.stop(errStopped)
			return r.slices(), err
		}
		if err = r.fill(c, &b, &w); err == nil {
			err = visit(c.slice, &b)
		}
		if err != nil {
			r.stop(errStopped)
			return c.slice, err
		}
	}
}

// errStopped ends workers that have no error themselves.
var errStopped = errors.New("stopped")

// slices is how many have been handed out.
func (r *Reader) slices() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.slice
}

// add keeps the first bad rows.
func (c *counts) add(slice int, list []RowError) {
	for _, bad := range list {
		c.list = append(c.list, badRow{slice, bad})
	}
	slices.SortStableFunc(c.list, func(a, b badRow) int {
		if d := cmp.Compare(a.slice, b.slice); d != 0 {
			return d
		}
		return cmp.Compare(a.Row, b.Row)
	})
	c.list = c.list[:min(len(c.list), BadListMax)]
}

// ahead reads slices before Next asks for them: at most twice as many as it has
// goroutines.
type ahead struct {
	r     *Reader
	queue chan chan filled // in order
	spare chan column.Batch
	quit  chan struct{}
	turn  sync.Mutex // to claim and to queue
	all   sync.WaitGroup
}

type filled struct {
	batch column.Batch
	err   error
}

func newAhead(r *Reader, workers int) *ahead {
	a := &ahead{r: r, queue: make(chan chan filled, workers), spare: make(chan column.Batch, 2*workers), quit: make(chan struct{})}
	for range workers {
		a.all.Go(a.work)
	}
	go func() {
		a.all.Wait()
		close(a.queue)
	}()
	return a
}

func (a *ahead) work() {
	var w worker
	for {
		c, result, ok := a.claim()
		if !ok {
			return
		}
		var f filled
		select {
		case f.batch = <-a.spare:
		default:
		}
		if c.piece == nil {
			f.err = c.err
		} else {
			f.err = a.r.fill(c.claim, &f.batch, &w)
		}
		if f.err != nil {
			a.r.stop(errStopped)
		}
		result <- f // it has room
	}
}

type claimed struct {
	claim
	err error
}

// claim takes a slice and queues the place for its result, both before anybody else.
func (a *ahead) claim() (claimed, chan filled, bool) {
	a.turn.Lock()
	defer a.turn.Unlock()
	c, err := a.r.claim()
	if errors.Is(err, io.EOF) || errors.Is(err, errStopped) || errors.Is(err, errClosed) {
		return claimed{}, nil, false
	}
	if err != nil {
		a.r.stop(errStopped)
	}
	result := make(chan filled, 1)
	select {
	case a.queue <- result:
		return claimed{c, err}, result, true
	case <-a.quit:
		if err == nil {
			_ = a.r.leave(c.from) // it was only read, and nobody waits for it
		}
		return claimed{}, nil, false
	}
}

func (a *ahead) next(b *column.Batch) (bool, error) {
	for result := range a.queue {
		f := <-result
		if f.err != nil {
			return false, f.err
		}
		rows := f.batch.Rows
		if rows > 0 {
			*b, f.batch = f.batch, *b
		}
		select {
		case a.spare <- f.batch:
		default:
		}
		if rows > 0 {
			return true, nil
		}
	}
	return false, nil
}

// close ends the goroutines and waits for them.
func (a *ahead) close() {
	close(a.quit)
	for range a.queue { // until it is closed
	}
}
