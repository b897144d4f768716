// SPDX-License-Identifier: Apache-2.0

package optimize

import (
	"errors"
	"fmt"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/optimize/dataset"
)

// Mode says how products are quantised to 8 bits.
type Mode string

// The modes.
const (
	QuantizeNone    Mode = "none"
	QuantizeDynamic Mode = "dynamic"
	QuantizeStatic  Mode = "static"
)

// Method says how calibration makes a range of the values it saw.
type Method string

// The methods: all values; all but the outermost; the range that loses least in the
// mean of squares.
const (
	CalibrateMinMax     Method = "minmax"
	CalibratePercentile Method = "percentile"
	CalibrateMSE        Method = "mse"
)

// Weights is the type in which the weights of products that are not quantised are
// stored.
type Weights string

// The types of weights.
const (
	WeightsFloat Weights = "float"
	WeightsBF16  Weights = "bf16"
)

// Activations is the 8-bit type of quantised inputs in static mode.
type Activations string

// The types of activations.
const (
	ActivationsU8 Activations = "u8"
	ActivationsS8 Activations = "s8"
)

// Task says how labels are compared with outputs.
type Task string

// The tasks. TaskAuto decides by the labels and the outputs.
const (
	TaskAuto           Task = "auto"
	TaskClassification Task = "classification"
	TaskRegression     Task = "regression"
)

// Engine is something that runs models.
type Engine struct {
	Name    string
	Backend engine.Backend
}

// Options choose what Run does. The zero value folds and fuses only.
type Options struct {
	// Quantize is QuantizeNone when empty.
	Quantize Mode
	// Weights is WeightsFloat when empty.
	Weights Weights
	// PerTensor takes one scale for all weights of a product in place of one for each
	// column.
	PerTensor bool
	// ReduceRange keeps quantised weights to 7 bits, for ONNX Runtime on CPUs without
	// VNNI, whose sums of 8-bit products saturate.
	ReduceRange bool
	// Activations is ActivationsU8 when empty.
	Activations Activations
	// Calibration is CalibrateMinMax when empty. Percentile is for CalibratePercentile:
	// how many of a hundred values lie within the range; 0 means 99.99.
	Calibration Method
	Percentile  float64
	// Keep lists products that stay as they are, by the name of the node, of its output
	// or of its weights; * stands for any text.
	Keep []string
	// MaxError, above 0, is the largest error of a product's own output, as a root mean
	// square relative to that of the output itself; products above it stay float.
	MaxError float64
	// WeightsMin is how many weights a product must have to be changed; 0 means 256.
	// Smaller ones gain nothing.
	WeightsMin int64
	// CalibrationData gives ranges, Data the accuracy; each stands in for the other
	// where that is not given. Static mode needs one of them.
	CalibrationData, Data *dataset.Data
	// BatchSize is the most rows of one run; 0 means 64.
	BatchSize int
	// Output is the output that labels are compared with; empty takes the first that
	// suits them. Task is TaskAuto when empty.
	Output string
	Task   Task
	// Engines run the model for calibration and comparison, the preferred one first.
	Engines []Engine
	// Progress, where set, is told how far a stage has come.
	Progress func(stage string, done, total int)
}

// ensureDefaults fills what is left out.
func (o *Options) ensureDefaults() {
	defaults(&o.Quantize, QuantizeNone)
	defaults(&o.Weights, WeightsFloat)
	defaults(&o.Activations, ActivationsU8)
	defaults(&o.Calibration, CalibrateMinMax)
	defaults(&o.Percentile, 99.99)
	defaults(&o.WeightsMin, 256)
	defaults(&o.BatchSize, 64)
	defaults(&o.Task, TaskAuto)
	if o.CalibrationData == nil {
		o.CalibrationData = o.Data
	}
	if o.Progress == nil {
		o.Progress = func(string, int, int) {}
	}
}

func defaults[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports all that is wrong with the options. It does not ask for data.
func (o *Options) Validate() error {
	var problems []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf(format, args...))
		}
	}
	check(oneOf(o.Quantize, "", QuantizeNone, QuantizeDynamic, QuantizeStatic), "quantize %q: it is none, dynamic or static", o.Quantize)
	check(oneOf(o.Weights, "", WeightsFloat, WeightsBF16), "weights %q: they are float or bf16", o.Weights)
	check(oneOf(o.Activations, "", ActivationsU8, ActivationsS8), "activations %q: they are u8 or s8", o.Activations)
	check(oneOf(o.Calibration, "", CalibrateMinMax, CalibratePercentile, CalibrateMSE), "calibration %q: it is minmax, percentile or mse", o.Calibration)
	check(oneOf(o.Task, "", TaskAuto, TaskClassification, TaskRegression), "task %q: it is auto, classification or regression", o.Task)
	check(o.Percentile == 0 || o.Percentile > 50 && o.Percentile <= 100, "percentile %v: it is above 50 and at most 100", o.Percentile)
	check(o.MaxError >= 0, "max error %v: it is 0 or more", o.MaxError)
	check(o.WeightsMin >= 0, "smallest number of weights %v: it is 0 or more", o.WeightsMin)
	check(o.BatchSize >= 0, "batch size %v: it is 0 or more", o.BatchSize)
	return errors.Join(problems...)
}

func oneOf[T comparable](value T, list ...T) bool {
	for _, x := range list {
		if x == value {
			return true
		}
	}
	return false
}
