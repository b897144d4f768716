// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/auto"
	"github.com/millrace-ml/millrace/engine/builtin"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/serving"
)

func newServeCommand() *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve --model-repository FOLDER",
		Short: "Serve the models of a repository",
		Long: `Serve the models of a repository over gRPC and REST.

Flags are spelled as Triton spells them, and its other flags are accepted with a
warning that says why they have no effect. The first interrupt or termination signal
lets requests in flight finish, the second ends the process at once.`,
		Example: `  millrace serve --model-repository models
  millrace serve --model-repository models --model-control-mode explicit --load-model ranker
  millrace serve --model-repository models --model-control-mode poll --repository-poll-secs 5
  millrace serve --model-repository models --model-control-mode explicit --access-file tokens.txt
  millrace serve --model-repository models --grpc-use-ssl true --grpc-server-cert server.crt --grpc-server-key server.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(cmd.Context(), cmd.ErrOrStderr())
		},
	}
	o.addFlags(cmd.Flags())
	return cmd
}

// run wires the server together and serves until ctx ends.
func (o *serveOptions) run(ctx context.Context, stderr io.Writer) error {
	log, closeLog, err := o.log.open(stderr)
	if err != nil {
		return err
	}
	defer closeLog()
	options, err := o.serverOptions(log)
	if err != nil {
		return err
	}
	o.logEffective(log)
	defer keepHeapHeadroom(o.heapHeadroomMB)()
	warnForeign(o.given, log)
	options.Repository.Backends, options.Repository.GPUs = o.backends(log)
	if err := o.listen(ctx, &options); err != nil {
		return err
	}
	warnOpen(log, options.Access, &options, "--access-file")
	server, err := serving.NewServer(options)
	if err != nil {
		closeListeners(&options)
		return err
	}
	return server.Serve(ctx)
}

// serverOptions translates the flags and reports every one that is wrong.
func (o *serveOptions) serverOptions(log *slog.Logger) (serving.Options, error) {
	repositoryOptions, err := o.repositoryOptions()
	problems := []error{checkRefused(o.given), err}
	if o.heapHeadroomMB < headroomAuto || o.heapHeadroomMB > headroomMBLimit {
		problems = append(problems, fmt.Errorf("--heap-headroom-mb %d: give 0 to %d, or -1 for a share of the memory", o.heapHeadroomMB, headroomMBLimit))
	}
	if o.exitTimeoutSeconds < 1 {
		problems = append(problems, fmt.Errorf("--exit-timeout-secs %d: give 1 or more", o.exitTimeoutSeconds))
	}
	if o.latencyObjective < 0 {
		problems = append(problems, fmt.Errorf("--latency-objective %v: give 0 or more", o.latencyObjective))
	}
	tls, err := o.tls.config()
	problems = append(problems, err)
	transport, err := o.keepalive.transport()
	problems = append(problems, err)
	guard, err := o.access.guard(log)
	problems = append(problems, err)
	if err := errors.Join(problems...); err != nil {
		return serving.Options{}, usageError{err}
	}
	return serving.Options{
		ID:                o.id,
		Version:           version,
		TLS:               tls,
		Transport:         transport,
		Access:            guard,
		Repository:        repositoryOptions,
		StrictReadiness:   o.strictReadiness,
		ExitOnError:       o.exitOnError,
		ExitTimeout:       time.Duration(o.exitTimeoutSeconds) * time.Second,
		LatencyHistograms: o.latencyHistograms,
		Limits:            serving.Limits{LatencyObjective: o.latencyObjective},
		Logger:            log,
	}, nil
}

var controlModes = map[string]repository.ControlMode{
	"none": repository.ModeNone, "poll": repository.ModePoll, "explicit": repository.ModeExplicit,
}

func (o *serveOptions) repositoryOptions() (repository.Options, error) {
	var problems []error
	if len(o.repositories) == 0 {
		problems = append(problems, errors.New("--model-repository FOLDER is missing; millrace demo-repository FOLDER writes one to try"))
	}
	mode, known := controlModes[o.controlMode]
	if !known {
		problems = append(problems, fmt.Errorf("--model-control-mode %q: it is none, poll or explicit", o.controlMode))
	}
	if known && mode != repository.ModeExplicit && len(o.loadModels) > 0 {
		problems = append(problems, errors.New("--load-model needs --model-control-mode explicit"))
	}
	if o.loadThreads < 1 {
		problems = append(problems, fmt.Errorf("--model-load-thread-count %d: give 1 or more", o.loadThreads))
	}
	if mode == repository.ModePoll && o.pollSeconds < 1 {
		problems = append(problems, fmt.Errorf("--repository-poll-secs %d: give 1 or more", o.pollSeconds))
	}
	maxBatchSize, err := defaultMaxBatchSize(o.backendConfig)
	problems = append(problems, err)
	return repository.Options{
		Paths:               o.repositories,
		Mode:                mode,
		PollInterval:        time.Duration(o.pollSeconds) * time.Second,
		LoadModels:          o.loadModels,
		LoadThreads:         o.loadThreads,
		DisableAutoComplete: o.disableAutoComplete || o.strictModelConfig,
		DefaultMaxBatchSize: maxBatchSize,
		StateFile:           o.stateFile,
	}, errors.Join(problems...)
}

// defaultMaxBatchSize reads the backend settings given as [BACKEND,]NAME=VALUE. The
// last one wins; 0 means that none was given.
func defaultMaxBatchSize(settings []string) (int, error) {
	size := 0
	for _, setting := range settings {
		_, assignment, scoped := strings.Cut(setting, ",")
		if !scoped {
			assignment = setting
		}
		name, value, _ := strings.Cut(assignment, "=")
		if name != "default-max-batch-size" {
			return 0, fmt.Errorf("--backend-config %q: the only setting known is default-max-batch-size", setting)
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return 0, fmt.Errorf("--backend-config %q: the size is a whole number above 0", setting)
		}
		size = n
	}
	return size, nil
}

// backends lists what can run models on this machine, and the GPUs they may use. A
// missing ONNX Runtime is no error here: each model that needs it says so.
func (o *serveOptions) backends(log *slog.Logger) ([]engine.Backend, []int) {
	library := onnxrt.Options{Library: o.onnxruntimeLibrary, Logger: log}
	other := onnxrt.NewBackend(library)
	either := &auto.Backend{Native: native.Backend{}, Other: other, Logger: log}
	all := append(builtin.Backends(), native.Backend{}, other, either)
	log.Info("native engine", "cpu", cpu.Active().String())
	runtime, err := onnxrt.Open(library)
	if err != nil {
		log.Warn("only models that the native engine covers can be loaded", "error", err)
		return all, nil
	}
	gpus := runtime.GPUs()
	either.GPUs = len(gpus) > 0
	log.Info("ONNX Runtime", "version", runtime.Version(), "library", runtime.Library(), "gpus", len(gpus))
	return all, gpus
}

// listen opens the ports that are switched on, and closes them again when one fails.
func (o *serveOptions) listen(ctx context.Context, into *serving.Options) error {
	for _, face := range []struct {
		name     string
		options  listenOptions
		listener *net.Listener
	}{{"http", o.http, &into.HTTP}, {"grpc", o.grpc, &into.GRPC}, {"metrics", o.metrics, &into.Metrics}} {
		if !face.options.allow {
			continue
		}
		listener, err := face.options.listen(ctx)
		if err != nil {
			closeListeners(into)
			return fmt.Errorf("--%s-port: %w; choose another, or 0 for any that is free", face.name, err)
		}
		*face.listener = listener
		into.Logger.Info("listening", "face", face.name, "address", listener.Addr().String())
	}
	return nil
}

func (o listenOptions) listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	return config.Listen(ctx, "tcp", net.JoinHostPort(o.address, strconv.Itoa(int(o.port))))
}

func closeListeners(o *serving.Options) {
	for _, listener := range []net.Listener{o.HTTP, o.GRPC, o.Metrics} {
		if listener != nil {
			listener.Close()
		}
	}
}
