// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/pflag"
)

// Ports, as Triton's.
const (
	defaultHTTPPort    = 8000
	defaultGRPCPort    = 8001
	defaultMetricsPort = 8002
)

// serveOptions are the flags of the serve command, spelled as Triton spells them
// where it has them.
type serveOptions struct {
	id string

	repositories        repeated
	controlMode         string
	pollSeconds         int
	loadModels          repeated
	loadThreads         int
	exitOnError         bool
	strictReadiness     bool
	disableAutoComplete bool
	strictModelConfig   bool
	backendConfig       repeated
	stateFile           string
	onnxruntimeLibrary  string
	latencyObjective    time.Duration

	http, grpc, metrics listenOptions
	keepalive           keepaliveOptions
	tls                 serverTLSOptions
	access              accessOptions

	exitTimeoutSeconds int
	latencyHistograms  bool
	heapHeadroomMB     int
	log                logOptions

	given *pflag.FlagSet
}

// listenOptions are the flags of one port.
type listenOptions struct {
	allow   bool
	address string
	port    uint16
}

// keepaliveOptions are the flags of gRPC connections, times in milliseconds.
type keepaliveOptions struct {
	time, timeout, minPingInterval int64
	withoutCalls                   bool
	connectionAge                  int64
	connectionAgeGrace             int64
}

func (o *serveOptions) addFlags(flags *pflag.FlagSet) {
	o.given = flags
	o.addModelFlags(flags)
	o.addPortFlags(flags)
	o.keepalive.addFlags(flags)
	o.tls.addFlags(flags)
	o.access.addFlags(flags)
	o.log.addFlags(flags)
	flags.StringVar(&o.id, "id", "triton", "server `name` in its metadata; several clients check for the default")
	flags.IntVar(&o.exitTimeoutSeconds, "exit-timeout-secs", 30, "`seconds` that requests in flight have after a stop signal")
	flags.BoolVar(&o.latencyHistograms, "latency-histograms", true, "keep latency histograms of each model")
	flags.IntVar(&o.heapHeadroomMB, "heap-headroom-mb", headroomAuto, "`MiB` to allocate between two garbage collections; -1 is a 16th of the memory, at most 512; GOGC or GOMEMLIMIT in the environment override it")
	addFlagsWithoutEffect(flags)
	for _, older := range []string{"model-store", "strict-model-config"} {
		flags.Lookup(older).Hidden = true
	}
}

func (o *serveOptions) addModelFlags(flags *pflag.FlagSet) {
	flags.Var(&o.repositories, "model-repository", "`folder` of models; repeat for several")
	flags.Var(&o.repositories, "model-store", "the same as --model-repository")
	flags.StringVar(&o.controlMode, "model-control-mode", "none", "`mode`: none loads all models at start, poll follows the folder, explicit loads by call")
	flags.IntVar(&o.pollSeconds, "repository-poll-secs", 15, "`seconds` between looks at the folder in mode poll")
	flags.Var(&o.loadModels, "load-model", "`name` of a model to load at start in mode explicit, * for all; repeat for several")
	flags.IntVar(&o.loadThreads, "model-load-thread-count", 4, "`number` of models loaded at once")
	flags.BoolVar(&o.exitOnError, "exit-on-error", true, "end when a model fails to load at start")
	flags.BoolVar(&o.strictReadiness, "strict-readiness", true, "report ready only when every model is")
	flags.BoolVar(&o.disableAutoComplete, "disable-auto-complete-config", false, "take config.pbtxt as it is, without completing it from the model")
	flags.BoolVar(&o.strictModelConfig, "strict-model-config", false, "the older name of --disable-auto-complete-config")
	flags.Var(&o.backendConfig, "backend-config", "`setting` as BACKEND,NAME=VALUE or NAME=VALUE; known: default-max-batch-size")
	flags.StringVar(&o.stateFile, "state-file", "", "`file` in which aliases and swapped versions outlive a restart")
	flags.StringVar(&o.onnxruntimeLibrary, "onnxruntime-library", "", "`file` or folder of ONNX Runtime (default: $ONNXRUNTIME_LIB, then the usual places)")
	flags.DurationVar(&o.latencyObjective, "latency-objective", 0, "latency that batches are sized for where a model's configuration names none; 0 for none")
}

func (o *serveOptions) addPortFlags(flags *pflag.FlagSet) {
	for _, face := range []struct {
		name, what string
		options    *listenOptions
		port       uint16
	}{
		{"http", "REST", &o.http, defaultHTTPPort},
		{"grpc", "gRPC", &o.grpc, defaultGRPCPort},
		{"metrics", "metrics", &o.metrics, defaultMetricsPort},
	} {
		flags.BoolVar(&face.options.allow, "allow-"+face.name, true, "serve "+face.what)
		flags.StringVar(&face.options.address, face.name+"-address", "0.0.0.0", "`address` that "+face.what+" listens on")
		flags.Uint16Var(&face.options.port, face.name+"-port", face.port, "port of "+face.what+", 0 for any that is free")
	}
}

func (o *keepaliveOptions) addFlags(flags *pflag.FlagSet) {
	flags.Int64Var(&o.time, "grpc-keepalive-time", 7_200_000, "`milliseconds` of silence after which a connection is probed")
	flags.Int64Var(&o.timeout, "grpc-keepalive-timeout", 20_000, "`milliseconds` a probe may take before the connection is closed")
	flags.BoolVar(&o.withoutCalls, "grpc-keepalive-permit-without-calls", false, "let clients probe connections without calls")
	flags.Int64Var(&o.minPingInterval, "grpc-http2-min-recv-ping-interval-without-data", 300_000, "least `milliseconds` between two probes of a client")
	flags.Int64Var(&o.connectionAge, "grpc-max-connection-age", 0, "`milliseconds` after which a connection is closed in order, 0 for never")
	flags.Int64Var(&o.connectionAgeGrace, "grpc-max-connection-age-grace", 0, "further `milliseconds` for its calls to end, 0 for no limit")
}

// repeated is a flag that may be given several times, also under several names.
type repeated []string

func (r *repeated) String() string { return strings.Join(*r, ",") }
func (r *repeated) Type() string   { return "repeated" }

func (r *repeated) Set(value string) error {
	if value == "" {
		return fmt.Errorf("it is empty")
	}
	*r = append(*r, value)
	return nil
}

// logEffective writes every option that has an effect, once.
func (o *serveOptions) logEffective(log *slog.Logger) {
	var attributes []any
	o.given.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "help" && !flag.Hidden {
			attributes = append(attributes, slog.String(flag.Name, flag.Value.String()))
		}
	})
	log.Info("options", attributes...)
}
