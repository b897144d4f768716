// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/millrace-ml/millrace/engine/attribution"
	"github.com/millrace-ml/millrace/engine/onnx"
)

// attributor says what features add to the score of a binding.
type attributor struct {
	*explained
	// columns are the rows that the explainer takes.
	columns []matrixColumn
	// output is the raw score of the class asked for; sign is -1 where it is that of the
	// other one.
	output int
	sign   float64
	// why there is none; the others are not set then.
	why error
}

// explained is a version's explainer, or why there is none. Bindings of a version share it.
type explained struct {
	explainer *attribution.Explainer
	// parts are the inputs that its matrix is made of, if it is none itself.
	parts []matrixPart
	err   error
	// cost is what a row takes, in nanoseconds.
	cost atomic.Int64
}

// took notes what a row took: the most of late, so that one that does not fit in what is
// left of a budget is not begun. With every row it forgets an eighth, also with those that
// it kept from being begun, lest one slow row end them all.
func (x *explained) took(d time.Duration) {
	was := x.cost.Load()
	x.cost.Store(max(int64(d), was-was/8))
}

// explainers opens explainers of the versions that bindings are of, one after the other,
// off the request path. An explainer lives as long as a binding has it: at most two for each
// arm of a decision, that of the current and that of the previous version.
type explainers struct {
	frontend *Frontend
	queue    chan *binding
	stopping atomic.Bool
	running  sync.WaitGroup
	// opened are those that some binding has, by the version's inputs, which tell it from one
	// loaded again; only the worker uses it.
	opened map[*Tensor]weak.Pointer[explained]
}

const (
	// explainersQueueMax bounds the bindings that wait for an explainer. One that finds no
	// place asks again with its next request.
	explainersQueueMax = 256
	// explainedBytesMax bounds the model files that are read: what is larger is hardly trees
	// or a linear model, and would only cost memory.
	explainedBytesMax = 512 << 20
)

// newExplainers starts the worker if any policy has attributions.
func newExplainers(f *Frontend) *explainers {
	e := &explainers{frontend: f}
	for _, p := range f.options.Policies {
		if p.Attributions != nil && e.queue == nil {
			e.queue, e.opened = make(chan *binding, explainersQueueMax), map[*Tensor]weak.Pointer[explained]{}
			e.running.Go(e.work)
		}
	}
	return e
}

// want has a binding's attributor made, unless it is there or asked for. The caller holds
// Frontend.inUse, and the binding's policy has attributions.
func (e *explainers) want(b *binding) {
	if b.attributor.Load() != nil || !b.wanted.CompareAndSwap(false, true) {
		return
	}
	select {
	case e.queue <- b:
	default:
		b.wanted.Store(false)
	}
}

// work makes attributors until the queue is closed.
func (e *explainers) work() {
	call := e.frontend.options.Models.NewCall()
	for b := range e.queue {
		if e.stopping.Load() {
			continue
		}
		if x, fresh := e.open(call, b); x != nil {
			a := newAttributor(b, x)
			b.attributor.Store(a)
			if a.why != nil && (fresh || x.err == nil) {
				e.frontend.options.Logger.Warn("decisions by a model come without attributions", "model", b.model, "version", b.version, "reason", a.why)
			}
		}
		b.wanted.Store(false)
	}
}

// open gives the explainer of a binding's version, or nil where that version is gone: the
// binding is of no more use then. Fresh is whether it was not there yet.
func (e *explainers) open(call Call, b *binding) (x *explained, fresh bool) {
	if x := e.opened[b.tensors].Value(); x != nil {
		return x, false
	}
	for key, p := range e.opened {
		if p.Value() == nil {
			delete(e.opened, key)
		}
	}
	if err := call.Begin(b.model, strconv.FormatInt(b.version, 10)); err != nil {
		return nil, false
	}
	defer call.Release() // until then its files stay
	if !b.fits(call) {
		return nil, false
	}
	x = new(explained)
	x.read(call)
	e.opened[b.tensors] = weak.Make(x)
	return x, true
}

// read opens the explainer of the version that a call holds.
func (x *explained) read(call Call) {
	// A model that serves must not end the server because it cannot be explained.
	defer func() {
		if fault := recover(); fault != nil {
			x.err = fmt.Errorf("%w: %v", attribution.ErrNoAttribution, fault)
		}
	}()
	var m *onnx.Model
	if m, x.err = readModel(call); x.err != nil {
		return
	}
	if x.explainer, x.err = attribution.Open(m); x.err == nil {
		x.parts, x.err = partsOf(m.Graph, x.explainer)
		began := time.Now()
		x.explainer.ExplainOutput(make([]float32, x.explainer.Features()), 0, make([]float64, x.explainer.Features()))
		x.took(time.Since(began))
	}
}

func readModel(call Call) (*onnx.Model, error) {
	file, err := call.ModelFile()
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Size() > explainedBytesMax {
		return nil, fmt.Errorf("%w: its file has %d bytes, more than the %d that are read for it", attribution.ErrNoAttribution, info.Size(), explainedBytesMax)
	}
	return onnx.ReadFile(file, onnx.ReadOptions{})
}

// newAttributor finds the raw score of the class that a binding's score is of.
func newAttributor(b *binding, x *explained) *attributor {
	a := &attributor{explained: x, sign: 1, why: x.err}
	if a.why != nil {
		return a
	}
	if a.columns, a.why = columnsOf(b, x); a.why != nil {
		return a
	}
	switch scores := x.explainer.Outputs(); {
	case scores == 1 && b.class == 0 && b.width == 2:
		a.sign = -1
	case scores == 1 && (b.class == 0 && b.width == 1 || b.class == 1 && b.width == 2):
	case scores > 1 && scores == b.width:
		a.output = b.class
	default:
		a.why = fmt.Errorf("%w: it has %d raw scores, and which of them is class %d of an output of %d is not known", attribution.ErrNoAttribution, scores, b.class, b.width)
	}
	return a
}

// close ends the worker after the model that it reads. Nothing may be wanted any more.
func (e *explainers) close() {
	if e.queue != nil {
		e.stopping.Store(true)
		close(e.queue)
	}
	e.running.Wait()
}

// Why there are no attributions though there could be. The answer says degraded.
var (
	errNotOpened = errors.New("the model's explainer is being made")
	errNoReserve = errors.New("too little time was left")
)

// attribute makes reasons of what features added to the score, where the policy or the
// request wants that and a model's score led to the answer.
func (q *Request) attribute(ctx context.Context) {
	p, b := q.decision.policy, q.scored
	if b == nil || !p.Attributes(q.facts, q.Explain) {
		return
	}
	by := b.attributor.Load()
	switch {
	case by == nil:
		q.decision.frontend.explainers.want(b)
		q.unattributed(errNotOpened)
	case by.why != nil:
		q.answer.Unattributed = by.why.Error()
	case q.timeLeft(ctx) < p.Attributions.Reserve+time.Duration(by.cost.Load()):
		by.took(0)
		q.unattributed(errNoReserve)
	default:
		began := time.Now()
		q.explain(by)
		by.took(time.Since(began))
	}
}

func (q *Request) unattributed(why error) {
	q.answer.Unattributed = why.Error()
	q.decision.counts.unattributed.Add(1)
	q.degrade("attributions", why)
}

// explain attributes the vector that was served.
func (q *Request) explain(by *attributor) {
	q.row, q.parts = q.row[:0], append(q.parts[:0], make([]float64, len(by.columns))...)
	for i := range by.columns {
		q.row = append(q.row, by.columns[i].of(&q.vectors))
	}
	base := by.sign * by.explainer.ExplainOutput(q.row, by.output, q.parts)
	q.contributions = append(q.contributions[:0], make([]float64, q.vectors.Width)...)
	for i := range by.columns {
		q.contributions[by.columns[i].feature] += by.sign * q.parts[i]
	}
	q.decision.policy.Attribute(q.contributions, &q.outcome)
	if q.Explain {
		q.answer.Contributions, q.answer.Base = q.contributions, base
	}
}

// timeLeft is until the budget's or the client's deadline, whichever is earlier.
func (q *Request) timeLeft(ctx context.Context) time.Duration {
	left := time.Duration(1<<63 - 1)
	if total := q.decision.policy.Budget.Total; total > 0 {
		left = total - time.Since(q.started)
	}
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(deadline))
	}
	return left
}
