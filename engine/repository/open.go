// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// Step is one part of an operation and how long it took.
type Step struct {
	Name     string
	Duration time.Duration
	Detail   string
}

// stopwatch times the steps of an operation, one after the other.
type stopwatch struct {
	steps []Step
	last  time.Time
}

func newStopwatch() *stopwatch { return &stopwatch{last: time.Now()} }

func (w *stopwatch) lap(name, detail string, args ...any) {
	now := time.Now()
	w.steps = append(w.steps, Step{Name: name, Duration: now.Sub(w.last), Detail: fmt.Sprintf(detail, args...)})
	w.last = now
}

// openVersions opens versions at the same time, as far as LoadThreads allows. When
// one fails, those that did not are closed and the error tells of each that did.
// m.op must be held.
func (r *Repository) openVersions(ctx context.Context, m *model, src *source, backend engine.Backend, numbers []int64) ([]*Version, error) {
	quiet := r.markLoading(m, numbers)
	opened := make([]*Version, len(numbers))
	errs := make([]error, len(numbers))
	var wg sync.WaitGroup
	for i, number := range numbers {
		wg.Go(func() {
			select {
			case r.openers <- struct{}{}:
				defer func() { <-r.openers }()
				o := opener{repository: r, src: src, backend: backend, number: number, quiet: quiet}
				opened[i], errs[i] = o.open(ctx)
			case <-ctx.Done():
				errs[i] = context.Cause(ctx)
			}
		})
	}
	wg.Wait()
	if err := r.markFailed(m, numbers, errs); err != nil {
		for _, v := range opened {
			if v != nil {
				r.discard([]*Version{v})
			}
		}
		return nil, err
	}
	return opened, nil
}

// markLoading also reports whether requests may be served meanwhile.
func (r *Repository) markLoading(m *model, numbers []int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, number := range numbers {
		if s := m.state(number); s.live == nil {
			*s = versionState{state: StateLoading}
		}
	}
	return r.mu.started && len(*r.snapshot.Load()) > 0
}

// markFailed joins the errors of versions that were opened together, nil when there
// is none, and explains the state of those that now do not serve.
func (r *Repository) markFailed(m *model, numbers []int64, errs []error) error {
	if errors.Join(errs...) == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "load failed for model '%s': ", m.name)
	for i, number := range numbers {
		why := "Unavailable: not loaded because another version of the model failed"
		if errs[i] != nil {
			why = reason(errs[i])
			fmt.Fprintf(&text, "version %d is at UNAVAILABLE state: %s;\n", number, why)
		}
		if s := m.state(number); s.live == nil {
			*s = versionState{state: StateUnavailable, reason: why}
		}
	}
	return &textError{text: text.String(), class: ErrLoadFailed, cause: errors.Join(errs...)}
}

// opener makes one version of a model's files.
type opener struct {
	repository *Repository
	src        *source
	backend    engine.Backend
	number     int64
	quiet      bool // leave the cores to the versions that serve
}

// open runs every step up to the moment before the version becomes visible. On
// failure it gives back all it took.
func (o *opener) open(ctx context.Context) (v *Version, err error) {
	v = &Version{
		Model: o.src.model, Number: o.number, source: o.src.versions[o.number], dir: o.src.versionDir(o.number), folder: o.src.folder.retain(),
		drained: make(chan struct{}), released: make(chan struct{}),
	}
	defer func() {
		if err != nil {
			o.repository.discard([]*Version{v})
			v = nil
		}
	}()
	begin := time.Now()
	watch := newStopwatch()
	steps := []func(context.Context, *Version, *stopwatch) error{o.configure, o.load, o.instantiate, o.warmUp, o.attach}
	for _, step := range steps {
		if ctx.Err() != nil {
			return v, context.Cause(ctx)
		}
		if err := step(ctx, v, watch); err != nil {
			return v, err
		}
	}
	v.Steps = watch.steps
	v.LoadedAt = time.Now()
	v.LoadDuration = v.LoadedAt.Sub(begin)
	o.repository.opts.Logger.Info("version loaded", "model", v.Model, "version", v.Number, "took", v.LoadDuration)
	return v, nil
}

// configure completes the configuration from the model file and checks it.
func (o *opener) configure(ctx context.Context, v *Version, watch *stopwatch) error {
	opts := &o.repository.opts
	c, err := o.src.config()
	if err != nil {
		return err
	}
	if err := modelconfig.Normalize(c, opts.completion(v.Model)); err != nil {
		return err
	}
	if err := o.resolve(ctx, c); err != nil {
		return err
	}
	signature, err := o.backend.Inspect(o.src.versionDir(o.number), c)
	if err != nil {
		return err
	}
	io := modelIO(signature)
	source := io
	if opts.DisableAutoComplete {
		source = modelconfig.ModelIO{}
	}
	if err := modelconfig.Complete(c, source, opts.completion(v.Model)); err != nil {
		return err
	}
	if err := modelconfig.Validate(c, io); err != nil {
		return err
	}
	for _, warning := range modelconfig.Warnings(c) {
		opts.Logger.Warn(warning, "model", v.Model, "version", v.Number)
	}
	v.Config = c
	if v.Labels, err = o.src.labels(c); err != nil {
		return err
	}
	v.Placements, err = placements(c)
	watch.lap("configure", "backend %s", c.Backend)
	return err
}

// resolve puts the backend that a Resolver picks in its place.
func (o *opener) resolve(ctx context.Context, c *modelconfig.Config) error {
	resolver, ok := o.backend.(engine.Resolver)
	if !ok {
		return nil
	}
	backend, err := resolver.Resolve(ctx, o.src.versionDir(o.number), c)
	if err != nil {
		return err
	}
	o.backend, c.Backend = backend, backend.Name()
	return modelconfig.Normalize(c, o.repository.opts.completion(c.Name))
}

// modelIO puts a signature in the terms of the configuration.
func modelIO(s engine.Signature) modelconfig.ModelIO {
	return modelconfig.ModelIO{Inputs: tensorInfos(s.Inputs), Outputs: tensorInfos(s.Outputs)}
}

func tensorInfos(specs []engine.TensorSpec) []modelconfig.TensorInfo {
	infos := make([]modelconfig.TensorInfo, len(specs))
	for i, spec := range specs {
		infos[i] = modelconfig.TensorInfo(spec)
	}
	return infos
}

func (o *opener) load(ctx context.Context, v *Version, watch *stopwatch) error {
	model, err := o.backend.Load(ctx, o.src.versionDir(o.number), v.Config)
	if err != nil {
		return err
	}
	v.model = model
	v.Signature = model.Signature()
	watch.lap("load", "%d inputs, %d outputs", len(v.Signature.Inputs), len(v.Signature.Outputs))
	return nil
}

// instantiate is where the library reads the model, which takes longest.
func (o *opener) instantiate(_ context.Context, v *Version, watch *stopwatch) (err error) {
	foreign, ok := o.backend.(engine.Foreign)
	if o.quiet && ok && foreign.OutsideGo() && !makesThreads(v.Placements) {
		atLowPriority(func() { err = v.makeInstances() })
	} else {
		err = v.makeInstances()
	}
	watch.lap("instances", "%d", len(v.Instances))
	return err
}

func (v *Version) makeInstances() error {
	for _, placement := range v.Placements {
		instance, err := v.model.NewInstance(placement)
		if err != nil {
			return err
		}
		v.Instances = append(v.Instances, instance)
	}
	return nil
}

func (o *opener) warmUp(ctx context.Context, v *Version, watch *stopwatch) error {
	w := warmup{version: v, src: o.src, logger: o.repository.opts.Logger, quiet: o.quiet}
	if err := w.run(ctx); err != nil {
		return err
	}
	watch.lap("warmup", "%d batch sizes, %d samples", len(v.Warmup), len(v.Config.ModelWarmup))
	return nil
}

func (o *opener) attach(_ context.Context, v *Version, watch *stopwatch) error {
	attachment, err := o.repository.opts.Attach(v)
	if err != nil {
		return fmt.Errorf("attach: %w", err)
	}
	v.Attachment = attachment
	watch.lap("attach", "")
	return nil
}

// makesThreads reports whether opening a model starts threads of its own. They would
// inherit a lowered priority for as long as they live.
func makesThreads(all []engine.Placement) bool {
	for _, p := range all {
		if p.Threads > 1 || p.Kind != modelconfig.KindCPU {
			return true
		}
	}
	return false
}
