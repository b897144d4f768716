// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

const testFeatures = `
entities:
  customer: {key: customer_id, type: int64}
sources:
  payments:
    push: true
    id: payment_id
    timestamp: at
    fields:
      payment_id: string
      at: timestamp
      customer_id: int64
      amount: {type: float64, min: 0, required: true}
  profiles:
    push: true
    id: customer_id
    timestamp: at
    fields: {customer_id: int64, at: timestamp, country: string}
views:
  spent:
    entity: customer
    source: payments
    hop: 1s
    features:
      payments: {function: count, window: 1d}
      total: {function: sum, field: amount, window: 1d}
lookups:
  profile: {entity: customer, source: profiles, fields: [country]}
services:
  fraud:
    model: fraud
    request: {amount: {type: float64, required: true}, at: timestamp}
    time: at
    features:
      - amount
      - spent.payments
      - spent.total
  texts:
    model: texts
    features:
      - {name: payments, from: spent.payments}
      - {name: country, from: profile.country, default: none}
`

const testPolicies = `
decisions:
  payment:
    service: fraud
    event: payments
    request: {payment_id: {type: string, required: true}}
    unit: customer_id
    idempotency: {ttl: 1h}
    budget: {total: 1m, model: 40s} # of real time, which a slow machine must not use up
    reasons: {RISK: the model finds it risky, BLOCKED: the customer is blocked, LARGE: a large payment, DOWN: the model could not be asked}
    decisions: [approve, review, block]
    before:
      - {name: blocked, when: "customer_id == 13", decision: block, reason: BLOCKED}
    segments:
      - {name: large, when: amount > 500}
    thresholds:
      default: [{from: 0.8, decision: block, reason: RISK}, {decision: approve}]
      large: [{from: 0.3, decision: review, reason: RISK}, {decision: approve}]
    after:
      - {name: often, when: "spent__payments >= 5 and decision == 'approve'", decision: review}
    explain:
      rules: [{code: LARGE, when: amount > 500}]
    fallback:
      - previous_version
      - rules: [{name: down_large, when: amount > 1000, decision: review, reason: DOWN}]
      - default: {decision: approve, reason: DOWN}
  experiment:
    service: fraud
    unit: customer_id
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
    experiment:
      salt: one
      arms:
        - {name: control, share: 0.7}
        - {name: other, share: 0.3, model: challenger}
    shadow: [{model: shadow}]
  bare:
    service: fraud
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
  texts:
    service: texts
    decisions: [approve, block]
    thresholds: {default: [{from: 0.5, decision: block}, {decision: approve}]}
    fallback: [{default: {decision: approve}}]
`

// fakeModels are models made of functions.
type fakeModels struct {
	mu       sync.Mutex
	models   map[string]*fakeModel
	runs     atomic.Int64
	deadline atomic.Pointer[time.Time] // of the last run
}

type fakeModel struct {
	current, previous int64
	versions          map[int64]*fakeVersion
}

// fakeVersion is a version; run gets the inputs as numbers and as texts.
type fakeVersion struct {
	inputs, outputs []Tensor
	file            string // an ONNX file
	run             func(ctx context.Context, numbers []float64, texts []string) (float64, error)
}

// vectorVersion takes the vector of the service fraud as FP32 and gives an FP32.
func vectorVersion(run func(ctx context.Context, numbers []float64) (float64, error)) *fakeVersion {
	return &fakeVersion{
		inputs: []Tensor{{Name: "input", Datatype: tensor.FP32, Width: 3}}, outputs: []Tensor{{Name: "score", Datatype: tensor.FP32, Width: 1}},
		run: func(ctx context.Context, numbers []float64, _ []string) (float64, error) { return run(ctx, numbers) },
	}
}

// constant scores everything alike.
func constant(score float64) *fakeVersion {
	return vectorVersion(func(context.Context, []float64) (float64, error) { return score, nil })
}

// failing cannot score.
func failing(err error) *fakeVersion {
	return vectorVersion(func(context.Context, []float64) (float64, error) { return 0, err })
}

// set makes a version the current one.
func (m *fakeModels) set(model string, number int64, v *fakeVersion) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.models == nil {
		m.models = map[string]*fakeModel{}
	}
	f := m.models[model]
	if f == nil {
		f = &fakeModel{versions: map[int64]*fakeVersion{}}
		m.models[model] = f
	}
	if f.current != number {
		f.previous, f.current = f.current, number
	}
	f.versions[number] = v
}

func (m *fakeModels) Previous(model string) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.models[model]; f != nil {
		return f.previous
	}
	return 0
}

func (m *fakeModels) NewCall() Call { return &fakeCall{models: m} }

type fakeCall struct {
	models  *fakeModels
	version *fakeVersion
	number  int64
	inputs  [][]byte
	texts   [][]string
	output  []byte
}

func (c *fakeCall) Begin(model, version string) error {
	c.models.mu.Lock()
	defer c.models.mu.Unlock()
	if c.version != nil {
		return errors.New("the call has a version already")
	}
	f := c.models.models[model]
	if f == nil {
		return errors.New("not loaded")
	}
	c.number = f.current
	if version != "" {
		c.number, _ = strconv.ParseInt(version, 10, 64)
	}
	if c.version = f.versions[c.number]; c.version == nil {
		return errors.New("no such version")
	}
	c.inputs = append(c.inputs[:0], make([][]byte, len(c.version.inputs))...)
	c.texts = append(c.texts[:0], make([][]string, len(c.version.inputs))...)
	return nil
}

func (c *fakeCall) Version() int64    { return c.number }
func (c *fakeCall) Inputs() []Tensor  { return c.version.inputs }
func (c *fakeCall) Outputs() []Tensor { return c.version.outputs }

func (c *fakeCall) ModelFile() (string, error) {
	if c.version.file == "" {
		return "", errors.New("the model is made of functions")
	}
	return c.version.file, nil
}

func (c *fakeCall) Input(i, rows int) ([]byte, error) {
	in := &c.version.inputs[i]
	width := in.Width
	if width < 0 {
		width = 3
	}
	c.inputs[i] = make([]byte, rows*width*in.Datatype.Size())
	return c.inputs[i], nil
}

func (c *fakeCall) InputTexts(i int, texts []string) error {
	c.texts[i] = append(c.texts[i], texts...)
	return nil
}

func (c *fakeCall) Run(ctx context.Context, deadline time.Time) error {
	c.models.runs.Add(1)
	c.models.deadline.Store(&deadline)
	var numbers []float64
	var texts []string
	for i, in := range c.version.inputs {
		texts = append(texts, c.texts[i]...)
		for b := c.inputs[i]; len(b) > 0; b = b[in.Datatype.Size():] {
			numbers = append(numbers, decode(in.Datatype, b))
		}
	}
	score, err := c.version.run(ctx, numbers, texts)
	out := &c.version.outputs[0]
	c.output = c.output[:0]
	for range max(out.Width, 0) {
		c.output = encode(out.Datatype, c.output, score)
	}
	return err
}

func decode(t tensor.Datatype, b []byte) float64 {
	switch t {
	case tensor.FP32:
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(b)))
	case tensor.FP64:
		return math.Float64frombits(binary.LittleEndian.Uint64(b))
	case tensor.Int64:
		return float64(int64(binary.LittleEndian.Uint64(b)))
	case tensor.Int32:
		return float64(int32(binary.LittleEndian.Uint32(b)))
	}
	return float64(b[0])
}

func encode(t tensor.Datatype, b []byte, x float64) []byte {
	switch t {
	case tensor.FP32:
		return binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(x)))
	case tensor.FP64:
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
	case tensor.Int64:
		return binary.LittleEndian.AppendUint64(b, uint64(int64(x)))
	}
	return binary.LittleEndian.AppendUint32(b, uint32(int32(x)))
}

func (c *fakeCall) Output(int) ([]byte, error) { return c.output, nil }
func (c *fakeCall) Release()                   { c.version = nil }

// bench is a front-end over a store in a folder, with a clock that is set.
type bench struct {
	t        testing.TB
	dir      string
	now      atomic.Int64
	log      offline.Options
	store    *featurestore.Store
	front    *Frontend
	models   *fakeModels
	keys     int // Options.KeysMax
	queue    int // Options.ShadowQueueMax
	logger   *slog.Logger
	policies string
}

const noon = int64(17_000*86_400+43_200) * 1_000_000

func newBench(t testing.TB) *bench { return newBenchOf(t, testPolicies) }

func newBenchOf(t testing.TB, policies string) *bench {
	b := &bench{t: t, dir: t.TempDir(), policies: policies, models: new(fakeModels), log: offline.Options{CompactEvery: -1}}
	b.now.Store(noon)
	b.models.set("fraud", 1, constant(0.25))
	b.models.set("challenger", 1, constant(0.75))
	b.models.set("shadow", 1, constant(0.5))
	b.open()
	t.Cleanup(b.close)
	return b
}

func (b *bench) open() {
	b.t.Helper()
	c, err := definition.Parse("features.yaml", []byte(testFeatures))
	if err != nil {
		b.t.Fatal(err)
	}
	policies, err := policy.Parse(c, "decisions.yaml", []byte(b.policies))
	if err != nil {
		b.t.Fatal(err)
	}
	quiet := cmp.Or(b.logger, slog.New(slog.NewTextHandler(io.Discard, nil)))
	b.store, err = featurestore.Open(b.t.Context(), featurestore.Options{Dir: b.dir, Catalog: c, Log: b.log, Logger: quiet,
		Online: online.Options{Shards: 4, CheckpointEvery: -1, SweepEvery: -1}, Now: func() time.Time { return time.UnixMicro(b.now.Load()) }})
	if err != nil {
		b.t.Fatal(err)
	}
	b.front, err = New(b.t.Context(), Options{Store: b.store, Policies: policies, Models: b.models, KeysMax: b.keys, ShadowQueueMax: b.queue, Logger: quiet})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) close() {
	b.t.Helper()
	if err := b.front.Close(); err != nil && !errors.Is(err, ErrClosed) {
		b.t.Error(err)
	}
	if err := b.store.Close(); err != nil {
		b.t.Error(err)
	}
}

func (b *bench) reopen() {
	b.t.Helper()
	b.close()
	b.open()
}

// undisturbed has nothing allocate beside what is measured until the test ends: the log
// does not write, and no collection empties the pools.
func (b *bench) undisturbed() {
	b.t.Helper()
	percent := debug.SetGCPercent(-1)
	b.t.Cleanup(func() { debug.SetGCPercent(percent) })
	b.close()
	b.log.GroupWait = time.Minute
	b.open()
}

// facts are set by name: float64, int, string, bool, nil.
type facts map[string]any

// decide answers a request of which only the answer is of interest; it is copied.
func (b *bench) decide(decision, key string, f facts) (Answer, error) {
	b.t.Helper()
	q, err := b.front.NewRequest(decision)
	if err != nil {
		b.t.Fatal(err)
	}
	defer q.Release()
	q.Explain = true
	if err := setFacts(q, key, f); err != nil {
		return Answer{}, err
	}
	a, err := b.front.Decide(b.t.Context(), q)
	if err != nil {
		return Answer{}, err
	}
	copied := *a
	copied.Reasons = append([]policy.Reason(nil), a.Reasons...)
	copied.Values = append([]float64(nil), a.Values...)
	copied.Contributions = append([]float64(nil), a.Contributions...)
	return copied, nil
}

func setFacts(q *Request, key string, f facts) error {
	errs := []error{q.SetKey(key)}
	for name, v := range f {
		switch v := v.(type) {
		case float64:
			errs = append(errs, q.SetNumber(name, v))
		case int:
			errs = append(errs, q.SetInt(name, int64(v)))
		case string:
			errs = append(errs, q.SetTextOrTime(name, v))
		case bool:
			errs = append(errs, q.SetBool(name, v))
		default:
			errs = append(errs, q.SetNull(name))
		}
	}
	return errors.Join(errs...)
}

// must is decide of a request that has to be answered.
func (b *bench) must(decision, key string, f facts) Answer {
	b.t.Helper()
	a, err := b.decide(decision, key, f)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

// records are those of a stream of the log, durable first.
func (b *bench) records(stream string) (all []offline.Record) {
	b.t.Helper()
	if err := b.store.Log().Sync(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	scan, err := b.store.Log().Scan(b.t.Context(), offline.Query{Stream: stream, Versions: offline.AllVersions})
	if err != nil {
		b.t.Fatal(err)
	}
	defer scan.Close()
	for scan.Next() {
		all = append(all, scan.Record().Clone())
	}
	if err := scan.Err(); err != nil {
		b.t.Fatal(err)
	}
	return all
}
