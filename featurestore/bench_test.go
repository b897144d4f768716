// SPDX-License-Identifier: Apache-2.0

package featurestore_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

// benchStore is a store with the machine's clock.
func benchStore(b *testing.B) *featurestore.Store {
	dir := b.TempDir()
	path := filepath.Join(dir, "features.yaml")
	if err := os.WriteFile(path, []byte(cards), 0o644); err != nil {
		b.Fatal(err)
	}
	c, err := definition.Load(path)
	if err != nil {
		b.Fatal(err)
	}
	store, err := featurestore.Open(context.Background(), featurestore.Options{Dir: dir, Catalog: c})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { store.Close() })
	return store
}

// payments fills events with payments of now.
func payments(events *featurestore.Events, rows, from int, at time.Time) {
	types := []column.Type{column.Int64, column.Timestamp, column.Int64, column.Int64, column.Float64, column.Bool}
	if events.Batch.Columns == nil {
		events.Batch.Columns = make([]column.Column, len(types))
		for i, t := range types {
			events.Batch.Columns[i].Type = t
		}
	}
	events.Batch.Reset()
	events.Batch.Rows = rows
	c := events.Batch.Columns
	for i := from; i < from+rows; i++ {
		c[0].AppendInt(int64(i))
		c[1].AppendInt(at.UnixMicro())
		c[2].AppendInt(int64(i*7919) % 5000)
		c[3].AppendInt(int64(i*104729) % 10000)
		c[4].AppendNumber(float64(i % 200))
	}
}

// BenchmarkPush is one event in a batch of 100, two views, not waiting for the disk.
func BenchmarkPush(b *testing.B) {
	store := benchStore(b)
	events := &featurestore.Events{NoWait: true}
	var result featurestore.PushResult
	b.ReportAllocs()
	for i := 0; i < b.N; i += 100 {
		payments(events, 100, i, time.Now())
		if err := store.Push(context.Background(), "payments", events, &result); err != nil || len(result.Errors) > 0 {
			b.Fatal(err, result.Errors)
		}
	}
}

// BenchmarkRead is one row of two views.
func BenchmarkRead(b *testing.B) {
	store := benchStore(b)
	events := &featurestore.Events{NoWait: true}
	var result featurestore.PushResult
	for i := 0; i < 100_000; i += 1000 {
		payments(events, 1000, i, time.Now())
		if err := store.Push(context.Background(), "payments", events, &result); err != nil || len(result.Errors) > 0 {
			b.Fatal(err, result.Errors)
		}
	}
	service, err := store.Service("fraud")
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now().UnixMicro()
	in := &plan.Inputs{Rows: 1,
		Keys:    []column.Column{{Type: column.Int64, Ints: []int64{1}}, {Type: column.Int64, Ints: []int64{1}}},
		Request: []column.Column{{Type: column.Float64, Numbers: []float64{1}}, {Type: column.Timestamp, Ints: []int64{now}}}}
	out := new(plan.Vectors)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		in.Keys[0].Ints[0], in.Keys[1].Ints[0] = int64(i*7919)%5000, int64(i*104729)%10000
		if err := store.Read(context.Background(), service, in, out); err != nil {
			b.Fatal(err)
		}
	}
}
