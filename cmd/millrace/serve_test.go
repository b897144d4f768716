// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/serving"
)

// parseServe reads the flags of one command line.
func parseServe(t *testing.T, args ...string) *serveOptions {
	t.Helper()
	o := new(serveOptions)
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	o.addFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return o
}

func translate(t *testing.T, args ...string) serving.Options {
	t.Helper()
	options, err := parseServe(t, args...).serverOptions(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	return options
}

func TestServeDefaults(t *testing.T) {
	o := translate(t, "--model-repository", "models")
	if o.ID != "triton" || o.ExitTimeout != 30*time.Second || !o.StrictReadiness || !o.ExitOnError || !o.LatencyHistograms || o.TLS != nil {
		t.Errorf("defaults: %+v", o)
	}
	if o.Transport.KeepaliveTime != 2*time.Hour || o.Transport.KeepaliveTimeout != 20*time.Second || o.Transport.KeepaliveMinTime != 5*time.Minute {
		t.Errorf("keepalive defaults: %+v", o.Transport)
	}
	if o.Repository.Mode != repository.ModeNone || o.Repository.LoadThreads != 4 || o.Repository.DisableAutoComplete {
		t.Errorf("repository defaults: %+v", o.Repository)
	}
}

func TestServeFlags(t *testing.T) {
	o := translate(t, "--model-repository=a", "--model-store", "b", "--model-control-mode", "explicit", "--load-model", "x", "--load-model=y",
		"--model-load-thread-count", "2", "--exit-on-error=false", "--strict-readiness=0", "--strict-model-config=1",
		"--backend-config", "onnxruntime,default-max-batch-size=16", "--id", "mill", "--exit-timeout-secs=5",
		"--grpc-keepalive-time", "1000", "--grpc-keepalive-permit-without-calls=true", "--grpc-max-connection-age", "60000",
		"--latency-histograms=false", "--latency-objective", "5ms", "--state-file", "state.json")
	r := o.Repository
	if !slices.Equal(r.Paths, []string{"a", "b"}) || !slices.Equal(r.LoadModels, []string{"x", "y"}) || r.Mode != repository.ModeExplicit ||
		r.LoadThreads != 2 || !r.DisableAutoComplete || r.DefaultMaxBatchSize != 16 || r.StateFile != "state.json" {
		t.Errorf("repository: %+v", r)
	}
	if o.ID != "mill" || o.ExitTimeout != 5*time.Second || o.ExitOnError || o.StrictReadiness || o.LatencyHistograms || o.Limits.LatencyObjective != 5*time.Millisecond {
		t.Errorf("server: %+v", o)
	}
	if o.Transport.KeepaliveTime != time.Second || !o.Transport.KeepaliveWithoutCalls || o.Transport.MaxConnectionAge != time.Minute {
		t.Errorf("transport: %+v", o.Transport)
	}
}

func TestServePollInterval(t *testing.T) {
	o := translate(t, "--model-repository", "m", "--model-control-mode", "poll", "--repository-poll-secs", "3")
	if o.Repository.Mode != repository.ModePoll || o.Repository.PollInterval != 3*time.Second {
		t.Errorf("repository: %+v", o.Repository)
	}
}

func TestServeRefuses(t *testing.T) {
	tests := []struct {
		args string
		text string
	}{
		{"", "--model-repository FOLDER is missing"},
		{"--model-repository m --model-control-mode sometimes", `--model-control-mode "sometimes"`},
		{"--model-repository m --load-model x", "--load-model needs --model-control-mode explicit"},
		{"--model-repository m --model-load-thread-count 0", "--model-load-thread-count 0"},
		{"--model-repository m --model-control-mode poll --repository-poll-secs 0", "--repository-poll-secs 0"},
		{"--model-repository m --exit-timeout-secs 0", "--exit-timeout-secs 0"},
		{"--model-repository m --latency-objective -1s", "--latency-objective -1s"},
		{"--model-repository m --backend-config onnxruntime,threads=2", "the only setting known is default-max-batch-size"},
		{"--model-repository m --backend-config default-max-batch-size=0", "a whole number above 0"},
		{"--model-repository m --grpc-keepalive-time 0", "--grpc-keepalive-time 0"},
		{"--model-repository m --grpc-max-connection-age 9223372036854775807", "--grpc-max-connection-age"},
		{"--model-repository m --grpc-server-cert c.pem", "need --grpc-use-ssl"},
		{"--model-repository m --grpc-use-ssl --grpc-server-cert /nowhere/c.pem --grpc-server-key k.pem", "open /nowhere/c.pem"},
		{"--model-repository m --grpc-restricted-protocol health:key=value", "--grpc-restricted-protocol is not supported: restrict access in a proxy"},
		{"--model-repository m --model-namespacing true", "--model-namespacing is not supported"},
	}
	for _, test := range tests {
		_, err := parseServe(t, strings.Fields(test.args)...).serverOptions(slog.New(slog.DiscardHandler))
		if err == nil || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%q: error %v, want %q", test.args, err, test.text)
		}
	}
}

func TestServeReportsAllProblemsAtOnce(t *testing.T) {
	status, _, stderr := runCommand(t, "", "serve", "--model-control-mode", "x", "--exit-timeout-secs", "-1")
	for _, text := range []string{"--model-repository", "--model-control-mode", "--exit-timeout-secs"} {
		if !strings.Contains(stderr, text) {
			t.Errorf("error has no %q: %s", text, stderr)
		}
	}
	if status != exitUsage {
		t.Errorf("status %d, want %d", status, exitUsage)
	}
}

func TestServeSwitchedOffFlagsAreNotRefused(t *testing.T) {
	translate(t, "--model-repository", "m", "--model-namespacing=false")
}

func TestServeForeignFlags(t *testing.T) {
	o := parseServe(t, "--model-repository", "m", "--http-thread-count", "8", "--allow-gpu-metrics=false")
	var log bytes.Buffer
	warnForeign(o.given, slog.New(slog.NewTextHandler(&log, nil)))
	for _, flag := range []string{"--http-thread-count", "--allow-gpu-metrics"} {
		if !strings.Contains(log.String(), flag) {
			t.Errorf("no warning names %s: %s", flag, log.String())
		}
	}
	if strings.Count(log.String(), "\n") != 2 {
		t.Errorf("two flags were given, the log says %s", log.String())
	}
}

func TestServeLogsEffectiveOptions(t *testing.T) {
	o := parseServe(t, "--model-repository", "m", "--grpc-port", "9")
	var log bytes.Buffer
	o.logEffective(slog.New(slog.NewTextHandler(&log, nil)))
	for _, text := range []string{"model-repository=m", "grpc-port=9", "http-port=8000"} {
		if !strings.Contains(log.String(), text) {
			t.Errorf("the log has no %q: %s", text, log.String())
		}
	}
	if strings.Contains(log.String(), "http-thread-count") {
		t.Errorf("the log names a flag without effect: %s", log.String())
	}
}

func TestLogLevels(t *testing.T) {
	levels := []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn, slog.LevelError}
	tests := []struct {
		args []string
		want string
	}{
		{nil, "INFO WARN ERROR"},
		{[]string{"--log-verbose", "1"}, "DEBUG INFO WARN ERROR"},
		{[]string{"--log-info=false"}, "WARN ERROR"},
		{[]string{"--log-warning=false", "--log-error=false"}, "INFO"},
	}
	for _, test := range tests {
		var out bytes.Buffer
		log, closeLog, err := parseServe(t, append(test.args, "--log-format", "json")...).log.open(&out)
		if err != nil {
			t.Fatal(err)
		}
		for _, level := range levels {
			log.With("a", 1).WithGroup("g").Log(t.Context(), level, "x")
		}
		closeLog()
		var logged []string
		for _, level := range levels {
			if strings.Contains(out.String(), `"level":"`+level.String()+`"`) {
				logged = append(logged, level.String())
			}
		}
		if got := strings.Join(logged, " "); got != test.want {
			t.Errorf("%q logs %q, want %q", test.args, got, test.want)
		}
	}
	if _, _, err := parseServe(t, "--log-format", "xml").log.open(nil); err == nil {
		t.Error("--log-format xml was taken")
	}
}
