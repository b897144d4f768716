// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// foreignFlag is a flag of Triton's that this server takes so that command lines
// work unchanged, though it does nothing with it.
type foreignFlag struct {
	name string
	// why says what to do instead, or why nothing is to be done.
	why string
}

const (
	elasticThreads = "threads follow the cores and the load"
	noPools        = "memory of requests is pooled without a fixed size"
	noCache        = "there is no response cache"
	noTracing      = "there is no request tracing"
	noSharedMemory = "there is no shared-memory extension"
	compiledIn     = "backends are part of the binary"
)

// foreignFlags have no effect: giving one is a warning.
var foreignFlags = []foreignFlag{
	{"allow-client-shm", noSharedMemory},
	{"allow-cpu-metrics", "process metrics are always there"},
	{"allow-gpu-metrics", "there are no GPU metrics"},
	{"backend-directory", compiledIn},
	{"buffer-manager-thread-count", elasticThreads},
	{"cache-config", noCache},
	{"cache-directory", noCache},
	{"cuda-memory-pool-byte-size", noPools},
	{"enable-peer-access", "models run on one device each"},
	{"grpc-http2-max-ping-strikes", "the second early probe closes the connection"},
	{"grpc-http2-max-pings-without-data", "the server's probes are not limited"},
	{"grpc-infer-allocation-pool-size", noPools},
	{"grpc-infer-response-compression-level", "responses are compressed as their requests are"},
	{"grpc-infer-thread-count", elasticThreads},
	{"grpc-max-response-pool-size", noPools},
	{"host-policy", "bind the process with taskset or numactl"},
	{"http-header-forward-pattern", "headers are not forwarded to models"},
	{"grpc-header-forward-pattern", "headers are not forwarded to models"},
	{"http-max-input-size", "requests of up to 2 GiB are taken"},
	{"http-thread-count", elasticThreads},
	{"metrics-config", "see --latency-histograms"},
	{"metrics-interval-ms", "metrics are read when asked for"},
	{"min-supported-compute-capability", "ONNX Runtime decides which GPUs it runs on"},
	{"model-load-gpu-limit", "set gpu_mem_limit in the model's configuration"},
	{"pinned-memory-pool-byte-size", noPools},
	{"repoagent-directory", compiledIn},
	{"reuse-grpc-port", "ports are not shared between processes"},
	{"reuse-http-port", "ports are not shared between processes"},
	{"trace-config", noTracing},
	{"rate-limit", "instances are not rate-limited"},
	{"rate-limit-resource", "instances are not rate-limited"},
}

// refusedFlags promise something that running without it would break, such as
// protection: giving one is an error.
var refusedFlags = []foreignFlag{
	{"grpc-restricted-protocol", "restrict access in a proxy in front of the server"},
	{"http-restricted-api", "restrict access in a proxy in front of the server"},
	{"model-namespacing", "give models of different repositories different names"},
}

func addFlagsWithoutEffect(flags *pflag.FlagSet) {
	for _, foreign := range slices.Concat(foreignFlags, refusedFlags) {
		flags.StringArray(foreign.name, nil, "no effect: "+foreign.why)
		flags.Lookup(foreign.name).Hidden = true
	}
}

// warnForeign logs each flag given that has no effect.
func warnForeign(flags *pflag.FlagSet, log *slog.Logger) {
	for _, foreign := range foreignFlags {
		if flags.Changed(foreign.name) {
			log.Warn("flag has no effect", "flag", "--"+foreign.name, "why", foreign.why)
		}
	}
}

// checkRefused reports the flags given that must not be ignored. Switching one off
// is no request for it.
func checkRefused(flags *pflag.FlagSet) error {
	var problems []error
	for _, foreign := range refusedFlags {
		flag := flags.Lookup(foreign.name)
		if !flag.Changed {
			continue
		}
		if on, err := strconv.ParseBool(strings.Trim(flag.Value.String(), "[]")); on || err != nil {
			problems = append(problems, fmt.Errorf("--%s is not supported: %s", foreign.name, foreign.why))
		}
	}
	return errors.Join(problems...)
}
