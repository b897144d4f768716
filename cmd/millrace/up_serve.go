// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	featurerpc "github.com/millrace-ml/millrace/featurestore/rpc"
	"github.com/millrace-ml/millrace/serving"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/frontend"
	"github.com/millrace-ml/millrace/serving/frontend/metrics"
	decisionrpc "github.com/millrace-ml/millrace/serving/frontend/rpc"
)

// upParts are what serves a project, on one set of ports.
type upParts struct {
	server    *serving.Server
	frontend  *frontend.Frontend
	features  *featurerpc.Service
	decisions *decisionrpc.Service
	metrics   *metrics.Collector
	rollouts  *rollouts
	feedback  *upFeedback
	monitors  *upMonitors
	labeling  *upLabeling
	console   *upConsole
	grpc      string // address that clients of this process reach
	http      string // likewise
}

// serve serves until ctx ends. What is in flight is finished in this order: the replay
// stops asking, decisions and feature calls are refused and those under way answered,
// models unload; then the caller closes the store.
func (u *up) serve(ctx context.Context) error {
	options := u.serverOptions()
	u.audit = u.newTrail()
	var err error
	if u.guard, err = u.newGuard(); err != nil {
		return err
	}
	options.Access = u.guard
	if err := u.options.serve.listen(ctx, &options); err != nil {
		return err
	}
	warnOpen(u.log, u.guard, &options, "console.tokens in "+projectFile)
	pipelines, err := u.openPipelines(ctx, options.GRPC.Addr().String(), options.HTTP.Addr().String())
	if err != nil {
		closeListeners(&options)
		return err
	}
	parts, err := u.assemble(ctx, options, pipelines)
	if err != nil {
		closeListeners(&options)
		return errors.Join(err, pipelines.close())
	}
	u.parts = parts
	background, stop := context.WithCancelCause(ctx)
	asked := make(chan struct{})
	u.quiet = func(ctx context.Context) {
		stop(nil)
		select {
		case <-asked:
		case <-ctx.Done():
		}
	}
	var running sync.WaitGroup
	running.Go(func() { // ends when serving or ctx does
		defer close(asked)
		select {
		case <-parts.server.Ready():
			stop(u.afterReady(background))
		case <-background.Done():
		}
	})
	running.Go(func() { pipelines.run(background, parts.server.Ready()) }) // ends when serving or ctx does
	running.Go(func() { parts.console.run(background) })                   // likewise
	running.Go(func() { parts.rollouts.run(background, parts.server.Ready()) })
	running.Go(func() { parts.feedback.run(background) }) // likewise
	running.Go(func() { parts.monitors.run(background, parts.server.Ready()) })
	running.Go(func() { parts.labeling.run(background, parts.server.Ready()) })
	running.Go(func() { stop(u.demo.run(background, u)) }) // likewise; one without a demo waits
	err = parts.server.Serve(background)
	stop(nil)
	running.Wait()
	if cause := context.Cause(background); err == nil && cause != nil && !errors.Is(cause, context.Canceled) {
		err = cause
	}
	return errors.Join(err, closeFrontend(parts.frontend), parts.close())
}

// close closes what stands around the server, in the opposite order of opening.
func (p *upParts) close() error {
	return errors.Join(p.console.close(), p.labeling.close(), p.monitors.close(), p.feedback.close())
}

// assemble makes the server, and the front-end that runs its models.
func (u *up) assemble(ctx context.Context, options serving.Options, pipelines *upPipelines) (_ *upParts, err error) {
	p := &upParts{features: featurerpc.New(u.store), grpc: options.GRPC.Addr().String(), http: options.HTTP.Addr().String()}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.close())
		}
	}()
	p.metrics = metrics.New(u.store)
	if p.feedback, err = u.openFeedback(ctx); err != nil {
		return nil, err
	}
	if p.monitors, err = u.openMonitors(ctx, p, pipelines); err != nil {
		return nil, err
	}
	if p.labeling, err = u.openLabeling(ctx, p); err != nil {
		return nil, err
	}
	options.Services = []func(grpc.ServiceRegistrar){p.features.Register, p.feedback.register}
	routes := []func(access.Mux){p.features.Routes, p.feedback.routes, p.labeling.routes}
	decides := len(u.policies) > 0
	if decides { // the front-end needs the server first; both are there before it serves
		options.Services = append(options.Services, func(r grpc.ServiceRegistrar) { p.decisions.Register(r) })
		routes = append(routes, func(mux access.Mux) { p.decisions.Routes(mux); p.rollouts.routes(mux) })
	}
	options.Routes = func(mux access.Mux) {
		for _, add := range routes {
			add(mux)
		}
		p.console.routes(mux) // made below, before anything is served
	}
	options.Collectors = append([]prometheus.Collector{p.metrics}, slices.Concat(p.feedback.collectors(), p.monitors.collectors(), p.labeling.collectors())...)
	options.OnStop = func(ctx context.Context) error { return u.stop(ctx, p) }
	if p.server, err = serving.NewServer(options); err != nil {
		return nil, err
	}
	if decides {
		p.frontend, err = frontend.New(ctx, frontend.Options{Store: u.store, Policies: u.policies, Models: frontend.InProcess(p.server), KeysMax: u.options.keysMax, Logger: u.log})
		if err != nil {
			return nil, err
		}
		p.decisions = decisionrpc.New(p.frontend)
		p.metrics.SetFrontend(p.frontend)
		if p.rollouts, err = openRollouts(u.audit, p.frontend, p.server.Repository(), u.log); err != nil {
			return nil, errors.Join(err, closeFrontend(p.frontend))
		}
		p.rollouts.outcomes.log, p.rollouts.outcomes.now, p.rollouts.outcomes.labels = u.store.Log(), u.clock.now, p.feedback.labels
	}
	if p.console, err = u.openConsole(ctx, options.HTTP.Addr().String(), p); err != nil {
		return nil, errors.Join(err, closeFrontend(p.frontend))
	}
	return p, nil
}

// stop is called when the server begins to stop: the replay ends first, since what it asks
// and is refused it would not ask again; streams end, decisions under way are answered.
func (u *up) stop(ctx context.Context, p *upParts) error {
	done := make(chan error, 1)
	go func() { // ends with the last decision, whose time is bounded
		u.quiet(ctx)
		p.features.Stop()
		p.feedback.stop()
		if p.decisions != nil {
			p.decisions.Stop()
		}
		done <- closeFrontend(p.frontend)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return errors.New("decisions: the exit timeout is over, some are still under way")
	}
}

// closeFrontend closes a front-end unless it is closed or there is none.
func closeFrontend(f *frontend.Frontend) error {
	if f == nil {
		return nil
	}
	if err := f.Close(); !errors.Is(err, frontend.ErrClosed) {
		return err
	}
	return nil
}

// afterReady runs beside the server once models are loaded: it says what cannot be
// decided, and replays. An error ends the server.
func (u *up) afterReady(ctx context.Context) error {
	if u.parts.frontend != nil {
		if err := u.parts.frontend.CheckModels(); err != nil {
			u.log.Warn("some decisions are answered by their fallback", "error", err)
		}
	}
	v := &upVerifier{up: u, from: u.store.Now()}
	var verifying sync.WaitGroup
	defer verifying.Wait()
	if u.replay == nil {
		v.run(ctx)
		return nil
	}
	during, replayed := context.WithCancel(ctx)
	verifying.Go(func() { v.run(during) }) // ends with the replay
	err := u.replay.run(ctx, u.parts.grpc, u.guard.Self(), u.out)
	replayed()
	verifying.Wait()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("replay: %w", err)
	}
	if ctx.Err() == nil {
		v.afterReplay(ctx)
		v.run(ctx)
	}
	return nil
}
