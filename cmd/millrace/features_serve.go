// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/engine/builtin"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/rpc"
	"github.com/millrace-ml/millrace/serving"
	"github.com/millrace-ml/millrace/serving/frontend/metrics"
)

// featuresServeFlags are those of `features serve`. Ports, transport, encryption and log
// are those of `serve`.
type featuresServeFlags struct {
	state  stateFlags
	memory bytesFlag
	retain spanFlag
	serve  serveOptions
}

func (o *featuresOptions) serveCommand() *cobra.Command {
	var f featuresServeFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve a feature store without models",
		Long: `Serve a feature store without models: for those who use Millrace's features beside
another model server. millrace up serves models, features and decisions together.

It offers gRPC millrace.v1.Features (push, get, streams), and on the REST port Feast's
POST /get-online-features; Feast's own server listens on 6566, so clients of it want
--http-port 6566. Health and metrics are as those of millrace serve.

Events are acknowledged when they are on disk, and states follow from them, so a crash
takes nothing that was acknowledged. The first interrupt or termination signal lets
requests in flight finish and stores the states; the second ends the process at once.`,
		Example: `  millrace features serve
  millrace features serve --definitions features.yaml --state /var/lib/millrace/state --http-port 6566
  millrace features serve --redis redis://cache:6379 --memory 2GiB`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.serve(cmd, &f)
		},
	}
	flags := cmd.Flags()
	o.addDefinitions(flags)
	f.state.addFlags(flags)
	flags.Var(&f.memory, "memory", "bound on the entities in memory; those asked for longest ago are then on disk only (default: all in memory)")
	flags.Var(&f.retain, "retain", "how long events are kept in the event log (default: that of millrace.yaml, or for ever)")
	f.serve.given = flags
	f.serve.addPortFlags(flags)
	f.serve.keepalive.addFlags(flags)
	f.serve.tls.addFlags(flags)
	f.serve.access.addFlags(flags)
	f.serve.log.addFlags(flags)
	flags.IntVar(&f.serve.exitTimeoutSeconds, "exit-timeout-secs", 30, "`seconds` that requests in flight have after a stop signal")
	return cmd
}

func (o *featuresOptions) serve(cmd *cobra.Command, f *featuresServeFlags) (err error) {
	log, closeLog, err := f.serve.log.open(cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer closeLog()
	options, err := f.serverOptions(log)
	if err != nil {
		return err
	}
	store, err := o.openServed(cmd, f, log)
	if err != nil {
		return err
	}
	// What was acknowledged is in the log; the checkpoint of Close saves time at the next start.
	defer closing(&err, store.Close)
	service := rpc.New(store)
	options.Services = append(options.Services, service.Register)
	options.Routes = service.Routes
	options.OnStop = func(context.Context) error {
		service.Stop()
		return nil
	}
	options.Collectors = append(options.Collectors, metrics.New(store))
	end, err := withoutModels(&options)
	if err != nil {
		return err
	}
	defer closing(&err, end)
	defer keepHeapHeadroom(headroomAuto)()
	if err := f.serve.listen(cmd.Context(), &options); err != nil {
		return err
	}
	warnOpen(log, options.Access, &options, "--access-file")
	server, err := serving.NewServer(options)
	if err != nil {
		closeListeners(&options)
		return err
	}
	return server.Serve(cmd.Context())
}

// serverOptions translates the flags and reports every one that is wrong.
func (f *featuresServeFlags) serverOptions(log *slog.Logger) (serving.Options, error) {
	var problems []error
	if f.serve.exitTimeoutSeconds < 1 {
		problems = append(problems, fmt.Errorf("--exit-timeout-secs %d: give 1 or more", f.serve.exitTimeoutSeconds))
	}
	tls, err := f.serve.tls.config()
	problems = append(problems, err)
	transport, err := f.serve.keepalive.transport()
	problems = append(problems, err)
	guard, err := f.serve.access.guard(log)
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil {
		return serving.Options{}, usageError{err}
	}
	return serving.Options{
		ID: "millrace", Version: version, TLS: tls, Transport: transport, Access: guard, Logger: log, StrictReadiness: true,
		ExitTimeout: time.Duration(f.serve.exitTimeoutSeconds) * time.Second,
	}, nil
}

// openServed opens the store that is served.
func (o *featuresOptions) openServed(cmd *cobra.Command, f *featuresServeFlags, log *slog.Logger) (*featurestore.Store, error) {
	c, err := o.catalog()
	if err != nil {
		return nil, err
	}
	dir, owner, err := f.state.folder()
	if err != nil {
		return nil, err
	}
	p := newProgress(cmd.ErrOrStderr())
	options, err := f.state.options(dir, owner, c, log, p)
	if err != nil {
		return nil, err
	}
	if f.memory > 0 {
		options.Online.MemoryBytesMax = int64(f.memory)
	}
	if f.retain > 0 {
		options.Log.RetainAge = time.Duration(f.retain)
	}
	start := time.Now()
	store, err := featurestore.Open(cmd.Context(), options)
	p.clear()
	if err != nil {
		return nil, explainState(dir, err)
	}
	log.Info("feature store", "state", dir, "definitions", fmt.Sprintf("%x", c.Hash[:6]), "services", len(c.Services),
		"views", len(c.Views), "open", time.Since(start).Round(time.Millisecond).String())
	return store, nil
}

// withoutModels gives the server a repository of no models, in a folder of its own, which
// end removes.
func withoutModels(into *serving.Options) (end func() error, err error) {
	dir, err := os.MkdirTemp("", "millrace-no-models-")
	if err != nil {
		return nil, err
	}
	into.Repository = repository.Options{Paths: []string{dir}, Mode: repository.ModeExplicit, LoadThreads: 1, Backends: builtin.Backends()}
	return func() error { return os.RemoveAll(dir) }, nil
}
