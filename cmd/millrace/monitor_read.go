// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// predictionReader makes predictions for a monitor of what the front-end logs. It is memory
// for one goroutine: a prediction is good until the next one.
type predictionReader struct {
	spec   *monitorSpec
	bound  *offline.Column
	place  []int // of the wanted columns in a record, -1 if it has none
	values []offline.Value
	logged plan.LoggedVector
	now    loggedPrediction
	// Skipped counts records that are no predictions of the decision's model: answers of rules
	// before it, and vectors of other definitions.
	skipped int64
}

// loggedPrediction is a prediction and whose it is.
type loggedPrediction struct {
	monitor.Prediction
	version  int64
	degraded bool
}

// Columns of the stream of decisions that predictionReader wants besides the vector's.
const (
	readDecision = iota
	readAnswer
	readScore
	readModel
	readVersion
	readArm
	readDegraded
	readFacts
	readNanos
	readVector
)

func (m *monitorSpec) reader() *predictionReader {
	r := &predictionReader{spec: m, values: make([]offline.Value, readVector+plan.VectorWidth)}
	r.place = make([]int, len(r.values))
	return r
}

// predictionColumns are the names of the columns, for a scan.
func predictionColumns() []string {
	names := []string{"decision", "answer", "score", "model", "model_version", "arm", "degraded", "facts", "duration_ns"}
	for _, c := range plan.VectorColumns() {
		names = append(names, c.Name)
	}
	return names
}

// read makes a prediction of a record of the stream of decisions, nil if it is of another
// decision or model.
func (r *predictionReader) read(columns []offline.Column, record *offline.Record) *loggedPrediction {
	if r.bound == nil || r.bound != &columns[0] {
		for i, name := range predictionColumns() {
			r.place[i] = slices.IndexFunc(columns, func(c offline.Column) bool { return c.Name == name })
		}
		r.bound = &columns[0]
	}
	for i, at := range r.place {
		r.values[i] = offline.Value{}
		if at >= 0 {
			r.values[i] = record.Values[at]
		}
	}
	return r.take(record.ID, record.EventTime, record.ArrivalTime)
}

// row is read of a row of the joined table, whose further columns are rowColumns.
func (r *predictionReader) row(row *groundtruth.Row) *loggedPrediction {
	v := r.values
	v[readDecision], v[readAnswer], v[readModel], v[readArm] = offline.String(row.Decision), offline.String(row.Answer), offline.String(row.Model), offline.String(row.Arm)
	v[readScore], v[readVersion], v[readDegraded], v[readFacts] = offline.Value{}, offline.Value{}, offline.Value{}, offline.String(row.Facts)
	if !math.IsNaN(row.Score) {
		v[readScore], v[readVersion] = offline.Float64(row.Score), offline.Int64(row.ModelVersion)
	}
	if row.Degraded {
		v[readDegraded] = offline.String("degraded")
	}
	copy(v[readNanos:], row.Extra)
	return r.take(row.PredictionID, row.Time, row.Arrival)
}

// rowColumns are the columns of rows that row needs.
func rowColumns() []string { return predictionColumns()[readNanos:] }

func (r *predictionReader) take(id string, time, arrival int64) *loggedPrediction {
	v, p := r.values, &r.now
	if v[readDecision].Text() != r.spec.Decision {
		return nil
	}
	p.degraded = !v[readDegraded].IsNull()
	scored := !v[readScore].IsNull()
	if model := v[readModel].Text(); !scored && !p.degraded || model != "" && model != r.spec.model().Name {
		r.skipped++
		return nil
	}
	p.Prediction = monitor.Prediction{
		ID: id, Time: time, Arrival: arrival, Arm: v[readArm].Text(), Decision: v[readAnswer].Text(), Score: math.NaN(),
		Numbers: p.Numbers[:0], Texts: p.Texts[:0], Slices: p.Slices[:0],
	}
	p.version = 0
	if scored {
		p.Score, p.version = v[readScore].Float64(), v[readVersion].Int64()
		p.Version = strconv.FormatInt(p.version, 10)
	}
	if !v[readNanos].IsNull() {
		p.LatencyMicros = v[readNanos].Int64() / 1000
	}
	if !r.vector() {
		r.skipped++
		return nil
	}
	r.facts(v[readFacts].Text())
	return p
}

// vector fills in the columns. An answer without features has none of their values.
func (r *predictionReader) vector() bool {
	p, m := &r.now, r.spec
	given := !r.values[readVector].IsNull()
	if given {
		if plan.DecodeVector(r.values[readVector:], &r.logged) != nil || r.logged.Service != m.policy.Service.Name || len(r.logged.Numbers) != len(m.policy.Service.Features) {
			return false
		}
	} else {
		r.logged = plan.LoggedVector{}
	}
	for _, at := range m.numbers {
		x := math.NaN()
		if given {
			x = r.logged.Numbers[at]
		}
		p.Numbers = append(p.Numbers, x)
	}
	for _, at := range m.texts {
		text := ""
		if at < len(r.logged.Texts) {
			text = r.logged.Texts[at]
		}
		p.Texts = append(p.Texts, text)
	}
	return true
}

// facts fills in the slices and the entity, which may be facts of the request.
func (r *predictionReader) facts(text string) {
	p, m := &r.now, r.spec
	if m.Config.PerEntity && m.policy.Unit >= 0 {
		p.Entity = factOf(text, m.policy.Facts[m.policy.Unit].Name)
	}
	for _, s := range m.slices {
		value := ""
		switch {
		case s.fact:
			value = factOf(text, s.name)
		case s.text >= 0 && s.text < len(r.logged.Texts):
			value = r.logged.Texts[s.text]
		case s.feature >= 0 && s.text < 0 && s.feature < len(r.logged.Numbers):
			value = strconv.FormatFloat(r.logged.Numbers[s.feature], 'g', -1, 64)
		case s.name == sliceArm:
			value = p.Arm
		case s.name == sliceAnswer:
			value = p.Decision
		}
		p.Slices = append(p.Slices, value)
	}
}

// factOf is a fact as a text, empty if there is none. The front-end writes facts as an
// object without spaces, mostly without escapes, which is read as it stands; of another the
// JSON is parsed. What is found refers to the object.
func factOf(object, name string) string {
	rest, plain := strings.CutPrefix(object, "{")
	for plain && rest != "}" {
		var key, value string
		if key, rest, plain = plainText(rest); !plain {
			break
		}
		if rest, plain = strings.CutPrefix(rest, ":"); !plain || rest == "" {
			break
		}
		if rest[0] == '"' {
			value, rest, plain = plainText(rest)
		} else {
			end := strings.IndexAny(rest, ",}")
			plain = end > 0 && !strings.ContainsAny(rest[:end], " \t\r\n[{\"")
			value, rest = rest[:max(end, 0)], rest[max(end, 0):]
		}
		switch {
		case !plain:
		case key == name && value == "null":
			return factText(json.RawMessage(value))
		case key == name:
			return value
		default:
			rest = strings.TrimPrefix(rest, ",")
		}
	}
	if plain {
		return ""
	}
	var facts map[string]json.RawMessage
	_ = json.Unmarshal([]byte(object), &facts) // what the front-end writes is JSON; else there are none
	return factText(facts[name])
}

// plainText is the text in quotes at the beginning of JSON, and what follows it; not if it
// has escapes.
func plainText(quoted string) (text, rest string, ok bool) {
	if quoted == "" || quoted[0] != '"' {
		return "", "", false
	}
	end := strings.IndexByte(quoted[1:], '"') + 1
	if end == 0 || strings.IndexByte(quoted[1:end], '\\') >= 0 {
		return "", "", false
	}
	return quoted[1:end], quoted[end+1:], true
}

// factText is a fact as a text; a text without its quotes.
func factText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}
