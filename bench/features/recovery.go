// SPDX-License-Identifier: Apache-2.0

package features

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// tailEvents are pushed after the last checkpoint, to be replayed.
const tailEvents = 500_000

// Recovery measures a start after kill -9: from the start of the process until it
// answers a read, in seconds, with the million entities of Memory and half a million
// events that no checkpoint has.
func Recovery(ctx context.Context, l *Lab) (values []float64, details any, err error) {
	if l.filled == "" {
		if _, _, err := Memory(ctx, l); err != nil {
			return nil, nil, err
		}
	}
	defer os.RemoveAll(l.filled)
	args := []string{"features", "serve", "--definitions", filepath.Join(l.filled, "features.yaml"), "--state", filepath.Join(l.filled, "state")}
	s := l.sizes()
	var seconds []float64
	for round := range min(3, s.rounds) {
		l.progress("recovery, round %d", round+1)
		took, err := l.recover(ctx, args, s, round)
		if err != nil {
			return nil, nil, err
		}
		seconds = append(seconds, took)
	}
	return []float64{median(seconds)}, map[string]any{"seconds": seconds, "entities": s.entities, "events behind the checkpoint": tailEvents}, nil
}

// recover pushes the tail to a server, kills it, and times the next one.
func (l *Lab) recover(ctx context.Context, args []string, s sizes, round int) (seconds float64, err error) {
	victim, conn, err := l.serve(ctx, args...)
	if err != nil {
		return 0, err
	}
	client := millracev1.NewFeaturesClient(conn)
	read := func(ctx context.Context, client millracev1.FeaturesClient) error {
		a, err := client.Get(ctx, &millracev1.GetRequest{Service: "totals", Entities: []*millracev1.Column{{Name: "customer_id", Integers: []int64{1}}}})
		if err == nil && a.Statuses[0] != byte(millracev1.FieldStatus_FIELD_STATUS_PRESENT) {
			err = fmt.Errorf("customer 1 is %v", a.Statuses)
		}
		return err
	}
	err = victim.await(ctx, func(ctx context.Context) error { return read(ctx, client) })
	tail := tailEvents
	if l.Quick {
		tail = 1000
	}
	p := &pusher{client: client}
	p.next.Store(int64(s.entities*s.eventsEach + (round+1)*10_000_000))
	for pushed := 0; err == nil && pushed < tail; pushed += 1000 {
		_, err = client.Push(ctx, p.message(1000))
	}
	if err := errors.Join(err, conn.Close(), victim.kill()); err != nil {
		return 0, err
	}
	next, conn, err := l.serve(ctx, args...)
	if err != nil {
		return 0, err
	}
	client = millracev1.NewFeaturesClient(conn)
	err = next.await(ctx, func(ctx context.Context) error { return read(ctx, client) })
	took := time.Since(next.began).Seconds()
	return took, errors.Join(err, conn.Close(), next.stop())
}
