// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"bytes"
	"encoding"
	"encoding/json"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
)

// MarshalJSON writes a report for other programs: names in snake case, null for a number
// that is not defined (JSON has no NaN), values of metrics by name, durations in
// microseconds, and nothing for what is nil.
func (r Report) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := writeJSON(&b, reflect.ValueOf(r)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// MarshalJSON writes an alarm as Report does.
func (a Alarm) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	if err := writeJSON(&b, reflect.ValueOf(a)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// writeJSON writes a value of the kinds that a report has; all its fields are exported.
func writeJSON(b *bytes.Buffer, v reflect.Value) error {
	switch own := v.Interface().(type) {
	case estimate.Values:
		return writeValues(b, own)
	case time.Duration:
		return writeJSON(b, reflect.ValueOf(own.Microseconds()))
	case encoding.TextMarshaler:
		text, err := own.MarshalText()
		if err != nil {
			return err
		}
		return writeJSON(b, reflect.ValueOf(string(text)))
	}
	switch v.Kind() {
	case reflect.Float64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			b.WriteString("null")
			return nil
		}
	case reflect.Pointer:
		return writeJSON(b, v.Elem())
	case reflect.Struct:
		return writeStruct(b, v)
	case reflect.Slice:
		b.WriteByte('[')
		for i := range v.Len() {
			if i > 0 {
				b.WriteByte(',')
			}
			if err := writeJSON(b, v.Index(i)); err != nil {
				return err
			}
		}
		b.WriteByte(']')
		return nil
	}
	data, err := json.Marshal(v.Interface())
	b.Write(data)
	return err
}

func writeStruct(b *bytes.Buffer, v reflect.Value) error {
	b.WriteByte('{')
	first := true
	for i := range v.NumField() {
		field := v.Field(i)
		if kind := field.Kind(); (kind == reflect.Pointer || kind == reflect.Slice || kind == reflect.Map) && field.IsNil() {
			continue
		}
		if !first {
			b.WriteByte(',')
		}
		first = false
		b.WriteString(`"` + snake(v.Type().Field(i).Name) + `":`)
		if err := writeJSON(b, field); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// writeValues writes the metrics of a classifier, or those of a regression where some of them
// alone are known.
func writeValues(b *bytes.Buffer, values estimate.Values) error {
	known := func(m estimate.Metric) bool { return !math.IsNaN(values.Of(m)) }
	metrics := estimate.ClassMetrics
	if slices.ContainsFunc(estimate.AmountMetrics, known) && !slices.ContainsFunc(metrics, known) {
		metrics = estimate.AmountMetrics
	}
	b.WriteByte('{')
	for i, m := range metrics {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(`"` + string(m) + `":`)
		if err := writeJSON(b, reflect.ValueOf(values.Of(m))); err != nil {
			return err
		}
	}
	b.WriteByte('}')
	return nil
}

// snake is the name of a field in snake case: P50Micros is p50_micros, ScoreShift
// score_shift, SD sd.
func snake(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) && i > 0 && !unicode.IsUpper(runes[i-1]) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
