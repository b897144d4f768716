// SPDX-License-Identifier: Apache-2.0

package features

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// The shape of Feast's public benchmark: 25 feature views of 10 features, here lookups
// of stored values; services of 5 and of all 25 of them.
const (
	gridViews    = 25
	gridFeatures = 10
)

// gridDefinitions are those views and services.
func gridDefinitions() string {
	var fields, lookups, services strings.Builder
	for v := range gridViews {
		var names []string
		for f := range gridFeatures {
			name := fmt.Sprintf("feature_%d", v*gridFeatures+f)
			fmt.Fprintf(&fields, "      %s: float64\n", name)
			names = append(names, name)
		}
		fmt.Fprintf(&lookups, "  view_%d: {entity: customer, source: values, fields: [%s]}\n", v, strings.Join(names, ", "))
	}
	for _, views := range []int{5, 25} {
		fmt.Fprintf(&services, "  f%d:\n    features:\n", views*gridFeatures)
		for i := range views * gridFeatures {
			fmt.Fprintf(&services, "      - view_%d.feature_%d\n", i/gridFeatures, i)
		}
	}
	return fmt.Sprintf(`entities:
  customer: {key: customer_id, type: int64}
sources:
  values:
    push: true
    id: customer_id
    timestamp: at
    fields:
      customer_id: int64
      at: timestamp
%slookups:
%sservices:
%s`, &fields, &lookups, &services)
}

// cell is one cell of the grid.
type cell struct {
	Features, Rows, PerSecond int
	percentiles
}

// point is one point of the saturation curve.
type point struct {
	Features, Rows, InFlight int
	PerSecond                float64 `json:"requests_per_second"`
	percentiles
}

// Grid measures reads over gRPC. The values are the worst p99 over the rates, in
// milliseconds, of 1 row of 50 features and 100 rows of 250.
func Grid(ctx context.Context, l *Lab) (values []float64, details any, err error) {
	dir, entities, err := l.gridStore(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	server, conn, err := l.serve(ctx, "features", "serve", "--definitions", filepath.Join(dir, "features.yaml"), "--state", filepath.Join(dir, "state"))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(), server.stop()) }()
	client := millracev1.NewFeaturesClient(conn)
	if err := server.await(ctx, func(ctx context.Context) error {
		_, err := client.Get(ctx, gridRequest(50, 1, entities))
		return err
	}); err != nil {
		return nil, nil, err
	}
	var cells []cell
	worst := map[string]float64{}
	rates, duration := []int{10, 100}, 6*time.Second
	if l.Quick {
		rates, duration = []int{100}, 200*time.Millisecond
	}
	for _, features := range []int{50, 250} {
		for _, rows := range []int{1, 10, 50, 100} {
			for _, rate := range rates {
				l.progress("%d features, %d rows, %d requests/s", features, rows, rate)
				p, err := openLoop(ctx, client, features, rows, rate, duration, entities)
				if err != nil {
					return nil, nil, err
				}
				cells = append(cells, cell{features, rows, rate, p})
				key := fmt.Sprintf("%dx%d", rows, features)
				worst[key] = max(worst[key], p.P99/1e3)
			}
		}
	}
	curve, err := l.saturate(ctx, client, entities)
	return []float64{worst["1x50"], worst["100x250"]}, map[string]any{
		"grid": cells, "saturation": curve, "entities": entities, "stored rows": entities * gridViews,
		"Feast's published best p99 (Java server)": "0.8 ms for 1 row, 17 ms for 100 rows, of 50 features; about 1.3 ms for 1 row of 250",
	}, err
}

// gridStore fills a store and closes it.
func (l *Lab) gridStore(ctx context.Context) (dir string, entities int, err error) {
	dir, entities = filepath.Join(l.Folder, "grid"), 40_000
	if l.Quick {
		entities = 500
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return dir, 0, err
	}
	path := filepath.Join(dir, "features.yaml")
	if err := os.WriteFile(path, []byte(gridDefinitions()), 0o644); err != nil {
		return dir, 0, err
	}
	catalog, err := definition.Load(path)
	if err != nil {
		return dir, 0, err
	}
	l.progress("filling %d entities in %d views", entities, gridViews)
	store, err := featurestore.Open(ctx, featurestore.Options{Dir: filepath.Join(dir, "state"), Catalog: catalog})
	if err != nil {
		return dir, 0, err
	}
	return dir, entities, errors.Join(fillGrid(ctx, store, catalog.Source("values"), entities), store.Close())
}

func fillGrid(ctx context.Context, store *featurestore.Store, source *definition.Source, entities int) error {
	var events featurestore.Events
	var result featurestore.PushResult
	for _, f := range source.Fields {
		events.Batch.Columns = append(events.Batch.Columns, column.Column{Name: f.Name, Type: f.Type})
	}
	const batch = 500
	at := time.Now().UnixMicro()
	for from := 0; from < entities; from += batch {
		events.Batch.Reset()
		events.Batch.Rows = min(batch, entities-from)
		for i := range events.Batch.Columns {
			c := &events.Batch.Columns[i]
			for row := range events.Batch.Rows {
				switch c.Type {
				case column.Int64:
					c.AppendInt(int64(from + row))
				case column.Timestamp:
					c.AppendInt(at)
				default:
					c.AppendNumber(float64(from+row) + float64(i)/1000)
				}
			}
		}
		if err := store.Push(ctx, "values", &events, &result); err != nil {
			return err
		}
		if len(result.Errors) > 0 {
			return fmt.Errorf("%d events refused, the first: %+v", len(result.Errors), result.Errors[0])
		}
	}
	return nil
}

// gridRequest asks for random entities.
func gridRequest(features, rows, entities int) *millracev1.GetRequest {
	keys := make([]int64, rows)
	for i := range keys {
		keys[i] = rand.Int64N(int64(entities))
	}
	return &millracev1.GetRequest{Service: fmt.Sprintf("f%d", features), Entities: []*millracev1.Column{{Name: "customer_id", Integers: keys}}}
}

// get sends a request and holds the answer to its shape and its first value.
func get(ctx context.Context, client millracev1.FeaturesClient, q *millracev1.GetRequest, features int) error {
	answer, err := client.Get(ctx, q)
	if err != nil {
		return err
	}
	keys := q.Entities[0].Integers
	if len(answer.Numbers) != len(keys)*features || int64(answer.Numbers[0]) != keys[0] {
		return fmt.Errorf("asked for %d rows of %d features, got %d numbers", len(keys), features, len(answer.Numbers))
	}
	return nil
}

// openLoop sends requests at fixed times; their latency counts from those.
func openLoop(ctx context.Context, client millracev1.FeaturesClient, features, rows, rate int, duration time.Duration, entities int) (percentiles, error) {
	n := max(10, int(duration.Seconds()*float64(rate)))
	times, errs := make([]time.Duration, n), make([]error, n)
	requests := make([]*millracev1.GetRequest, n)
	for i := range requests {
		requests[i] = gridRequest(features, rows, entities)
	}
	var group sync.WaitGroup
	begin := time.Now()
	for i := range n {
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(rate))
		waitUntil(due)
		group.Go(func() {
			errs[i] = get(ctx, client, requests[i], features)
			times[i] = time.Since(due)
		})
	}
	group.Wait()
	return newPercentiles(times), errors.Join(errs...)
}

// waitUntil returns at a moment. A sleep ends up to a millisecond late, which would
// count as latency, so its end is spent awake.
func waitUntil(due time.Time) {
	time.Sleep(time.Until(due) - 2*time.Millisecond)
	for time.Now().Before(due) {
		runtime.Gosched()
	}
}

// saturate raises the number of requests in flight.
func (l *Lab) saturate(ctx context.Context, client millracev1.FeaturesClient, entities int) ([]point, error) {
	var curve []point
	for _, shape := range [][2]int{{50, 1}, {250, 100}} {
		for _, inFlight := range []int{1, 2, 4, 8, 16, 32} {
			l.progress("%d features, %d rows, %d in flight", shape[0], shape[1], inFlight)
			rate, p, err := closedLoop(ctx, inFlight, l.sizes().round, func(ctx context.Context, _ int) error {
				return get(ctx, client, gridRequest(shape[0], shape[1], entities), shape[0])
			})
			if err != nil {
				return curve, err
			}
			curve = append(curve, point{shape[0], shape[1], inFlight, rate, p})
		}
	}
	return curve, nil
}

// closedLoop keeps calls in flight for a while and returns how many ended a second.
func closedLoop(ctx context.Context, inFlight int, duration time.Duration, call func(ctx context.Context, worker int) error) (float64, percentiles, error) {
	times, errs := make([][]time.Duration, inFlight), make([]error, inFlight)
	var group sync.WaitGroup
	begin := time.Now()
	for worker := range inFlight {
		group.Go(func() {
			for time.Since(begin) < duration {
				began := time.Now()
				if errs[worker] = call(ctx, worker); errs[worker] != nil {
					return
				}
				times[worker] = append(times[worker], time.Since(began))
			}
		})
	}
	group.Wait()
	took := time.Since(begin)
	var all []time.Duration
	for _, t := range times {
		all = append(all, t...)
	}
	return float64(len(all)) / took.Seconds(), newPercentiles(all), errors.Join(errs...)
}
