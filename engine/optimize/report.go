// SPDX-License-Identifier: Apache-2.0

package optimize

import "time"

// Report is what was done to a model and what it costs. Numbers that were not measured
// are left out.
type Report struct {
	NodesBefore int   `json:"nodes_before"`
	NodesAfter  int   `json:"nodes_after"`
	BytesBefore int64 `json:"bytes_before"`
	BytesAfter  int64 `json:"bytes_after"`
	// Inlined, Folded, Merged and Removed count what rewriting did to nodes; Fused how
	// often each kind of fusion was made.
	Inlined int            `json:"inlined"`
	Folded  int            `json:"folded"`
	Merged  int            `json:"merged"`
	Removed int            `json:"removed"`
	Fused   map[string]int `json:"fused"`
	// Layers are the products with constant weights.
	Layers []Layer `json:"layers"`
	// Rows is how many rows the accuracy is of, BatchSize how many ran at once.
	Rows      int        `json:"rows,omitempty"`
	BatchSize int        `json:"batch_size,omitempty"`
	Accuracy  []Accuracy `json:"accuracy,omitempty"`
	Timings   []Timing   `json:"timings,omitempty"`
	// Notes say what could not be measured, and why.
	Notes []string `json:"notes,omitempty"`
}

// Layer is one product.
type Layer struct {
	Name     string `json:"name"`
	Operator string `json:"operator"`
	Weights  string `json:"weights"`
	Rows     int    `json:"rows"`
	Columns  int    `json:"columns"`
	Form     Form   `json:"form"`
	// Reason says why the form is another than was asked for.
	Reason string `json:"reason,omitempty"`
	// Input is how the input is quantised in static mode.
	Input *Range `json:"input,omitempty"`
	// Output is the same for what Relu or Clip makes of the product, where no quantised
	// product reads that.
	Output *Range `json:"output,omitempty"`
	// Error is the root mean square of what the form changes of the product's output,
	// relative to that of the output itself; without data the same of its weights. SQNR
	// is the same as a ratio of signal to noise in decibel, left out where there is no
	// noise.
	Error *float64 `json:"relative_error,omitempty"`
	SQNR  *float64 `json:"sqnr_db,omitempty"`
}

// Range is how a value is quantised: the range chosen, that of the
// values seen, and the numbers that follow.
type Range struct {
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	SeenLow  float64 `json:"seen_low"`
	SeenHigh float64 `json:"seen_high"`
	Scale    float32 `json:"scale"`
	Zero     int     `json:"zero_point"`
}

// Accuracy compares the model before and after on one engine.
type Accuracy struct {
	Engine  string       `json:"engine"`
	Outputs []Difference `json:"outputs"`
	// Labels is empty where none were given.
	Labels []Metric `json:"labels,omitempty"`
}

// Difference is how an output changed. Relative differences are to the value or to the
// root mean square of the run's values, whichever is larger.
type Difference struct {
	Output   string `json:"output"`
	Datatype string `json:"datatype"`
	Elements int64  `json:"elements"`
	// MaxAbs to MeanRelative are for numbers with a fraction.
	MaxAbs       float64 `json:"max_abs"`
	MeanAbs      float64 `json:"mean_abs"`
	MaxRelative  float64 `json:"max_relative"`
	MeanRelative float64 `json:"mean_relative"`
	// Broken counts elements that are finite before or after only.
	Broken int64 `json:"broken,omitempty"`
	// Changed counts elements that differ, for whole numbers and texts.
	Changed int64 `json:"changed,omitempty"`
	// ArgMaxRows counts the rows of several columns, ArgMaxChanged those whose largest
	// column is another.
	ArgMaxRows    int64 `json:"argmax_rows,omitempty"`
	ArgMaxChanged int64 `json:"argmax_changed,omitempty"`
}

// Metric compares outputs with labels.
type Metric struct {
	Name   string  `json:"name"`
	Output string  `json:"output"`
	Before float64 `json:"before"`
	After  float64 `json:"after"`
}

// Timing is the median time of a run on one core, divided by its rows.
type Timing struct {
	Engine string        `json:"engine"`
	Rows   int           `json:"rows"`
	Before time.Duration `json:"before_ns_per_row"`
	After  time.Duration `json:"after_ns_per_row"`
}
