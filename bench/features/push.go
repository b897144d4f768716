// SPDX-License-Identifier: Apache-2.0

package features

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// The load of pushes: streams with messages in flight on each, events in each message.
const (
	pushStreams  = 4
	pushInFlight = 4
	pushEvents   = 250
)

// Push measures events per second that a server acknowledges as durable, and the time
// from the start of a push until another connection reads its event, in milliseconds
// (p99), while 100,000 events a second are pushed beside it.
func Push(ctx context.Context, l *Lab) (values []float64, details any, err error) {
	dir, err := os.MkdirTemp(l.Folder, "push-")
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	definitions := filepath.Join(dir, "features.yaml")
	if err := os.WriteFile(definitions, fmt.Appendf(nil, paymentsSource, cardViews), 0o644); err != nil {
		return nil, nil, err
	}
	server, conn, err := l.serve(ctx, "features", "serve", "--definitions", definitions, "--state", filepath.Join(dir, "state"))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(), server.stop()) }()
	client := millracev1.NewFeaturesClient(conn)
	if err := server.await(ctx, func(ctx context.Context) error {
		_, err := client.ListFeatures(ctx, &millracev1.ListFeaturesRequest{})
		return err
	}); err != nil {
		return nil, nil, err
	}
	p := &pusher{client: client}
	p.next.Store(1)
	var rates []float64
	for round := range l.sizes().rounds + 1 {
		l.progress("pushes, round %d", round)
		rate, err := p.load(ctx, 2*l.sizes().round, 0)
		if err != nil {
			return nil, nil, err
		}
		if round > 0 {
			rates = append(rates, rate)
		}
	}
	fresh, err := p.freshness(ctx, l, server)
	if err != nil {
		return nil, nil, err
	}
	return []float64{median(rates), fresh["beside 100,000 events/s"].P99 / 1e3}, map[string]any{
		"durable events per second": rates, "push to readable": fresh,
		"load": fmt.Sprintf("%d streams, %d messages of %d events in flight on each, client on the same cores", pushStreams, pushInFlight, pushEvents),
	}, nil
}

type pusher struct {
	client millracev1.FeaturesClient
	next   atomic.Int64
}

// message is some payments of now.
func (p *pusher) message(events int) *millracev1.PushRequest {
	last, now := p.next.Add(int64(events)), time.Now().UnixMicro()
	columns := make([][]int64, 4)
	for i := range columns {
		columns[i] = make([]int64, events)
	}
	amounts := make([]float64, events)
	for i := range events {
		n := last - int64(events) + int64(i)
		columns[0][i], columns[1][i], columns[2][i], columns[3][i] = n, now, scatter(n, customers), scatter(n*31, terminals)
		amounts[i] = float64(n%20_000) / 100
	}
	return &millracev1.PushRequest{Source: "payments", Columns: []*millracev1.Column{
		{Name: "transaction_id", Integers: columns[0]}, {Name: "event_timestamp", Integers: columns[1]},
		{Name: "customer_id", Integers: columns[2]}, {Name: "terminal_id", Integers: columns[3]},
		{Name: "amount", Numbers: amounts},
	}}
}

// load pushes for a while, at a rate of events a second or, if that is 0, as fast as
// they are acknowledged. It returns the events acknowledged a second.
func (p *pusher) load(ctx context.Context, duration time.Duration, rate int) (float64, error) {
	var acknowledged atomic.Int64
	errs := make([]error, pushStreams)
	var group sync.WaitGroup
	begin := time.Now()
	for s := range pushStreams {
		group.Go(func() { errs[s] = p.stream(ctx, begin, duration, rate/pushStreams, &acknowledged) })
	}
	group.Wait()
	return float64(acknowledged.Load()) / time.Since(begin).Seconds(), errors.Join(errs...)
}

func (p *pusher) stream(ctx context.Context, begin time.Time, duration time.Duration, rate int, acknowledged *atomic.Int64) error {
	stream, err := p.client.StreamPush(ctx)
	if err != nil {
		return err
	}
	sent, inFlight := 0, 0
	for time.Since(begin) < duration || inFlight > 0 {
		if inFlight < pushInFlight && time.Since(begin) < duration {
			if rate > 0 {
				time.Sleep(time.Until(begin.Add(time.Duration(sent) * time.Second / time.Duration(rate))))
			}
			if err := stream.Send(p.message(pushEvents)); err != nil {
				return err
			}
			sent, inFlight = sent+pushEvents, inFlight+1
			continue
		}
		if err := receive(stream, acknowledged); err != nil {
			return err
		}
		inFlight--
	}
	return stream.CloseSend()
}

func receive(stream grpc.BidiStreamingClient[millracev1.PushRequest, millracev1.PushResponse], acknowledged *atomic.Int64) error {
	a, err := stream.Recv()
	if err != nil {
		return err
	}
	if a.Error != "" || len(a.Errors) > 0 {
		return fmt.Errorf("push refused: %s %v", a.Error, slices.Concat(a.Errors[:min(1, len(a.Errors))]))
	}
	acknowledged.Add(int64(a.Accepted))
	return nil
}

// freshness times pushes of single events until a read sees them, alone and beside a
// load.
func (p *pusher) freshness(ctx context.Context, l *Lab, server *child) (map[string]percentiles, error) {
	conn, err := server.dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	reads := millracev1.NewFeaturesClient(conn)
	result := map[string]percentiles{}
	for name, rate := range map[string]int{"alone": 0, "beside 100,000 events/s": 100_000} {
		l.progress("push to readable, %s", name)
		loadCtx, cancel := context.WithCancel(ctx)
		var loading sync.WaitGroup
		var loadErr error
		duration := 5 * l.sizes().round
		if rate > 0 {
			loading.Go(func() { _, loadErr = p.load(loadCtx, duration, rate) })
		}
		times, err := p.probe(ctx, reads, duration*9/10)
		loading.Wait()
		cancel()
		if err := errors.Join(err, loadErr); err != nil {
			return nil, err
		}
		result[name] = newPercentiles(times)
	}
	return result, nil
}

// probe pushes payments of customers that nobody else pushes, and asks for their count
// until it is 1.
func (p *pusher) probe(ctx context.Context, reads millracev1.FeaturesClient, duration time.Duration) ([]time.Duration, error) {
	var times []time.Duration
	for begin := time.Now(); time.Since(begin) < duration; {
		q := p.message(1)
		customer := 1_000_000 + p.next.Load()
		q.Columns[2].Integers[0] = customer
		pushed := make(chan error, 1)
		began := time.Now()
		go func() {
			_, err := p.client.Push(ctx, q)
			pushed <- err
		}()
		for seen := false; !seen; {
			a, err := reads.Get(ctx, &millracev1.GetRequest{Features: []string{"customer:count_1d"}, Entities: []*millracev1.Column{{Name: "customer_id", Integers: []int64{customer}}}})
			if err != nil {
				return nil, err
			}
			seen = a.Numbers[0] == 1
			if !seen && time.Since(began) > 10*time.Second {
				return nil, fmt.Errorf("customer %d is not readable after 10 s", customer)
			}
		}
		times = append(times, time.Since(began))
		if err := <-pushed; err != nil {
			return nil, err
		}
	}
	return times, nil
}
