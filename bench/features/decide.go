// SPDX-License-Identifier: Apache-2.0

package features

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

const decideProject = `name: bench
models: models
features: [features.yaml]
decisions: [decisions.yaml]
state: state
`

const decideDecisions = `decisions:
  payment:
    service: fraud
    event: payments
    request: {transaction_id: {type: int64, required: true}}
    model: {name: fraud, output: probabilities, class: 1}
    decisions: [approve, review, block]
    reasons: {RISK: the model finds the payment risky, DOWN: the model is not there}
    thresholds:
      default: [{from: 0.8, decision: block, reason: RISK}, {from: 0.5, decision: review, reason: RISK}, {decision: approve}]
    fallback:
      - default: {decision: review, reason: DOWN}
`

// cardViews are the 15 published features of card payments.
const cardViews = `views:
  customer:
    entity: customer
    source: payments
    windows: [1d, 7d, 30d]
    hop: 1s
    features:
      count: {function: count}
      mean: {function: mean, field: amount}
  terminal:
    entity: terminal
    source: payments
    delay: 7d
    windows: [1d, 7d, 30d]
    hop: 1s
    features:
      count: {function: count}
      risk: {function: mean, field: is_fraud, default: 0}
services:
  fraud:
    request: {amount: {type: float64, required: true}, event_timestamp: timestamp}
    time: event_timestamp
    features:
      - amount
      - {name: during_weekend, expression: "weekday(event_timestamp) >= 6", type: float64}
      - {name: during_night, expression: "hour(event_timestamp) <= 6", type: float64}
      - customer.count_1d
      - {name: mean_1d, from: customer.mean_1d, default: 0}
      - customer.count_7d
      - {name: mean_7d, from: customer.mean_7d, default: 0}
      - customer.count_30d
      - {name: mean_30d, from: customer.mean_30d, default: 0}
      - terminal.count_1d
      - terminal.risk_1d
      - terminal.count_7d
      - terminal.risk_7d
      - terminal.count_30d
      - terminal.risk_30d
`

// The numbers of entities that decisions are about, as in the published data set.
const (
	customers = 5_000
	terminals = 10_000
)

// Decide compares requests per second of decisions with those of the model alone, of
// the same server. The value is the ratio of unary calls, Decide over ModelInfer; that of
// the streams is in the details.
func Decide(ctx context.Context, l *Lab) (values []float64, details any, err error) {
	dir, err := l.decideProject(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer os.RemoveAll(dir)
	server, conn, err := l.serve(ctx, "up", dir, "--replay=false")
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, conn.Close(), server.stop()) }()
	d := &deciders{decisions: millracev1.NewDecisionsClient(conn), models: inference.NewGRPCInferenceServiceClient(conn)}
	d.next.Store(time.Now().UnixNano())
	if err := server.await(ctx, func(ctx context.Context) error { return errors.Join(d.decide(ctx), d.infer(ctx)) }); err != nil {
		return nil, nil, err
	}
	unary, unaryDetails, err := d.compare(ctx, l, "unary, 32 in flight", func(ctx context.Context, call func(context.Context) error, _ bool) (float64, error) {
		rate, _, err := closedLoop(ctx, 32, l.sizes().round, func(ctx context.Context, _ int) error { return call(ctx) })
		return rate, err
	})
	if err != nil {
		return nil, nil, err
	}
	_, streamDetails, err := d.compare(ctx, l, "4 streams of 64", func(ctx context.Context, _ func(context.Context) error, decide bool) (float64, error) {
		if decide {
			return d.stream(ctx, l.sizes().round, d.openDecide)
		}
		return d.stream(ctx, l.sizes().round, d.openInfer)
	})
	return []float64{unary}, map[string]any{"unary": unaryDetails, "stream": streamDetails}, err
}

// decideProject writes a project and gives its entities a history.
func (l *Lab) decideProject(ctx context.Context) (string, error) {
	w, err := l.openWorld("decide", fmt.Sprintf(paymentsSource, cardViews))
	if err != nil {
		return "", err
	}
	s := l.sizes()
	s.entities, s.eventsEach = customers, min(60, 3*s.eventsEach)
	if err := errors.Join(w.fill(ctx, s), w.store.Close()); err != nil {
		return w.dir, err
	}
	model, err := zoo.NewTrees("fraud", 4, 100, 31, 15).Model().Marshal()
	if err != nil {
		return w.dir, err
	}
	if err := os.MkdirAll(filepath.Join(w.dir, "models", "fraud", "1"), 0o755); err != nil {
		return w.dir, err
	}
	for name, text := range map[string]string{"millrace.yaml": decideProject, "decisions.yaml": decideDecisions, "models/fraud/1/model.onnx": string(model)} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o644); err != nil {
			return w.dir, err
		}
	}
	return w.dir, nil
}

// deciders are clients of both services.
type deciders struct {
	decisions millracev1.DecisionsClient
	models    inference.GRPCInferenceServiceClient
	next      atomic.Int64 // transaction ids
}

// request is a payment of now that nobody asked about before.
func (d *deciders) request() *millracev1.DecideRequest {
	id := d.next.Add(1)
	integer := func(name string, v int64) *millracev1.Fact {
		return &millracev1.Fact{Name: name, Value: &millracev1.Value{Kind: &millracev1.Value_Integer{Integer: v}}}
	}
	return &millracev1.DecideRequest{Decision: "payment", Facts: []*millracev1.Fact{
		integer("transaction_id", id), integer("customer_id", scatter(id, customers)), integer("terminal_id", scatter(id*31, terminals)),
		integer("event_timestamp", time.Now().UnixMicro()),
		{Name: "amount", Value: &millracev1.Value{Kind: &millracev1.Value_Number{Number: float64(id%20_000) / 100}}},
	}}
}

func checkDecision(a *millracev1.DecideResponse) error {
	if a.Error != "" || a.Degraded || a.Decision == "" || a.ModelVersion != 1 {
		return fmt.Errorf("no whole decision: %v", a)
	}
	return nil
}

func (d *deciders) decide(ctx context.Context) error {
	a, err := d.decisions.Decide(ctx, d.request())
	if err != nil {
		return err
	}
	return checkDecision(a)
}

// row is a vector as the model takes it.
func (d *deciders) row() *inference.ModelInferRequest {
	raw, id := make([]byte, 0, 60), d.next.Add(1)
	for i := range int64(15) {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32((id+i)%100)/100))
	}
	return &inference.ModelInferRequest{
		ModelName: "fraud", Inputs: []*inference.ModelInferRequest_InferInputTensor{{Name: "input", Datatype: "FP32", Shape: []int64{1, 15}}},
		RawInputContents: [][]byte{raw},
	}
}

func (d *deciders) infer(ctx context.Context) error {
	a, err := d.models.ModelInfer(ctx, d.row())
	if err == nil && len(a.Outputs) == 0 {
		err = errors.New("no output")
	}
	return err
}

// compare takes turns and returns the median ratio of decisions to runs of the model.
func (d *deciders) compare(ctx context.Context, l *Lab, name string, measure func(ctx context.Context, call func(context.Context) error, decide bool) (float64, error)) (float64, any, error) {
	var ratios, decides, infers []float64
	for round := range l.sizes().rounds + 1 {
		l.progress("decide over infer, %s, round %d", name, round)
		decide, err := measure(ctx, d.decide, true)
		if err != nil {
			return 0, nil, err
		}
		infer, err := measure(ctx, d.infer, false)
		if err != nil {
			return 0, nil, err
		}
		if round > 0 { // the first warms up
			ratios, decides, infers = append(ratios, decide/infer), append(decides, decide), append(infers, infer)
		}
	}
	return median(ratios), map[string]any{"load": name, "ratios": ratios, "decisions per second": decides, "infers per second": infers}, nil
}

// exchange is one open stream.
type exchange struct {
	send func() error
	recv func() error
	end  func() error
}

func (d *deciders) openDecide(ctx context.Context) (exchange, error) {
	stream, err := d.decisions.StreamDecide(ctx)
	if err != nil {
		return exchange{}, err
	}
	return exchange{
		send: func() error { return stream.Send(d.request()) },
		recv: func() error {
			a, err := stream.Recv()
			if err != nil {
				return err
			}
			return checkDecision(a)
		},
		end: stream.CloseSend,
	}, nil
}

func (d *deciders) openInfer(ctx context.Context) (exchange, error) {
	stream, err := d.models.ModelStreamInfer(ctx)
	if err != nil {
		return exchange{}, err
	}
	return exchange{
		send: func() error { return stream.Send(d.row()) },
		recv: func() error {
			a, err := stream.Recv()
			if err == nil && a.ErrorMessage != "" {
				err = errors.New(a.ErrorMessage)
			}
			return err
		},
		end: stream.CloseSend,
	}, nil
}

// stream keeps 64 requests in flight on each of 4 streams.
func (d *deciders) stream(ctx context.Context, duration time.Duration, open func(context.Context) (exchange, error)) (float64, error) {
	const streams, window = 4, 64
	var answered atomic.Int64
	begin := time.Now()
	var err error
	errs := make(chan error, streams)
	for range streams {
		go func() { errs <- d.pump(ctx, begin, duration, window, open, &answered) }()
	}
	for range streams {
		err = errors.Join(err, <-errs)
	}
	return float64(answered.Load()) / time.Since(begin).Seconds(), err
}

// pump fills the window, then sends one request for each answer until the time is
// over, and reads what is left.
func (d *deciders) pump(ctx context.Context, begin time.Time, duration time.Duration, window int, open func(context.Context) (exchange, error), answered *atomic.Int64) error {
	x, err := open(ctx)
	if err != nil {
		return err
	}
	for range window {
		if err := x.send(); err != nil {
			return err
		}
	}
	inFlight := window
	for inFlight > 0 {
		if err := x.recv(); err != nil {
			return err
		}
		answered.Add(1)
		inFlight--
		if time.Since(begin) < duration {
			if err := x.send(); err != nil {
				return err
			}
			inFlight++
		}
	}
	return x.end()
}
