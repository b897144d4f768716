// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving"
	"github.com/millrace-ml/millrace/serving/access"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

func newUpCommand() *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [FOLDER]",
		Short: "Serve a project: models, features and decisions in one process",
		Long: `Serve a project: models, features and decisions in one process, on one set of ports.

FOLDER, or the current one, has a millrace.yaml. Definitions and policies that are wrong
stop the start with all that is wrong. What the project lacks of its payments is made,
history that is new is loaded, and a replay, if the project has one, plays events against
the server as clients would. The first interrupt finishes what is in flight, the second
ends the process at once.`,
		Example: `  millrace init fraud && millrace up fraud
  millrace up examples/card-fraud
  millrace up examples/card-fraud --speed 60x
  millrace up examples/card-fraud --data transactions.parquet --from 2018-07-25`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.folder = "."
			if len(args) == 1 {
				o.folder = args[0]
			}
			return o.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// upOptions are the flags of up. Those that are not given are what the project says.
type upOptions struct {
	folder string

	data, speed, from, to string
	replay                bool
	acceptBreaking        bool
	models                []string // repositories beside the project's
	keysMax               int      // idempotency keys that are remembered; 0 is the front-end's default

	serve serveOptions // of which up has some flags only
	given *pflag.FlagSet
}

func (o *upOptions) addFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.data, "data", "", "`file` in place of the inputs of the source that is replayed")
	flags.BoolVar(&o.replay, "replay", true, "replay as the project says")
	flags.StringVar(&o.speed, "speed", "", "`speed` of the replay: 60x, 3600x, or max")
	flags.StringVar(&o.from, "from", "", "first `moment` that is replayed; what is before is loaded")
	flags.StringVar(&o.to, "to", "", "`moment` at which the replay ends")
	flags.BoolVar(&o.acceptBreaking, "accept-breaking", false, "serve definitions that break what the last ones served")
	o.addServeFlags(flags)
}

// addServeFlags adds those that say how a project is served.
func (o *upOptions) addServeFlags(flags *pflag.FlagSet) {
	o.given = flags
	flags.StringVar(&o.serve.http.address, "address", "", "`address` that all ports listen on")
	for _, face := range o.faces() {
		flags.Uint16Var(&face.options.port, face.name+"-port", 0, "port of "+face.what+", 0 for any that is free")
	}
	flags.IntVar(&o.serve.exitTimeoutSeconds, "exit-timeout-secs", 30, "`seconds` that requests in flight have after a stop signal")
	flags.IntVar(&o.serve.heapHeadroomMB, "heap-headroom-mb", headroomAuto, "`MiB` to allocate between two garbage collections; -1 is a share of the memory")
	flags.StringVar(&o.serve.onnxruntimeLibrary, "onnxruntime-library", "", "`file` or folder of ONNX Runtime (default: $ONNXRUNTIME_LIB, then the usual places)")
	o.serve.log.addFlags(flags)
}

type upFace struct {
	name, what string
	options    *listenOptions
}

func (o *upOptions) faces() []upFace {
	return []upFace{{"http", "REST", &o.serve.http}, {"grpc", "gRPC", &o.serve.grpc}, {"metrics", "metrics", &o.serve.metrics}}
}

// run serves the project until ctx ends.
func (o *upOptions) run(ctx context.Context, stdout, stderr io.Writer) error {
	log, closeLog, err := o.serve.log.open(stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	p, err := loadProject(o.folder)
	if err != nil {
		return err
	}
	if err := o.override(p); err != nil {
		return err
	}
	if err := o.serve.checkPorts(ctx); err != nil {
		return err // before history is loaded, which may take minutes
	}
	defer keepHeapHeadroom(o.serve.heapHeadroomMB)()
	u := &up{options: o, project: p, log: log, out: stdout}
	return u.run(ctx)
}

// override puts what the flags say in place of what the project says.
func (o *upOptions) override(p *project) error {
	for _, face := range []struct {
		name string
		port uint16
		into *listenOptions
	}{{"http", p.Server.HTTP, &o.serve.http}, {"grpc", p.Server.GRPC, &o.serve.grpc}, {"metrics", p.Server.Metrics, &o.serve.metrics}} {
		face.into.allow = true
		if !o.given.Changed(face.name + "-port") {
			face.into.port = face.port
		}
	}
	if o.serve.http.address == "" {
		o.serve.http.address = p.Server.Address
	}
	o.serve.grpc.address, o.serve.metrics.address = o.serve.http.address, o.serve.http.address
	if o.serve.exitTimeoutSeconds < 1 {
		return usageError{fmt.Errorf("--exit-timeout-secs %d: give 1 or more", o.serve.exitTimeoutSeconds)}
	}
	return o.overrideReplay(p)
}

func (o *upOptions) overrideReplay(p *project) error {
	asked := o.data != "" || o.speed != "" || o.from != "" || o.to != ""
	if !o.replay {
		p.Replay = nil
	}
	if p.Replay == nil {
		if asked {
			return usageError{errors.New("--data, --speed, --from and --to are for a replay, and the project has none")}
		}
		return nil
	}
	r := p.Replay
	var problems []error
	moment := func(flag, text string, into *time.Time) {
		if text == "" {
			return
		}
		t, err := parseMoment(text)
		if err != nil {
			problems = append(problems, fmt.Errorf("--%s: %w", flag, err))
		}
		*into = t
	}
	moment("from", o.from, &r.From)
	moment("to", o.to, &r.To)
	if o.speed != "" {
		speed, err := parseSpeed(o.speed)
		if err != nil {
			problems = append(problems, fmt.Errorf("--speed: %w", err))
		}
		r.Speed = speed
	}
	if !r.To.IsZero() && !r.From.Before(r.To) {
		problems = append(problems, errors.New("--to is not after --from"))
	}
	if o.data != "" {
		p.Generate = nil
	}
	if err := errors.Join(problems...); err != nil {
		return usageError{err}
	}
	return nil
}

// up is a project that is served.
type up struct {
	options *upOptions
	project *project
	log     *slog.Logger
	out     io.Writer

	catalog  *definition.Catalog
	policies []*policy.Policy
	labels   []*groundtruth.Definition
	replay   *replay // nil without one
	clock    *replayClock
	store    *featurestore.Store
	parts    *upParts
	// guard says who may call what; it is there before anything is served.
	guard *access.Guard
	// story is what a simulation tells on the console's first page; nil tells nothing. It is
	// set before serve.
	story func() *console.Story
	// demo plays the world around the project; nil where there is a real one.
	demo *demo
	// audit is the one trail that all write to. It is set by serve.
	audit *auditTrail
	// quiet ends the replay and waits until what it asked is answered. It is set by serve.
	quiet func(context.Context)
}

// run opens everything, serves, and closes it in the opposite order.
func (u *up) run(ctx context.Context) (err error) {
	if err := u.load(ctx); err != nil {
		return err
	}
	o, err := u.project.storeOptions(u.catalog)
	if err != nil {
		return err
	}
	o.Now, o.Logger, o.AcceptBreaking = u.clock.now, u.log, u.options.acceptBreaking
	o.Progress = u.progress
	if u.store, err = featurestore.Open(ctx, o); err != nil {
		if errors.Is(err, offline.ErrLocked) {
			return fmt.Errorf("%w: another millrace up or command has the folder %s; stop that, or give the project another state folder", err, u.project.State)
		}
		return err
	}
	defer func() {
		if closeErr := u.store.Close(); !errors.Is(closeErr, featurestore.ErrClosed) {
			err = errors.Join(err, closeErr)
		}
	}()
	if err := u.materialize(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped while loading
		}
		return err
	}
	return u.serve(ctx)
}

// load reads definitions and policies and sees to what they read.
func (u *up) load(ctx context.Context) (err error) {
	if u.catalog, u.policies, err = u.project.catalog(); err != nil {
		return err
	}
	if u.labels, err = u.project.labels(u.policies); err != nil {
		return err
	}
	if g := u.project.Generate; g != nil {
		if err := g.generate(ctx, u.say); err != nil {
			return err
		}
	}
	u.clock = machineClock()
	if u.project.Replay == nil {
		return nil
	}
	if u.replay, err = newReplay(ctx, u.project, u.catalog, u.policies, u.options.data); err != nil {
		return fmt.Errorf("replay: %w", err)
	}
	u.clock = newReplayClock(u.replay.start)
	u.replay.clock = u.clock
	return u.demo.play(u, u.replay)
}

// materialize loads history. Where a replay has begun before, it was loaded then.
func (u *up) materialize(ctx context.Context) error {
	if u.replay != nil && u.replay.resumed || u.replay == nil && !u.project.Materialize {
		return nil
	}
	began := time.Now()
	loaded, err := u.store.Materialize(ctx, featurestore.MaterializeOptions{})
	for _, m := range loaded {
		u.say("loaded %d events of %s (%d known already, %d bad, %d later than now, %d labels not known yet) in %v",
			m.Loaded, m.Source, m.Known, m.Bad, m.Future, m.Withheld, time.Since(began).Round(time.Millisecond))
	}
	return err
}

func (u *up) progress(phase string, done, total int64) {
	u.log.Info(phase, "done", done, "total", total)
}

func (u *up) say(format string, args ...any) { fmt.Fprintf(u.out, format+"\n", args...) }

// serverOptions are those of the model server.
func (u *up) serverOptions() serving.Options {
	o := serving.Options{
		Version: version, StrictReadiness: true, LatencyHistograms: true, Logger: u.log,
		ExitTimeout: time.Duration(u.options.serve.exitTimeoutSeconds) * time.Second,
	}
	o.Repository.Paths = append([]string{u.project.Models}, u.options.models...)
	o.Repository.Mode, o.Repository.LoadModels = repository.ModeExplicit, []string{"*"} // so that versions can be swapped
	o.Repository.LoadThreads = 4
	o.Repository.StateFile = filepath.Join(u.project.State, servedFile) // what a rollback chose is served after a restart
	o.Repository.KeepPrevious = true                                    // the fallback of a decision may ask for it
	o.Repository.Backends, o.Repository.GPUs = u.options.serve.backends(u.log)
	return o
}
