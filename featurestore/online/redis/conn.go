// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/millrace-ml/millrace/featurestore/online"
)

const (
	// callsMax bounds calls under way, those included that nobody waits for any more. It is
	// less than rueidis queues, which would block without a deadline.
	callsMax = 256
	// timeoutsMax is the number of calls without an answer, none having one in between,
	// after which Redis counts as away.
	timeoutsMax = 3
)

// request is one call of a script.
type request struct {
	script *script
	keys   []string
	args   []string
	reply  rueidis.RedisMessage
	err    error
}

// conn is the way to Redis, with a circuit breaker: while Redis is away, calls fail at
// once, and only the probe, which the store's keeper makes, goes through.
type conn struct {
	options rueidis.ClientOption
	address string
	client  atomic.Pointer[rueidis.Client]
	slots   chan struct{}
	// away is why Redis counts as away; nil while it does not.
	away     atomic.Pointer[error]
	timeouts atomic.Int64
	// wake tells the keeper that Redis is away.
	wake chan struct{}
	// redial says that the server answered as one that is no master any more.
	redial atomic.Bool

	counts struct{ calls, failures, timeouts, opened atomic.Int64 }
}

func dialConn(o rueidis.ClientOption) (*conn, error) {
	c := &conn{
		options: o, address: strings.Join(o.InitAddress, ","),
		slots: make(chan struct{}, callsMax), wake: make(chan struct{}, 1),
	}
	client, err := c.dial()
	if err != nil {
		return nil, err
	}
	c.client.Store(&client)
	return c, nil
}

// dial makes a client, which has a connection.
func (c *conn) dial() (rueidis.Client, error) {
	client, err := rueidis.NewClient(c.options)
	if err == nil {
		return client, nil
	}
	if client != nil {
		client.Close()
	}
	return nil, c.unavailable(err)
}

func (c *conn) close() {
	(*c.client.Load()).Close()
}

// unavailable wraps why Redis cannot be used now.
func (c *conn) unavailable(err error) error {
	return fmt.Errorf("redis at %s: %w: %w", c.address, online.ErrUnavailable, err)
}

// call makes requests in one round trip, or one per node of a cluster, within d. The
// error is the first of the requests'; each has its own.
func (c *conn) call(ctx context.Context, d time.Duration, requests []request) error {
	if d <= 0 {
		return c.fail(requests, c.unavailable(context.DeadlineExceeded))
	}
	if away := c.away.Load(); away != nil {
		return c.fail(requests, c.unavailable(*away))
	}
	return c.probe(ctx, d, requests)
}

// probe is call, but tries even if Redis counts as away. An answer ends that. A broken
// connection is replaced once: all scripts may be run twice.
func (c *conn) probe(ctx context.Context, d time.Duration, requests []request) error {
	deadline, given := ctx.Deadline()
	impatient := given && time.Until(deadline) < d // the caller, who says nothing of Redis
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	c.counts.calls.Add(1)
	c.round(ctx, requests, false)
	c.again(ctx, requests, false, func(err error) bool {
		_, answer := rueidis.IsRedisErr(err)
		return !answer && ctx.Err() == nil
	})
	c.again(ctx, requests, true, func(err error) bool {
		e, answer := rueidis.IsRedisErr(err)
		return answer && e.IsNoScript()
	})
	return c.judge(requests, impatient)
}

// again repeats the requests that failed in a certain way.
func (c *conn) again(ctx context.Context, requests []request, whole bool, failed func(error) bool) {
	var repeat []request
	var places []int
	for i := range requests {
		if requests[i].err != nil && failed(requests[i].err) {
			repeat, places = append(repeat, requests[i]), append(places, i)
		}
	}
	if len(repeat) == 0 {
		return
	}
	c.round(ctx, repeat, whole)
	for i, place := range places {
		requests[place] = repeat[i]
	}
}

func (c *conn) fail(requests []request, err error) error {
	for i := range requests {
		requests[i].err = err
	}
	return err
}

// round sends the requests and waits for the answers until ctx ends; whole sends the
// text of scripts. Sending is left to a goroutine, because dialling and full queues do
// not heed ctx; callsMax bounds these.
func (c *conn) round(ctx context.Context, requests []request, whole bool) {
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		c.fail(requests, fmt.Errorf("%d calls are under way: %w", callsMax, ctx.Err()))
		return
	}
	client := *c.client.Load()
	commands := make([]rueidis.Completed, len(requests))
	for i := range requests {
		commands[i] = command(client, &requests[i], whole)
	}
	answers := make(chan []rueidis.RedisResult, 1)
	go func() {
		answers <- client.DoMulti(ctx, commands...)
		<-c.slots
	}()
	select {
	case results := <-answers:
		for i := range requests {
			requests[i].reply, requests[i].err = results[i].ToMessage()
		}
	case <-ctx.Done():
		c.fail(requests, ctx.Err())
	}
}

func command(client rueidis.Client, r *request, whole bool) rueidis.Completed {
	name, text := "EVALSHA", r.script.sha
	if whole {
		name, text = "EVAL", r.script.text
	}
	return client.B().Arbitrary(name, text, strconv.Itoa(len(r.keys))).Keys(r.keys...).Args(r.args...).Build()
}

// judge draws conclusions from the answers, wraps errors and returns the first.
func (c *conn) judge(requests []request, impatient bool) (first error) {
	answered, late, away := false, false, error(nil)
	for i := range requests {
		err := requests[i].err
		if err == nil {
			answered = true
			continue
		}
		switch e, ok := rueidis.IsRedisErr(err); {
		case ok && busy(e.Error()):
			away = err
			if strings.HasPrefix(e.Error(), "READONLY") {
				c.redial.Store(true)
			}
		case ok: // refused, but there
			answered = true
			if strings.HasPrefix(e.Error(), "MOVED") {
				err = fmt.Errorf("%w (it is a node of a cluster, which needs Buckets)", err)
			}
		case errors.Is(err, context.Canceled): // the caller's wish
		case errors.Is(err, context.DeadlineExceeded):
			late = true
		default:
			away = err
		}
		c.counts.failures.Add(1)
		requests[i].err = c.unavailable(err)
		if first == nil {
			first = requests[i].err
		}
	}
	if late {
		c.counts.timeouts.Add(1)
	}
	if late && !impatient && c.timeouts.Add(1) >= timeoutsMax && away == nil {
		away = fmt.Errorf("%d calls in a row had no answer in time", timeoutsMax)
	}
	switch {
	case away != nil:
		c.open(away)
	case answered:
		c.timeouts.Store(0)
		c.away.Store(nil)
	}
	return first
}

// busy reports whether a server refused for a reason that passes.
func busy(message string) bool {
	for _, prefix := range [...]string{"LOADING", "READONLY", "MASTERDOWN", "BUSY", "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS"} {
		if strings.HasPrefix(message, prefix) {
			return true
		}
	}
	return false
}

// open makes Redis count as away until a probe succeeds.
func (c *conn) open(err error) {
	if c.away.CompareAndSwap(nil, &err) {
		c.counts.opened.Add(1)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// redialNow makes a new connection, to whatever the address leads to now. A probe calls it.
func (c *conn) redialNow() error {
	client, err := c.dial()
	if err != nil {
		return err
	}
	old := c.client.Swap(&client)
	c.redial.Store(false)
	(*old).Close()
	return nil
}
