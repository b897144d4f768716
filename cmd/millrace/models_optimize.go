// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/engine/optimize"
	"github.com/millrace-ml/millrace/engine/optimize/dataset"
)

const optimizeLong = `Make a smaller and faster ONNX model of another, and say what that costs.

MODEL is a file, a version's folder, or a model's folder, of which the highest version
is taken. Constants are folded and nodes fused, which changes results within rounding only. --quantize and --weights then change
the products with constant weights (MatMul and Gemm):

  --quantize dynamic   8-bit weights; each run finds the range of its inputs
  --quantize static    8-bit weights and inputs; ranges come from calibration data
  --weights bf16       weights of 16 bits, for products that are not quantised

The file that is written has operators of the ONNX standard alone: the native engine
and ONNX Runtime make their 8-bit and 16-bit kernels of it.

Data is read from .csv with a header, .npy, .npz, or .json, a request in the form that
millrace predict reads. With --data the outputs before and after are compared on every
engine at hand, with --label-column both with the labels too.`

const optimizeExample = `  millrace models optimize model.onnx -o small.onnx
  millrace models optimize model.onnx -o small.onnx --quantize dynamic --data rows.npz
  millrace models optimize ranker/1 -o ranker/2/model.onnx --quantize static \
      --calibration-data train.csv --data test.csv --label-column clicked
  millrace models optimize model.onnx -o small.onnx --quantize static --calibration mse \
      --data rows.csv --keep '*head*' --max-error 0.02
  millrace models optimize model.onnx -o small.onnx --weights bf16 --data rows.json --format json`

// optimizeOptions are the flags of models optimize.
type optimizeOptions struct {
	optimize.Options
	quantize, weights, activations, calibration, task string

	output, format  string
	force, quiet    bool
	calibrationData string
	data            string
	rows            int
	label           string
	allowNaN        bool
	inherited       *modelsOptions
}

func (o *modelsOptions) optimizeCommand() *cobra.Command {
	f := &optimizeOptions{inherited: o}
	cmd := &cobra.Command{
		Use:     "optimize MODEL -o FILE",
		Short:   "Fold, fuse and quantise a model file, and report the accuracy lost",
		Long:    optimizeLong,
		Example: optimizeExample,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	f.addFlags(cmd)
	return cmd
}

func (f *optimizeOptions) addFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "", "`file` to write")
	flags.BoolVar(&f.force, "force", false, "replace the file if it is there")
	flags.StringVar(&f.format, "format", "text", "`form` of the report: text or json")
	flags.BoolVar(&f.quiet, "quiet", false, "show no progress")

	flags.StringVar(&f.quantize, "quantize", "none", "`mode` of 8-bit products: none, dynamic or static")
	flags.StringVar(&f.weights, "weights", "float", "`type` of the weights of other products: float or bf16")
	flags.BoolVar(&f.PerTensor, "per-tensor", false, "one scale for all weights of a product, in place of one for each column")
	flags.BoolVar(&f.ReduceRange, "reduce-range", false, "weights of 7 bits, for ONNX Runtime on CPUs without VNNI, where sums may saturate")
	flags.StringVar(&f.activations, "activations", "u8", "8-bit `type` of inputs in static mode: u8, or s8")
	flags.StringVar(&f.calibration, "calibration", "minmax", "`method` that makes ranges in static mode: minmax, percentile or mse")
	flags.Float64Var(&f.Percentile, "percentile", 99.99, "how many of a hundred values lie within the range of --calibration percentile")
	flags.StringArrayVar(&f.Keep, "keep", nil, "`name` of a product to leave as it is: that of its node, output or weights; * is any text; repeat as needed")
	flags.Float64Var(&f.MaxError, "max-error", 0, "leave a product as it is where its own output changes by more than this `fraction` (root mean square)")
	flags.Int64Var(&f.WeightsMin, "min-weights", 256, "leave products of fewer weights as they are")

	flags.StringVar(&f.data, "data", "", "`file` of rows to compare on, and to calibrate on without --calibration-data")
	flags.StringVar(&f.calibrationData, "calibration-data", "", "`file` of rows to find ranges on")
	flags.IntVar(&f.rows, "rows", 0, "read no more than so many rows of each file (default: all)")
	flags.StringVar(&f.label, "label-column", "", "`name` of the column or array with labels")
	flags.StringVar(&f.Output, "label-output", "", "`name` of the output that labels are compared with (default: the first that suits them)")
	flags.StringVar(&f.task, "task", "auto", "what labels are: auto, classification or regression")
	flags.BoolVar(&f.allowNaN, "allow-nan", false, "take NaN and empty cells for values")
	flags.IntVar(&f.BatchSize, "batch-size", 64, "rows of one run, for the comparison and the times")
}

func (f *optimizeOptions) validate() error {
	f.Quantize, f.Weights, f.Activations = optimize.Mode(f.quantize), optimize.Weights(f.weights), optimize.Activations(f.activations)
	f.Calibration, f.Task = optimize.Method(f.calibration), optimize.Task(f.task)
	if f.WeightsMin == 0 { // which the options take for left out
		f.WeightsMin = 1
	}
	if f.inherited.json {
		f.format = "json"
	}
	problems := []error{f.Validate()}
	check := func(bad bool, text string) {
		if bad {
			problems = append(problems, errors.New(text))
		}
	}
	check(f.output == "", "-o FILE is missing")
	check(f.format != "text" && f.format != "json", fmt.Sprintf("--format %q: it is text or json", f.format))
	check(f.rows < 0, "--rows is 0 or more")
	check(f.Quantize == optimize.QuantizeStatic && f.data == "" && f.calibrationData == "",
		"--quantize static takes its ranges from data: give --calibration-data FILE or --data FILE")
	check(f.label != "" && f.data == "", "--label-column is for --data FILE, which is missing")
	if err := errors.Join(problems...); err != nil {
		return usageError{err}
	}
	return nil
}

func (f *optimizeOptions) run(cmd *cobra.Command, path string) error {
	if err := f.validate(); err != nil {
		return err
	}
	if err := f.checkOutput(); err != nil {
		return err
	}
	source, err := optimize.Read(highestVersion(path))
	if err != nil {
		return err
	}
	if err := f.readData(cmd.InOrStdin(), source); err != nil {
		return err
	}
	engines, note := optimizeEngines()
	f.Engines = engines
	done := f.showProgress(cmd.ErrOrStderr())
	model, report, err := optimize.Run(cmd.Context(), source, f.Options)
	done()
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if note != "" {
		report.Notes = append(report.Notes, note)
	}
	return f.finish(cmd.OutOrStdout(), source, model, report)
}

// checkOutput looks before the work begins, which may take long.
func (f *optimizeOptions) checkOutput() error {
	err := optimize.CheckOutput(f.output, f.force)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("-o: %w: --force replaces it", err)
	}
	return err
}

// finish writes the model and the report.
func (f *optimizeOptions) finish(out io.Writer, source *optimize.Source, model *onnx.Model, report *optimize.Report) error {
	if _, err := optimize.Write(model, f.output, f.force); err != nil {
		return fmt.Errorf("-o: %w", err)
	}
	if f.format == "json" {
		text, err := json.MarshalIndent(struct {
			Model  string `json:"model"`
			Output string `json:"output"`
			*optimize.Report
		}{source.File, f.output, report}, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, string(text))
		return err
	}
	fmt.Fprintf(out, "%s -> %s\n", source.File, f.output)
	return printOptimized(out, report)
}

// optimizeEngines are the engines of this machine; note says which one is missing.
func optimizeEngines() (engines []optimize.Engine, note string) {
	engines = append(engines, optimize.Engine{Name: "native", Backend: native.Backend{}})
	if _, err := onnxrt.Open(onnxrt.Options{}); err != nil {
		reason, _, _ := strings.Cut(err.Error(), "; looked at")
		return engines, "ONNX Runtime is not there to compare with: " + reason
	}
	quiet := onnxrt.Options{Logger: slog.New(slog.DiscardHandler)}
	return append(engines, optimize.Engine{Name: onnxrt.BackendName, Backend: onnxrt.NewBackend(quiet)}), ""
}

// showProgress keeps one line of a terminal up to date. What it returns clears it.
func (f *optimizeOptions) showProgress(out io.Writer) (done func()) {
	terminal, ok := progressTerminal(out)
	if !ok || f.quiet {
		return func() {}
	}
	var bar *progressbar.ProgressBar
	latest := ""
	clearBar := func() {
		if bar != nil {
			_ = bar.Clear() // a terminal that is gone is no reason to stop
		}
	}
	f.Progress = func(stage string, done, total int) {
		if stage != latest {
			clearBar()
			latest = stage
			bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(terminal), progressbar.OptionSetWidth(30),
				progressbar.OptionSetDescription(stage), progressbar.OptionSetPredictTime(false), progressbar.OptionClearOnFinish())
		}
		_ = bar.Set(done)
	}
	return clearBar
}

// readData reads the files of rows.
func (f *optimizeOptions) readData(stdin io.Reader, source *optimize.Source) error {
	o := dataset.Options{Inputs: source.Inputs, RowsMax: f.rows, AllowNaN: f.allowNaN, Label: f.label}
	var err error
	if f.data != "" {
		if f.Data, err = readRows(f.data, stdin, o); err != nil {
			return fmt.Errorf("--data: %w", err)
		}
	}
	if f.calibrationData == "" {
		return nil
	}
	o.LabelOptional = true // a column of labels is no input, but none is needed either
	f.CalibrationData, err = readRows(f.calibrationData, stdin, o)
	if err != nil {
		return fmt.Errorf("--calibration-data: %w", err)
	}
	return nil
}
