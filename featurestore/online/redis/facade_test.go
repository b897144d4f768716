// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"fmt"
	"testing"
	"time"
	"os/exec"
	"net"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/online/redis"
)

const cards = `
entities:
  customer: {key: customer_id, type: int64}
  terminal: {key: terminal_id, type: int64}
sources:
  payments:
    push: true
    id: transaction_id
    timestamp: at
    fields:
      transaction_id: int64
      at: timestamp
      customer_id: int64
      terminal_id: int64
      amount: {type: float64, min: 0, required: true}
views:
  customer_payments:
    entity: customer
    source: payments
    hop: 1s
    windows: [1d, 7d]
    features:
      payments: {function: count}
      mean: {function: mean, field: amount}
  terminal_payments:
    entity: terminal
    source: payments
    hop: 1s
    windows: [7d]
    features:
      payments: {function: count}
services:
  fraud:
    request: {amount: float64, at: timestamp}
    time: at
    features: [amount, customer_payments.payments_1d, customer_payments.mean_7d, terminal_payments.payments_7d]
`

func TestFacadeSpeed(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	l.Close()
	p := exec.Command("redis-server", "--port", port, "--save", "", "--dir", t.TempDir())
	p.Start()
	defer p.Process.Kill()
	time.Sleep(500 * time.Millisecond)
	c, err := definition.Parse("x.yaml", []byte(cards))
	if err != nil {
		t.Fatal(err)
	}
	for _, with := range []bool{true, false} {
	s, err := featurestore.Open(context.Background(), featurestore.Options{Dir: t.TempDir(), Catalog: c, Redis: &redis.Options{URL: "redis://127.0.0.1:" + port, Prefix: fmt.Sprint("p", with, ":"), WriteDeadline: 5 * time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UnixMicro()
	n := 2000
	events := &featurestore.Events{Batch: column.Batch{Rows: n, Columns: []column.Column{{Type: column.Int64}, {Type: column.Timestamp}, {Type: column.Int64}, {Type: column.Int64}, {Type: column.Float64}}}}
	for i := range n {
		b := events.Batch.Columns
		b[0].Ints = append(b[0].Ints, int64(i))
		b[1].Ints = append(b[1].Ints, now-int64(n-i)*1000)
		b[2].Ints = append(b[2].Ints, int64(i%500))
		b[3].Ints = append(b[3].Ints, int64(i%300))
		b[4].Numbers = append(b[4].Numbers, 5)
	}
	var r featurestore.PushResult
	began := time.Now()
	if err := s.Push(context.Background(), "payments", events, &r); err != nil {
		t.Fatal(err)
	}
	fmt.Println(with, r.Accepted, r.Duplicates, len(r.Errors), time.Since(began), float64(n)/time.Since(began).Seconds())
	if len(r.Errors) > 0 { fmt.Println(r.Errors[0]) }
	s.Close()
	}
}
