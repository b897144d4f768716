// SPDX-License-Identifier: Apache-2.0

// Package report says what an evaluation found and writes it for people and machines:
// JSON, a self-contained HTML page with plots, Markdown for a pull request, JUnit XML.
// A Report is data only; package evaluation fills it in.
//
// Invariants:
//
//   - R1: equal reports give equal bytes, in every form.
//   - R2: no text of a report becomes markup, a link, somebody told on a code host, or a
//     command of a terminal. JSON alone keeps texts as they are.
//   - R3: a page asks no host for anything and needs no script.
//   - R4: numbers that are not finite are null in JSON and a dash elsewhere.
//   - R5: documents are bounded: what is left out is said, and JSON has all but the points
//     of a curve beyond PointsMax.
//
// Concurrency: writers only read the report and may be called from many goroutines.
package report

import "time"

// Version is the version of the JSON form.
const Version = 1

// Report is the result of an evaluation. Numbers that are not defined are null.
type Report struct {
	Version int       `json:"version"`
	Created time.Time `json:"created"`
	// Millrace is the version of the program.
	Millrace string `json:"millrace"`
	Title    string `json:"title"`
	Task     string `json:"task"`
	Data     Data   `json:"data"`
	// Model is what was evaluated, Against what it is compared with (the champion), nil for
	// none. Baselines are trivial models, always of use to see beside it.
	Model     Model   `json:"model"`
	Against   *Model  `json:"against,omitempty"`
	Baselines []Model `json:"baselines,omitempty"`
	// Metrics are of all rows.
	Metrics []Metric `json:"metrics"`
	// Slices are metrics of parts of the rows, those with most regret first.
	Slices []Slice `json:"slices,omitempty"`
	// Tests compare with the champion on the same rows.
	Tests []Test `json:"tests,omitempty"`
	// Gates are the conditions that the model has to meet. Verdict sums them up.
	Gates   []Gate  `json:"gates,omitempty"`
	Verdict Verdict `json:"verdict"`
	// Leakage is what looks like the truth in the features.
	Leakage  []Finding `json:"leakage,omitempty"`
	Plots    Plots     `json:"plots"`
	Warnings []string  `json:"warnings,omitempty"`
	// Method says how intervals were made: "bootstrap of 1000 draws by customer_id".
	Method string `json:"method"`
}

// Verdict sums the gates up.
type Verdict string

// The verdicts. NoGates is without gates: nothing was decided.
const (
	Pass    Verdict = "pass"
	Fail    Verdict = "fail"
	NoGates Verdict = "no gates"
)

// Data says what was evaluated on.
type Data struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256,omitempty"`
	Rows   int    `json:"rows"`
	// Excluded counts rows left out, by reason.
	Excluded map[string]int `json:"excluded,omitempty"`
	// Positives is for binary tasks. Classes counts labels by class.
	Positives int            `json:"positives,omitempty"`
	Classes   map[string]int `json:"classes,omitempty"`
	// From and To are the times of the first and last row, if they have times.
	From *time.Time `json:"from,omitempty"`
	To   *time.Time `json:"to,omitempty"`
	// Cluster is the column by which rows belong together, and Clusters how many there are.
	Cluster  string `json:"cluster,omitempty"`
	Clusters int    `json:"clusters,omitempty"`
}

// Model says what a model is.
type Model struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	Path    string `json:"path,omitempty"`
	SHA256  string `json:"sha256,omitempty"`
	Bytes   int64  `json:"bytes,omitempty"`
	Backend string `json:"backend,omitempty"`
	// Threshold is the score from which a row counts as positive.
	Threshold float64 `json:"threshold,omitempty"`
	// Latency is of single rows and of a large batch.
	Latency *Latency `json:"latency,omitempty"`
}

// Latency is how long a model takes, in microseconds.
type Latency struct {
	RowP50Micros  float64 `json:"row_p50_micros"`
	RowP99Micros  float64 `json:"row_p99_micros"`
	BatchRows     int     `json:"batch_rows"`
	RowsPerSecond float64 `json:"rows_per_second"`
}

// Metric is a metric of some rows.
type Metric struct {
	Name string `json:"name"`
	// Better is higher, lower or empty.
	Better  string    `json:"better,omitempty"`
	Value   Estimate  `json:"value"`
	Against *Estimate `json:"against,omitempty"`
	// Difference is Value less Against, on the same rows and draws.
	Difference *Estimate `json:"difference,omitempty"`
	// Baselines are values of the baselines, in their order.
	Baselines []*float64 `json:"baselines,omitempty"`
	Rows      int        `json:"rows"`
	// Note says why a value is missing or to be read with care.
	Note string `json:"note,omitempty"`
}

// Estimate is a number with its interval. All are null where not defined.
type Estimate struct {
	Value *float64 `json:"value"`
	Low   *float64 `json:"low,omitempty"`
	High  *float64 `json:"high,omitempty"`
	// Level is the confidence level of the interval, such as 0.95.
	Level float64 `json:"level,omitempty"`
}

// Slice is a part of the rows.
type Slice struct {
	// Name is the expression or COLUMN=VALUE.
	Name    string   `json:"name"`
	Rows    int      `json:"rows"`
	Metrics []Metric `json:"metrics,omitempty"`
	// Skipped says why there are no metrics: too few rows, one class only.
	Skipped string `json:"skipped,omitempty"`
}

// Test is a statistical test against the champion.
type Test struct {
	// Name is paired_bootstrap, delong or mcnemar.
	Name   string `json:"name"`
	Metric string `json:"metric"`
	Slice  string `json:"slice,omitempty"`
	// Hypothesis is what a small p-value speaks against: "no difference", "worse by more
	// than 0.01".
	Hypothesis string   `json:"hypothesis"`
	Statistic  *float64 `json:"statistic,omitempty"`
	P          *float64 `json:"p"`
	// Adjusted is P with Holm's correction over the slices, where there are several.
	Adjusted *float64 `json:"adjusted,omitempty"`
}

// Gate is a condition and whether it holds.
type Gate struct {
	Name string `json:"name"`
	// Condition is the gate in words, such as "average_precision is at least 0.6 (lower end
	// of the 95 % interval)"; Observed is what was found.
	Condition string `json:"condition"`
	Observed  string `json:"observed"`
	Holds     bool   `json:"holds"`
	// Warning gates do not fail the model.
	Warning bool `json:"warning,omitempty"`
	// Reason says in a sentence why it does not hold.
	Reason string `json:"reason,omitempty"`
}

// Finding is something that looks like a leak.
type Finding struct {
	// Check is time, duplicates, entities or predictor.
	Check   string `json:"check"`
	Subject string `json:"subject,omitempty"`
	Detail  string `json:"detail"`
	Rows    int    `json:"rows,omitempty"`
	// Severe findings make the numbers worthless.
	Severe bool `json:"severe,omitempty"`
}

// Plots are what the page draws. Curves have at most PointsMax points.
type Plots struct {
	ROC             []Curve     `json:"roc,omitempty"`
	PrecisionRecall []Curve     `json:"precision_recall,omitempty"`
	Reliability     []Curve     `json:"reliability,omitempty"`
	Scores          []Histogram `json:"scores,omitempty"`
	// Confusion counts rows by true and predicted class.
	Confusion *Confusion `json:"confusion,omitempty"`
	// Residuals is predicted against true, for regression.
	Residuals []Curve `json:"residuals,omitempty"`
}

// PointsMax bounds the points of a curve.
const PointsMax = 500

// Curve is a line. Counts, if there are any, are rows behind each point.
type Curve struct {
	Name   string    `json:"name"`
	X      []float64 `json:"x"`
	Y      []float64 `json:"y"`
	Counts []int     `json:"counts,omitempty"`
}

// Histogram counts scores between edges; there is one edge more than counts.
type Histogram struct {
	Name   string    `json:"name"`
	Edges  []float64 `json:"edges"`
	Counts []int     `json:"counts"`
}

// Confusion is a matrix of counts.
type Confusion struct {
	Classes []string `json:"classes"`
	// Counts has a row for each true class.
	Counts [][]int `json:"counts"`
}
