// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"sync/atomic"
	"time"
)

// callPlan says how a call is made.
type callPlan struct {
	// name is for errors.
	name    string
	timeout time.Duration
	// repeat: a repeat can do no harm. hedge: and a second request at once neither.
	repeat, hedge bool
}

// bound gives a context without deadline the default one.
func bound(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

// call makes a call, again where that is safe and may help, and returns how often it was
// sent.
func call[A any](ctx context.Context, c *Client, p callPlan, do func(context.Context, *lane) (A, error)) (A, int, error) {
	ctx, cancel := bound(ctx, p.timeout)
	defer cancel()
	c.budget.earn()
	wait := c.options.Backoff
	sent := 0
	for attempt := 1; ; attempt++ {
		answer, n, err := hedged(ctx, c, p, do)
		sent += n
		if err == nil {
			return answer, sent, nil
		}
		failure := newError(p.name, err)
		failure.Attempts = sent
		var none A
		if !p.repeat || !failure.Retryable || attempt >= c.options.Attempts || c.ctx.Err() != nil {
			return none, sent, failure
		}
		if !c.pause(ctx, c.jitter(wait+1)) {
			return none, sent, failure
		}
		wait = min(2*wait, c.options.BackoffMax)
	}
}

// pause waits before a repeat, if the budget and the deadline allow one.
func (c *Client) pause(ctx context.Context, wait time.Duration) bool {
	if deadline, has := ctx.Deadline(); has && time.Until(deadline) <= wait {
		return false
	}
	if !c.budget.spend() {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	return false
}

// hedged is one attempt; it counts the requests that it sent.
func hedged[A any](ctx context.Context, c *Client, p callPlan, do func(context.Context, *lane) (A, error)) (A, int, error) {
	if c.options.Hedge <= 0 || !p.hedge || !p.repeat {
		answer, err := do(ctx, c.lane())
		return answer, 1, err
	}
	type outcome struct {
		answer A
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the request that lost; its goroutine then ends too
	outcomes := make(chan outcome, 2)
	send := func() {
		answer, err := do(ctx, c.lane())
		outcomes <- outcome{answer, err}
	}
	go send()
	timer := time.NewTimer(c.options.Hedge)
	defer timer.Stop()
	sent := 1
	for open := 1; ; {
		select {
		case <-timer.C:
			if c.budget.spend() {
				sent, open = sent+1, open+1
				go send()
			}
		case o := <-outcomes:
			if open--; o.err == nil || open == 0 {
				return o.answer, sent, o.err
			}
		}
	}
}

// budgetBurst is how many repeats there may be at once after a time without any.
const budgetBurst = 10

// budget is a token bucket in thousandths of a token: each call earns a share, each repeat
// spends a whole one.
type budget struct {
	tokens atomic.Int64
	share  int64
}

func (b *budget) init(share float64) {
	b.share = int64(share * 1000)
	b.tokens.Store(budgetBurst * 1000)
}

func (b *budget) earn() {
	for {
		have := b.tokens.Load()
		if have >= budgetBurst*1000 || b.tokens.CompareAndSwap(have, min(have+b.share, budgetBurst*1000)) {
			return
		}
	}
}

func (b *budget) spend() bool {
	for {
		have := b.tokens.Load()
		if have < 1000 {
			return false
		}
		if b.tokens.CompareAndSwap(have, have-1000) {
			return true
		}
	}
}
