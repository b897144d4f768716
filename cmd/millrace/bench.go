// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/bench"
	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/bench/report"
	"github.com/millrace-ml/millrace/bench/suite"
	"github.com/millrace-ml/millrace/bench/workload"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/proto/inference"
	"github.com/millrace-ml/millrace/serving"
)

const benchLong = `Load a model server and measure its answers.

The server may be any that speaks the KServe v2 protocol over gRPC. Requests hold
random data that fits the model, or come from a file; they are encoded before the
load begins. A sample of the answers is compared with those to the same requests
sent one at a time.

Without --rate the loop is closed: a fixed number of requests is in flight, which
finds the capacity. With --rate it is open: requests are due at fixed times whatever
the server does, and their latency counts from those times, so that an answer to a
request that could not be sent in time counts as late.`

const benchExample = `  # Capacity: 32 unary requests in flight.
  millrace bench --model mlp_small --concurrency 32 --duration 10s
  # Capacity over 4 streams with 64 requests in flight on each.
  millrace bench --model mlp_small --stream --streams 4 --window 64
  # Latency at 5000 requests per second that arrive at random.
  millrace bench --model mlp_small --rate 5000 --arrivals poisson
  # An input whose size the model leaves open, 8 rows per request, results as JSON.
  millrace bench --model words --shape TOKENS:128 --rows 8 --json result.json
  # Requests from a file, in the JSON of the protocol's REST form.
  millrace bench --model simple --input requests.json`

// benchFlags are the flags of the bench command that are not options of the load.
type benchFlags struct {
	bench.Options
	shapes []string
	json   string
	quiet  bool
}

func newBenchCommand() *cobra.Command {
	var flags benchFlags
	cmd := &cobra.Command{
		Use:     "bench",
		Short:   "Load a model server and measure its answers",
		Long:    benchLong,
		Example: benchExample,
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runBench(cmd, flags) },
	}
	flags.add(cmd.Flags())
	if err := cmd.MarkFlagRequired("model"); err != nil {
		panic(err) // the flag is defined above
	}
	cmd.AddCommand(newBenchSuiteCommand(), newBenchEchoCommand(), newBenchGroundtruthCommand())
	return cmd
}

func (f *benchFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.URL, "url", "localhost:8001", "gRPC `address` of the server")
	flags.IntVar(&f.Connections, "connections", 1, "number of connections to spread the load over")

	flags.StringVar(&f.Requests.Model, "model", "", "model to send requests to (required)")
	flags.StringVar(&f.Requests.Version, "model-version", "", "version of the model (default: the server's choice)")
	flags.IntVar(&f.Requests.Rows, "rows", 1, "rows in each request; with --input, how many the file's requests have")
	flags.StringArrayVar(&f.shapes, "shape", nil, "`NAME:D1,D2,...` of an input whose extents the model leaves open; repeat for several")
	flags.Uint64Var(&f.Requests.Seed, "seed", 1, "seed of random data and arrivals")
	flags.IntVar(&f.Requests.Distinct, "distinct", 64, "number of different requests")
	flags.StringVar(&f.File, "input", "", "`file` of requests to send instead of random data")

	load := &f.Load
	flags.IntVar(&load.Concurrency, "concurrency", 0, "unary requests in flight; with --rate the most there may be (default 32, with --rate 1024)")
	flags.BoolVar(&load.Stream, "stream", false, "send over bidirectional streams")
	flags.IntVar(&load.Streams, "streams", 4, "number of streams")
	flags.IntVar(&load.Window, "window", 64, "requests in flight on each stream")
	flags.Float64Var(&load.Rate, "rate", 0, "requests per second of an open loop (default: a closed loop)")
	flags.StringVar((*string)(&load.Arrivals), "arrivals", "", "spread of an open loop's requests: poisson or constant (default poisson)")
	flags.DurationVar(&load.Warmup, "warmup", time.Second, "time before the measurement")
	flags.DurationVar(&load.Duration, "duration", 10*time.Second, "time of the measurement")
	flags.DurationVar(&load.Drain, "drain", 5*time.Second, "longest wait for answers after the measurement")
	flags.IntVar(&load.CheckEvery, "check-every", 256, "compare one answer in so many with what is expected; negative for none")

	flags.StringVar(&f.json, "json", "", "`file` for results as JSON, - for standard output in place of the table")
	flags.BoolVar(&f.quiet, "quiet", false, "show no progress")
}

func runBench(cmd *cobra.Command, flags benchFlags) error {
	shapes, err := workload.ParseShapes(flags.shapes)
	if err != nil {
		return usageError{err}
	}
	flags.Requests.Shapes = shapes
	flags.Load.Seed = flags.Requests.Seed
	checked := flags.Load
	checked.EnsureDefaults()
	if err := checked.Validate(); err != nil {
		return usageError{err}
	}
	collectRarely()
	if progress, ok := progressTerminal(cmd.ErrOrStderr()); ok && !flags.quiet {
		flags.Load.Progress = report.ProgressLine(progress)
	}
	requests, err := bench.Prepare(cmd.Context(), flags.Options)
	if err != nil {
		return err
	}
	outcome, err := bench.Run(cmd.Context(), requests, flags.Options)
	if err != nil {
		return err
	}
	return writeOutcome(cmd.OutOrStdout(), flags, outcome)
}

// progressTerminal finds the terminal behind a writer, if there is one.
func progressTerminal(out io.Writer) (io.Writer, bool) {
	file, ok := out.(*os.File)
	return file, ok && term.IsTerminal(int(file.Fd()))
}

// writeOutcome prints and stores results. Failed requests fail the command.
func writeOutcome(out io.Writer, flags benchFlags, outcome *bench.Outcome) error {
	if flags.json != "-" {
		fmt.Fprintf(out, "%s\n%s\n", outcome.Workload, outcome.Load)
		if err := report.WriteLoad(out, outcome.Result); err != nil {
			return err
		}
	}
	if flags.json != "" {
		r := report.New("load", flags.Options)
		r.Details = outcome
		if err := r.Write(flags.json, out); err != nil {
			return err
		}
	}
	if failed := outcome.Result.Failed; failed > 0 {
		return fmt.Errorf("%d of %d requests failed", failed, failed+outcome.Result.Requests)
	}
	return nil
}

const suiteServeLong = `Measure the server against its peers and its targets.

The server under test and the bare echo it is compared with run in processes of
their own, on a temporary model repository; ONNX Runtime runs directly in this one.
What is compared is measured in turns within one run, and the values are medians of
the rounds' ratios. The scenarios are: %s.`

const suiteKernelsLong = `Measure the kernels and the native engine on one core.

Kernels are measured against what the CPU can do, whole runs of the native engine
against ONNX Runtime on one thread. Contenders take turns within one process; outputs
are compared before anything is timed; times are those of the thread's own CPU. The
scenarios are: %s.`

const suiteFeaturesLong = `Measure the feature store and the front-end.

Stores of a million entities are filled in this process, servers run in processes of
their own; what is compared takes turns. The training set is made of the published card
payments where they lie beside the source (../shared/data), of generated ones otherwise;
the peer of the point-in-time join is DuckDB, which scripts/fetch-duckdb.sh fetches. The
scenarios are: %s.`

const suiteLearnLong = `Measure training, evaluation and pipelines.

Models of the published card payments are refitted with the parameters that were chosen on
earlier days and judged by the published protocol; the electricity market is predicted day by
day. The published data is read beside the source (../shared/data); without it those rows stay
unmeasured. The peer of the tree trainer is XGBoost, which scripts/fetch-xgboost.sh fetches; the
two take turns. The scenarios are: %s.`

const suiteLoopLong = `Measure monitoring, ground truth, labelling, the console and the demo.

What the monitor promises is simulated; outcomes are joined in a process of their own;
selection and label errors are measured on the published banking77, estimates on the
published card payments, which are read beside the source (../shared/data). The console is
opened in Chromium. The scenarios are: %s.`

func newBenchSuiteCommand() *cobra.Command {
	group := &cobra.Command{
		Use:   "suite",
		Short: "Run a whole suite of benchmarks", Example: "  millrace bench suite kernels --quick",
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	group.AddCommand(newSuiteCommand(suite.Serve, &cobra.Command{
		Use:   "serve",
		Short: "Measure the server against its peers and its targets",
		Long:  fmt.Sprintf(suiteServeLong, strings.Join(suite.ServeScenarios(), ", ")),
		Example: `  millrace bench suite serve                      # all, about 7 minutes
  millrace bench suite serve --only unary,stream  # two scenarios
  millrace bench suite serve --quick              # a few seconds, to see that it works`,
	}), newSuiteCommand(suite.Kernels, &cobra.Command{
		Use:   "kernels",
		Short: "Measure the kernels and the native engine on one core",
		Long:  fmt.Sprintf(suiteKernelsLong, strings.Join(suite.KernelScenarios(), ", ")),
		Example: `  millrace bench suite kernels                  # all, about 3 minutes
  millrace bench suite kernels --only trees,mlp # two scenarios
  millrace bench suite kernels --quick          # a few seconds, to see that it works`,
	}), newSuiteCommand(suite.Features, &cobra.Command{
		Use:   "features",
		Short: "Measure the feature store and the front-end",
		Long:  fmt.Sprintf(suiteFeaturesLong, strings.Join(suite.FeatureScenarios(), ", ")),
		Example: `  millrace bench suite features                    # all, about 10 minutes
  millrace bench suite features --only decide,push # two scenarios
  millrace bench suite features --quick            # a minute, to see that it works`,
	}), newSuiteCommand(suite.Learn, &cobra.Command{
		Use:   "learn",
		Short: "Measure training, evaluation and pipelines",
		Long:  fmt.Sprintf(suiteLearnLong, strings.Join(suite.LearnScenarios(), ", ")),
		Example: `  millrace bench suite learn                      # all, about 6 minutes
  millrace bench suite learn --only trees,cached # two scenarios
  millrace bench suite learn --quick             # a minute, to see that it works`,
	}), newSuiteCommand(suite.Loop, &cobra.Command{
		Use:   "loop",
		Short: "Measure monitoring, ground truth, labelling, the console and the demo",
		Long:  fmt.Sprintf(suiteLoopLong, strings.Join(suite.LoopScenarios(), ", ")),
		Example: `  millrace bench suite loop                       # all, about 9 minutes
  millrace bench suite loop --only alarms,shifts  # two scenarios
  millrace bench suite loop --quick               # a minute, to see that it works`,
	}))
	return group
}

// suiteFunc runs a suite.
type suiteFunc func(ctx context.Context, o suite.Options) (*report.Report, error)

// newSuiteCommand completes the command of a suite, which its results are named after.
func newSuiteCommand(run suiteFunc, cmd *cobra.Command) *cobra.Command {
	var o suite.Options
	var jsonFile string
	results := "bench/results/" + cmd.Name() + ".json"
	cmd.Args = cobra.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if jsonFile == "" && !o.Quick && len(o.Only) == 0 {
			jsonFile = results
		}
		return runSuite(cmd, run, o, jsonFile)
	}
	flags := cmd.Flags()
	flags.StringVar(&o.Binary, "binary", "", "`file` of the program to measure (default: this one)")
	flags.StringVar(&o.Source, "source", ".", "`folder` of the module's source, for what only its tests can measure")
	flags.BoolVar(&o.Quick, "quick", false, "shorten everything; the values mean nothing then")
	flags.StringSliceVar(&o.Only, "only", nil, "`names` of the scenarios to run (default: all)")
	flags.StringVar(&jsonFile, "json", "", "`file` for the results (default: "+results+", with --quick or --only none)")
	return cmd
}

func runSuite(cmd *cobra.Command, run suiteFunc, o suite.Options, jsonFile string) error {
	collectRarely()
	if o.Binary == "" {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		o.Binary = self
	}
	o.Backend = onnxrt.NewBackend(onnxrt.Options{})
	o.Progress = func(text string) { fmt.Fprintln(cmd.ErrOrStderr(), "measuring", text) }
	r, err := run(cmd.Context(), o)
	if errors.Is(err, suite.ErrInvalidOptions) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	if err := r.WriteTable(cmd.OutOrStdout()); err != nil || jsonFile == "" {
		return err
	}
	return r.Write(jsonFile, cmd.OutOrStdout())
}

// newBenchEchoCommand is the peer that the suite starts; it is of no use to others.
func newBenchEchoCommand() *cobra.Command {
	var responseFile, codec string
	var port uint16
	cmd := &cobra.Command{
		Use:    "echo",
		Short:  "Answer every inference request with one prepared response",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runEcho(cmd.Context(), responseFile, echo.Codec(codec), port)
		},
	}
	cmd.Flags().StringVar(&responseFile, "response", "", "`file` with the encoded response")
	cmd.Flags().StringVar(&codec, "codec", string(echo.Raw), "raw or protobuf")
	cmd.Flags().Uint16Var(&port, "grpc-port", defaultGRPCPort, "port to listen on")
	return cmd
}

// runEcho serves until ctx ends, under the server options and with the heap headroom
// of the serve command.
func runEcho(ctx context.Context, responseFile string, codec echo.Codec, port uint16) error {
	defer keepHeapHeadroom(headroomAuto)()
	encoded, err := os.ReadFile(responseFile)
	if err != nil {
		return fmt.Errorf("response: %w", err)
	}
	response := new(inference.ModelInferResponse)
	if err := proto.Unmarshal(encoded, response); err != nil {
		return fmt.Errorf("response %q: %w", responseFile, err)
	}
	server, err := echo.New(echo.Options{
		Response: response, Codec: codec,
		ServerOptions: serving.TransportOptions{}.ServerOptions(serving.Limits{}),
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, server.Stop)
	defer stop()
	return server.Serve(listener)
}
