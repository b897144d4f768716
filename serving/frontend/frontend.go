// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/latency"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// Options configure a Frontend.
type Options struct {
	// Store gives features and holds the log. It stays the caller's, and is closed after
	// the Frontend.
	Store *featurestore.Store
	// Policies are the decisions that can be asked for.
	Policies []*policy.Policy
	// Models runs the models.
	Models Models
	// KeysMax bounds the idempotency keys that are remembered; the oldest are forgotten
	// first. Default 1,000,000.
	KeysMax int
	// ShadowQueueMax bounds the runs of shadow models that wait; more are dropped and
	// counted. Default 1024.
	ShadowQueueMax int
	// Logger gets what happens. Nil is slog.Default.
	Logger *slog.Logger
}

// EnsureDefaults replaces zero values.
func (o *Options) EnsureDefaults() {
	if o.KeysMax == 0 {
		o.KeysMax = 1_000_000
	}
	if o.ShadowQueueMax == 0 {
		o.ShadowQueueMax = 1024
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Frontend answers decisions.
type Frontend struct {
	options   Options
	decisions map[string]*decision
	names     string // of all decisions, for messages
	ids       idSource
	keys      *memory
	stream    *offline.Stream
	shadows   *shadows
	// explainers attribute scores to features.
	explainers *explainers
	counts     counters
	// rolloutMu is held while a rollout is set, so that only one is.
	rolloutMu sync.Mutex
	// inUse is held for reading by every decision, for writing by Close.
	inUse  sync.RWMutex
	closed bool
}

// decision is a policy made ready to run.
type decision struct {
	frontend *Frontend
	policy   *policy.Policy
	service  *plan.Assembler
	version  string // of the service
	requests sync.Pool
	// arms has a model for each arm of the experiment.
	arms []armModel
	// rollout splits the model beside the policy; nil is none.
	rollout atomic.Pointer[rollout]
	counts  decisionCounters
}

// armModel is what is known of an arm's model while it runs.
type armModel struct {
	current, previous atomic.Pointer[binding]
	breaker           breaker
}

// counters are what Stats tells.
type counters struct {
	unlogged, shadowDropped, shadowFailed, keysForgotten atomic.Int64
}

// decisionCounters are those of one decision.
type decisionCounters struct {
	answers  []atomic.Int64 // by arm, then by place in Policy.Decisions
	degraded atomic.Int64
	repeated atomic.Int64
	refused  atomic.Int64
	failed   atomic.Int64
	// unattributed answers lack attributions that they could have.
	unattributed atomic.Int64
	times        latency.Histogram
}

// New makes a front-end. It reads remembered keys back from the log.
func New(ctx context.Context, o Options) (*Frontend, error) {
	o.EnsureDefaults()
	f := &Frontend{options: o, decisions: map[string]*decision{}, ids: newIDSource()}
	f.keys = newMemory(o.KeysMax, &f.counts.keysForgotten)
	var err error
	if f.stream, err = o.Store.Log().Declare(decisionSchema()); err != nil {
		return nil, err
	}
	var names []string
	for _, p := range o.Policies {
		d := &decision{frontend: f, policy: p, arms: make([]armModel, len(p.Arms))}
		if d.service, err = o.Store.Service(p.Service.Name); err != nil {
			return nil, fmt.Errorf("decision %s: %w", p.Name, err)
		}
		d.version = plan.ShortHash(p.Service.Hash())
		d.counts.answers = make([]atomic.Int64, len(p.Arms)*len(p.Decisions))
		d.requests.New = func() any { return d.newRequest() }
		f.decisions[p.Name] = d
		names = append(names, p.Name)
	}
	slices.Sort(names)
	f.names = strings.Join(names, ", ")
	if err := f.remember(ctx); err != nil {
		return nil, fmt.Errorf("reading idempotency keys back from the log of decisions: %w", err)
	}
	if f.shadows, err = newShadows(f, o.ShadowQueueMax); err != nil {
		return nil, err
	}
	f.explainers = newExplainers(f)
	return f, nil
}

// Policies are the decisions that can be asked for, by name.
func (f *Frontend) Policies() []*policy.Policy {
	all := slices.Clone(f.options.Policies)
	slices.SortFunc(all, func(a, b *policy.Policy) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// CheckModels reports every decision whose model cannot be run as things are: not
// loaded, or with inputs that its feature service does not have. Serving does not
// depend on it, since models come and go; a start does well to say it. Explainers of the
// others are made from here on, so that the first answers have their attributions.
func (f *Frontend) CheckModels() error {
	f.inUse.RLock()
	defer f.inUse.RUnlock()
	var faults []error
	for _, p := range f.Policies() {
		d := f.decisions[p.Name]
		call := f.options.Models.NewCall()
		for i := range p.Arms {
			m := &p.Arms[i].Model
			err := call.Begin(m.Name, m.Version)
			if err == nil {
				err = d.bindAhead(i, call)
				call.Release()
			}
			if err != nil {
				faults = append(faults, fmt.Errorf("decision %s: %w", d.policy.Name, err))
			}
		}
	}
	return errors.Join(faults...)
}

// bindAhead binds the version that a call holds to an arm, where nothing is bound yet. The
// caller holds Frontend.inUse.
func (d *decision) bindAhead(arm int, call Call) error {
	b, err := newBinding(d.policy.Service, &d.policy.Arms[arm].Model, call)
	if err != nil {
		return err
	}
	if d.arms[arm].current.CompareAndSwap(nil, b) && d.policy.Attributions != nil && !d.frontend.closed {
		d.frontend.explainers.want(b)
	}
	return nil
}

// Close refuses new decisions, waits for those under way and for the shadow models'
// runs. A second Close returns ErrClosed.
func (f *Frontend) Close() error {
	f.inUse.Lock()
	defer f.inUse.Unlock()
	if f.closed {
		return ErrClosed
	}
	f.closed = true
	f.explainers.close()
	f.shadows.close()
	return nil
}

// Stats is the state of a front-end.
type Stats struct {
	Decisions []DecisionStats
	// Unlogged answers met a full log. ShadowDropped runs of shadow models met a full
	// queue, ShadowFailed ones failed.
	Unlogged, ShadowDropped, ShadowFailed int64
	// Keys are remembered, KeysForgotten were dropped before their time for the bound.
	Keys          int
	KeysForgotten int64
}

// DecisionStats counts what one decision answered.
type DecisionStats struct {
	Decision string
	// Answers counts answers, in the order of the policy's decisions.
	Names   []string
	Answers []int64
	// Arms has the same by arm of the policy, in its order.
	Arms []ArmStats
	// Degraded and Repeated ones are among them; Refused requests were invalid; Failed
	// ones had no answer.
	Degraded, Repeated, Refused, Failed int64
	// Unattributed ones lack attributions for want of time or of an explainer; they are among
	// the degraded.
	Unattributed int64
	// Times are those of answers that were not repeated.
	Times latency.Snapshot
}

// ArmStats counts what one arm answered.
type ArmStats struct {
	// Arm is empty for a decision without an experiment. Version is what answered last, 0 for
	// nothing yet; Share is the arm's.
	Arm, Model string
	Version    int64
	Share      float64
	Answers    []int64
}

func (d *decision) armStats(arm int) ArmStats {
	p := d.policy
	a := ArmStats{Arm: p.Arms[arm].Name, Model: p.Arms[arm].Model.Name, Share: p.Arms[arm].Share}
	if b := d.arms[arm].current.Load(); b != nil {
		a.Version = b.version
	}
	for k := range p.Decisions {
		a.Answers = append(a.Answers, d.counts.answers[arm*len(p.Decisions)+k].Load())
	}
	return a
}

// Stats reads the counters.
func (f *Frontend) Stats() Stats {
	s := Stats{
		Unlogged: f.counts.unlogged.Load(), ShadowDropped: f.counts.shadowDropped.Load(), ShadowFailed: f.counts.shadowFailed.Load(),
		Keys: f.keys.len(), KeysForgotten: f.counts.keysForgotten.Load(),
	}
	for _, p := range f.Policies() {
		d := f.decisions[p.Name]
		one := DecisionStats{Decision: p.Name, Names: p.Decisions, Degraded: d.counts.degraded.Load(), Repeated: d.counts.repeated.Load(), Refused: d.counts.refused.Load(), Failed: d.counts.failed.Load(), Unattributed: d.counts.unattributed.Load(), Times: d.counts.times.Snapshot()}
		one.Answers = make([]int64, len(p.Decisions))
		for i := range p.Arms {
			arm := d.armStats(i)
			for k, n := range arm.Answers {
				one.Answers[k] += n
			}
			one.Arms = append(one.Arms, arm)
		}
		s.Decisions = append(s.Decisions, one)
	}
	return s
}

// breaker keeps a model that fails again and again from taking the budget of every
// request: after breakerAfter failures in a row it is tried once a breakerPause.
type breaker struct {
	failures atomic.Int32
	until    atomic.Int64 // nanoseconds on the clock of time.Now
}

const (
	breakerAfter = 5
	breakerPause = time.Second
)

// allows reports whether the model may be tried.
func (b *breaker) allows(now time.Time) bool {
	if b.failures.Load() < breakerAfter {
		return true
	}
	until, at := b.until.Load(), now.UnixNano()
	return at >= until && b.until.CompareAndSwap(until, at+int64(breakerPause))
}

func (b *breaker) succeeded() {
	if b.failures.Load() != 0 {
		b.failures.Store(0)
	}
}

func (b *breaker) failed(now time.Time) {
	if b.failures.Add(1) == breakerAfter {
		b.until.Store(now.Add(breakerPause).UnixNano())
	}
}
