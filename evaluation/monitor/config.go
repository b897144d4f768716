// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/profile"
)

// Limits of a configuration.
const (
	// WindowsMax is the most durations.
	WindowsMax = 8
	// BucketsMax bounds the windows of the shortest duration that are held at once: those of
	// the longest duration, the delay of labels and lateness together.
	BucketsMax = 100_000
	// TrailingMax bounds Config.Trailing, and RecalibrateMax Config.RecalibrateRows.
	TrailingMax    = 100
	RecalibrateMax = 1 << 20
	// SlicesMax is the most slice dimensions.
	SlicesMax = 16
)

// Duration is a duration that is written such as 90s, 1h or 7d.
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseFloat(days, 64)
		if err != nil || !(math.Abs(n) < 1e5) {
			return fmt.Errorf("%w: %q is no duration such as 7d", ErrConfig, s)
		}
		*d = Duration(n * 24 * float64(time.Hour))
		return nil
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%w: %q is no duration such as 90s, 1h or 7d", ErrConfig, s)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the duration as it is written: in days where it is whole days.
func (d Duration) String() string {
	const day = 24 * time.Hour
	v := time.Duration(d)
	if v != 0 && v%day == 0 {
		return strconv.FormatInt(int64(v/day), 10) + "d"
	}
	s := v.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func (d Duration) micros() int64 { return time.Duration(d).Microseconds() }

// Kind says what scores and labels are.
type Kind string

// The kinds.
const (
	// Binary is of labels 0 and 1, and scores that rise with the chance of 1.
	Binary Kind = "binary"
	// Regression is of amounts: labels are numbers, and scores predict them.
	Regression Kind = "regression"
)

// Metrics are those that people are shown, the most telling one first.
func (k Kind) Metrics() []estimate.Metric {
	if k == Regression {
		return estimate.AmountMetrics
	}
	return []estimate.Metric{estimate.AUC, estimate.AveragePrecision, estimate.Accuracy, estimate.Precision, estimate.Recall}
}

// Assumptions is what estimates of the kind rest on, and how they are made, for people.
func (k Kind) Assumptions() string {
	if k == Regression {
		return "What an estimate assumes (errors by score): " + estimate.AmountAssumptions
	}
	return "What an estimate assumes (confidence-based, CBPE): " + estimate.Assumptions
}

// Column is a column of the model's vector to watch.
type Column struct {
	Name string `yaml:"name"`
	// Text says that it has categories.
	Text bool `yaml:"text"`
	// Test is the test for drift: empty is cvm for numbers, g for categories.
	Test drift.Test `yaml:"test"`
	// Importance is the column's part in predictions, in any unit, for ranking; 0 if unknown.
	Importance float64 `yaml:"importance"`
}

// Config says what of a model is watched and when it alarms. The zero value of a field
// stands for what is given as its default.
type Config struct {
	// Name is that of the model or decision.
	Name string `yaml:"name"`
	// Kind is Binary, or Regression.
	Kind Kind `yaml:"kind"`
	// Windows are their lengths by event time, each a multiple of the first one: 1h, 1d, 7d.
	Windows []Duration `yaml:"windows"`
	// Lateness is how late a prediction may come and still count in its window: 10m.
	Lateness Duration `yaml:"lateness"`
	// FutureMax is how far ahead of its arrival an event may be: 10m.
	FutureMax Duration `yaml:"future_max"`
	// LabelDelay is the attribution window: how long after a prediction its label may come.
	// A window is matured, and metrics of it are realised, when it is over for all: 0 for
	// labels that come at once, within Lateness.
	LabelDelay Duration `yaml:"label_delay"`
	// SilenceIsNegative takes a prediction without a label for negative once it matured: of a
	// regression, for 0.
	SilenceIsNegative bool `yaml:"silence_is_negative"`
	// Columns are in the order of a prediction's values: numbers among themselves, texts
	// among themselves.
	Columns []Column `yaml:"columns"`
	// Slices names the dimensions that quality is split by, in the order of a
	// prediction's values for them.
	Slices []string `yaml:"slices"`
	// Threshold is the score from which on a prediction is positive: 0.5. A regression has none.
	Threshold float64 `yaml:"threshold"`
	// Level is the chance of a false alarm of one family of tests in one window, after
	// correction for how many they are: 0.01.
	Level float64 `yaml:"level"`
	// EffectMin is the least effect that matters, however sure it is: standard deviations
	// of a number, or the share of rows with other categories or without a value: 0.1.
	EffectMin float64 `yaml:"effect_min"`
	// DropMin is the least drop of AUC or accuracy that matters: 0.02. Of a regression it is
	// the least rise of the mean absolute error as a share of the reference's, 0.1; a bias
	// matters from twice as much of that error.
	DropMin float64 `yaml:"drop_min"`
	// RowsMin is how many rows a window, and labels a matured window, has to have to be
	// judged: 50.
	RowsMin int `yaml:"rows_min"`
	// PositivesMin is how many of each class it has to have for quality: 10. A regression has
	// none.
	PositivesMin int `yaml:"positives_min"`
	// ClearAfter is how many good windows in a row clear an alarm: 2.
	ClearAfter int `yaml:"clear_after"`
	// SampleRows is how many rows of a window tests look at: 5000.
	SampleRows int `yaml:"sample_rows"`
	// WaitingBytesMax bounds what is held of predictions until their windows matured: 256
	// MiB. Beyond it a sample by id is held, and said in Quality.Sampled.
	WaitingBytesMax int64 `yaml:"waiting_bytes_max"`
	// Trailing compares a window with so many windows of its length before it, once there
	// were as many, instead of the reference: for columns that move with the season. 0 is
	// never; at most TrailingMax. What stays changed is then no drift any more. Profiles with samples are held of them all.
	Trailing int `yaml:"trailing"`
	// RecalibrateRows estimates quality from the last so many rows of windows of the longest
	// duration that matured, once they have twenty times PositivesMin of each class, or of a regression four times
	// RowsMin rows, instead of the reference: for models whose
	// scores slowly lose their meaning. 0 is never; at most RecalibrateMax.
	RecalibrateRows int `yaml:"recalibrate_rows"`
	// PerEntity tests one row of each entity: for entities with many rows that are alike.
	PerEntity bool `yaml:"per_entity"`
	// CostFalsePositive and CostFalseNegative are what wrong decisions cost, in any unit.
	CostFalsePositive float64 `yaml:"cost_false_positive"`
	CostFalseNegative float64 `yaml:"cost_false_negative"`
	// LatencyP99Max alarms where one answer of a hundred takes longer; 0 is never.
	LatencyP99Max Duration `yaml:"latency_p99_max"`
	// Draws is how many draws intervals of estimates are made of: 100.
	Draws int `yaml:"draws"`
}

// EnsureDefaults replaces zero values by what they stand for.
func (c *Config) EnsureDefaults() {
	if len(c.Windows) == 0 {
		c.Windows = []Duration{Duration(time.Hour), Duration(24 * time.Hour), Duration(7 * 24 * time.Hour)}
	}
	ensure(&c.Lateness, Duration(10*time.Minute))
	ensure(&c.FutureMax, Duration(10*time.Minute))
	ensure(&c.Kind, Binary)
	if c.Kind == Regression {
		ensure(&c.DropMin, 0.1)
	} else {
		ensure(&c.Threshold, 0.5)
		ensure(&c.DropMin, 0.02)
		ensure(&c.PositivesMin, 10)
	}
	ensure(&c.Level, 0.01)
	ensure(&c.EffectMin, 0.1)
	ensure(&c.RowsMin, 50)
	ensure(&c.ClearAfter, 2)
	ensure(&c.SampleRows, 5000)
	ensure(&c.WaitingBytesMax, 256<<20)
	ensure(&c.Draws, 100)
	for i := range c.Columns {
		if c.Columns[i].Test == "" {
			c.Columns[i].Test = drift.CvM
			if c.Columns[i].Text {
				c.Columns[i].Test = drift.GTest
			}
		}
	}
}

func ensure[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Validate reports all that is wrong, after EnsureDefaults. Errors wrap ErrConfig.
func (c *Config) Validate() error {
	var all []error
	wrong := func(bad bool, format string, args ...any) {
		if bad {
			all = append(all, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
		}
	}
	wrong(c.Name == "", "name: it is empty")
	wrong(len(c.Windows) > WindowsMax, "windows: there are %d, at most %d", len(c.Windows), WindowsMax)
	for i, w := range c.Windows {
		wrong(w < Duration(time.Second), "windows[%d]: %s is less than a second", i, w)
		wrong(i > 0 && (w <= c.Windows[i-1] || w%max(1, c.Windows[0]) != 0), "windows[%d]: %s has to be longer than the one before and a multiple of %s", i, w, c.Windows[0])
	}
	wrong(c.Lateness < 0 || c.LabelDelay < 0 || c.FutureMax < 0 || c.LatencyP99Max < 0, "lateness, label_delay, future_max, latency_p99_max: they cannot be negative")
	if held := c.Windows[len(c.Windows)-1] + c.LabelDelay + c.Lateness + c.FutureMax; len(all) == 0 {
		wrong(int64(held/c.Windows[0]) > BucketsMax, "windows[0]: %s is too short, %s of them are held at once", c.Windows[0], held)
	}
	names := map[string]bool{scoreColumn: true}
	for i, column := range c.Columns {
		wrong(column.Name == "" || names[column.Name], "columns[%d].name: %q is empty, reserved or there twice", i, column.Name)
		names[column.Name] = true
		suits := column.Test.Numeric()
		if column.Text {
			suits = column.Test.Categorical()
		}
		wrong(!suits, "columns[%d].test: %q is none for this column", i, column.Test)
		wrong(!(column.Importance >= 0), "columns[%d].importance: %v is negative", i, column.Importance)
	}
	wrong(len(c.Columns)+1 > profile.ColumnsMax, "columns: there are %d, at most %d", len(c.Columns), profile.ColumnsMax-1)
	wrong(len(c.Slices) > SlicesMax, "slices: there are %d, at most %d", len(c.Slices), SlicesMax)
	wrong(!(c.Level > 0 && c.Level < 0.5), "level: %v has to be between 0 and 0.5", c.Level)
	wrong(!(c.EffectMin >= 0 && c.DropMin >= 0), "effect_min, drop_min: they cannot be negative")
	wrong(math.IsNaN(c.Threshold) || math.IsInf(c.Threshold, 0), "threshold: %v is no number", c.Threshold)
	wrong(c.RowsMin < 2 || c.PositivesMin < 2 && c.Kind != Regression, "rows_min, positives_min: they are at least 2")
	c.validateKind(wrong)
	wrong(c.ClearAfter < 1 || c.ClearAfter > 1000, "clear_after: %d is not in 1 to 1000", c.ClearAfter)
	wrong(c.SampleRows < c.RowsMin || c.SampleRows > profile.SampleMax, "sample_rows: %d is not in rows_min to %d", c.SampleRows, profile.SampleMax)
	wrong(c.Trailing < 0 || c.Trailing > TrailingMax, "trailing: %d is not in 0 to %d", c.Trailing, TrailingMax)
	wrong(c.RecalibrateRows < 0 || c.RecalibrateRows > RecalibrateMax, "recalibrate_rows: %d is not in 0 to %d", c.RecalibrateRows, RecalibrateMax)
	wrong(c.WaitingBytesMax < 1<<20, "waiting_bytes_max: %d is less than a MiB", c.WaitingBytesMax)
	wrong(c.Draws < 0 || c.Draws > 10_000, "draws: %d is not in 0 to 10000", c.Draws)
	return errors.Join(all...)
}

// validateKind sees that nothing is said of classes where labels are amounts.
func (c *Config) validateKind(wrong func(bad bool, format string, args ...any)) {
	wrong(c.Kind != Binary && c.Kind != Regression, "kind: %q is neither %s nor %s", c.Kind, Binary, Regression)
	if c.Kind != Regression {
		return
	}
	const none = "it is of labels that are 0 or 1, and a regression has none: leave it out"
	wrong(c.Threshold != 0, "threshold: "+none)
	wrong(c.PositivesMin != 0, "positives_min: "+none)
	wrong(c.CostFalsePositive != 0, "cost_false_positive: "+none)
	wrong(c.CostFalseNegative != 0, "cost_false_negative: "+none)
}

// scoreColumn is the numeric column of a profile behind those of Config.Columns.
const scoreColumn = "#score"

// Schema is that of the profiles of a reference and of windows: the columns, and the score.
func (c *Config) Schema() []profile.Column {
	var schema []profile.Column
	for _, column := range c.Columns {
		schema = append(schema, profile.Column{Name: column.Name, Text: column.Text})
	}
	return append(schema, profile.Column{Name: scoreColumn})
}
