// SPDX-License-Identifier: Apache-2.0

package training

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/baseline"
	"github.com/millrace-ml/millrace/training/calibration"
	"github.com/millrace-ml/millrace/training/learn"
)

// Names of an exported model's inputs and outputs. Input is used where all features are
// numbers; else there is an input for each feature, by its name.
const (
	InputName         = "input"
	LabelName         = "label"
	ProbabilitiesName = "probabilities"
	PredictionName    = "prediction"
)

// SignatureKey is the key of the model's metadata that has the Signature, as JSON.
const SignatureKey = "millrace.signature"

// Signature says what a model takes and gives, and binds it to a feature service.
type Signature struct {
	Version int    `json:"version"`
	Service string `json:"service,omitempty"`
	// ServiceHash is of what the service's features mean; see dataset.Manifest.
	ServiceHash string             `json:"service_hash,omitempty"`
	Task        string             `json:"task"`
	Label       string             `json:"label"`
	Classes     []string           `json:"classes,omitempty"`
	Features    []SignatureFeature `json:"features"`
}

// SignatureFeature is a feature that a model takes.
type SignatureFeature struct {
	Name        string `json:"name"`
	Type        string `json:"type"`
	Categorical bool   `json:"categorical,omitempty"`
	// Min, Max and Missing describe the training set: the range, and the share of rows
	// without a value. Monitors compare with them.
	Min     *float64 `json:"min,omitempty"`
	Max     *float64 `json:"max,omitempty"`
	Missing float64  `json:"missing,omitempty"`
}

// signatureOf describes a training set.
func signatureOf(s *Spec, d *Data) Signature {
	t := d.Table
	g := Signature{Version: 1, Service: s.Service, Task: s.Task, Label: s.Label, Classes: t.Classes}
	if d.Manifest != nil && d.Manifest.Service == s.Service {
		g.ServiceHash = d.Manifest.ServiceHash
	}
	for i, f := range t.Features {
		g.Features = append(g.Features, describeFeature(f, t.Values[i]))
	}
	return g
}

func describeFeature(f learn.Feature, values []float32) SignatureFeature {
	d := SignatureFeature{Name: f.Name, Type: f.Type.String(), Categorical: f.Categorical}
	low, high, missing := math.Inf(1), math.Inf(-1), 0
	for _, v := range values {
		if v != v {
			missing++
			continue
		}
		low, high = min(low, float64(v)), max(high, float64(v))
	}
	d.Missing = float64(missing) / float64(len(values))
	if !f.Categorical && low <= high {
		d.Min, d.Max = &low, &high
	}
	return d
}

// scorer is what gives a table's predictions: a model and, for classes, the calibrator that
// makes probabilities of its scores.
type scorer struct {
	model      learn.Model
	calibrator *calibration.Calibrator // nil for a regression
}

// predict gives probabilities of class 1 (binary), of all classes (multiclass), or values.
func (s *scorer) predict(t *learn.Table) []float32 {
	raw := make([]float32, t.Rows()*s.model.Outputs())
	s.model.Predict(t.Values, raw)
	if s.calibrator != nil {
		s.calibrator.Apply(raw, raw)
	}
	return raw
}

// follow is predict for rows that are judged by: a baseline that goes by the label of the
// row before, which no request has, is given it.
func (s *scorer) follow(t *learn.Table) []float32 {
	follower, ok := s.model.(baseline.Follower)
	if !ok {
		return s.predict(t)
	}
	raw := make([]float32, t.Rows()*s.model.Outputs())
	follower.Follow(t, raw)
	if s.calibrator != nil {
		s.calibrator.Apply(raw, raw)
	}
	return raw
}

// export writes a scorer as ONNX, with the signature in its metadata.
func export(name string, s *scorer, features []learn.Feature, signature Signature) ([]byte, error) {
	b := onnx.NewBuilder(name)
	b.Opset("", learn.Opset)
	b.Opset(learn.DomainML, learn.OpsetML)
	g := learn.NewGraph(b, "", features)
	g.Reserve(InputName, LabelName, ProbabilitiesName, PredictionName)
	g.Matrix = exportInputs(g)
	scores, err := s.model.Export(g)
	if err != nil {
		return nil, err
	}
	if s.calibrator != nil {
		scores, err = s.calibrator.Export(g, scores)
	}
	if err != nil {
		return nil, err
	}
	exportOutputs(g, scores, signature.Classes)
	text, err := json.Marshal(signature)
	if err != nil {
		return nil, err
	}
	b.Metadata(SignatureKey, string(text))
	return b.Marshal()
}

// isText says that requests have texts for a feature.
func isText(f learn.Feature) bool { return f.Type == column.String }

// exportInputs adds the inputs and what makes the matrix of features of them.
func exportInputs(g *learn.Graph) string {
	texts, categorical := false, false
	for _, f := range g.Features {
		texts, categorical = texts || isText(f), categorical || f.Categorical
	}
	if texts {
		return exportNamedInputs(g)
	}
	name := InputName
	g.Input(name, tensor.FP32, onnx.Symbol("rows"), onnx.Extent(int64(len(g.Features))))
	if !categorical {
		return name
	}
	var parts []string
	for i := 0; i < len(g.Features); {
		end := i + 1
		for !g.Features[i].Categorical && end < len(g.Features) && !g.Features[end].Categorical {
			end++
		}
		part := g.Apply("Slice", []string{name, g.Integers("starts", []int64{int64(i)}, 1), g.Integers("ends", []int64{int64(end)}, 1), g.Integers("axes", []int64{1}, 1)})
		if g.Features[i].Categorical {
			part = exportCodes(g, g.Features[i], part)
		}
		parts, i = append(parts, part), end
	}
	return concatenate(g, parts)
}

func exportNamedInputs(g *learn.Graph) string {
	parts := make([]string, len(g.Features))
	for _, f := range g.Features { // before anything else is named
		g.Reserve(f.Name)
	}
	for i, f := range g.Features {
		name, datatype := f.Name, tensor.FP32
		if isText(f) {
			datatype = tensor.Bytes
		}
		g.Input(name, datatype, onnx.Symbol("rows"), onnx.Extent(1))
		parts[i] = name
		if f.Categorical {
			parts[i] = exportCodes(g, f, name)
		}
	}
	return concatenate(g, parts)
}

func concatenate(g *learn.Graph, parts []string) string {
	if len(parts) == 1 {
		return parts[0]
	}
	name := g.Name(learn.MatrixName)
	g.Node("Concat", parts, []string{name}, onnx.IntAttribute("axis", 1))
	return name
}

// exportCodes turns categories into their codes; NaN for those that were not seen.
func exportCodes(g *learn.Graph, f learn.Feature, name string) string {
	codes := make([]float32, len(f.Categories))
	for i := range codes {
		codes[i] = float32(i)
	}
	keys := onnx.StringsAttribute("keys_strings", f.Categories...)
	if !isText(f) {
		numbers := make([]float32, len(codes))
		for i, text := range f.Categories {
			v, _ := strconv.ParseFloat(text, 32) // written by categoryOf
			numbers[i] = float32(v)
		}
		keys = onnx.FloatsAttribute("keys_floats", numbers...)
	}
	output := g.Name("codes")
	g.DomainNode(learn.DomainML, "LabelEncoder", []string{name}, []string{output}, keys,
		onnx.FloatsAttribute("values_floats", codes...), onnx.FloatAttribute("default_float", float32(math.NaN())))
	return output
}

// exportOutputs adds label [rows] and probabilities [rows, classes], or prediction [rows, 1].
func exportOutputs(g *learn.Graph, scores string, classes []string) {
	rows := onnx.Symbol("rows")
	if classes == nil {
		g.Node("Identity", []string{scores}, []string{PredictionName})
		g.Output(PredictionName, tensor.FP32, rows, onnx.Extent(1))
		return
	}
	g.Node("Identity", []string{scores}, []string{ProbabilitiesName})
	attributes := []onnx.Attribute{onnx.IntAttribute("axis", 1), onnx.IntAttribute("keepdims", 0)}
	if len(classes) == 2 { // a probability of just one half is positive, as the evaluator has it
		attributes = append(attributes, onnx.IntAttribute("select_last_index", 1))
	}
	g.Node("ArgMax", []string{ProbabilitiesName}, []string{LabelName}, attributes...)
	g.Output(LabelName, tensor.Int64, rows)
	g.Output(ProbabilitiesName, tensor.FP32, rows, onnx.Extent(int64(len(classes))))
}

// ReadSignature reads the signature of a model, nil if it has none.
func ReadSignature(m *onnx.Model) (*Signature, error) {
	for _, entry := range m.Metadata {
		if entry.Key != SignatureKey {
			continue
		}
		var s Signature
		if err := json.Unmarshal([]byte(entry.Value), &s); err != nil {
			return nil, fmt.Errorf("metadata %s: %w", SignatureKey, err)
		}
		return &s, nil
	}
	return nil, nil
}
