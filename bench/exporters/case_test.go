// SPDX-License-Identifier: Apache-2.0

package exporters

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/proto/inference"
)

// How far a served probability may be from the library's own, which it calculates in
// other precision and order than the exported graph. Graphs give a small probability
// as one minus a large one, so what remains of it is exact to FP32's steps near one.
const (
	relativeErrorMax = 1e-5
	absoluteErrorMax = 1.0 / (1 << 22)
)

// modelCase is a model and what its library answers to all rows. Probabilities has
// no name where the exported graph does not give them as a tensor.
type modelCase struct {
	Model string
	Input struct{ Name, Datatype string }
	Label struct {
		Name   string
		Values []int64
	}
	Probabilities struct {
		Name   string
		Values [][]float64
	}
}

// requests asks for all rows in order, size of them at once; the last request has
// what is left.
func (m modelCase) requests(rows [][]float64, size int) []*inference.ModelInferRequest {
	var requests []*inference.ModelInferRequest
	for first := 0; first < len(rows); first += size {
		requests = append(requests, m.request(rows[first:min(first+size, len(rows))]))
	}
	return requests
}

func (m modelCase) request(rows [][]float64) *inference.ModelInferRequest {
	var raw []byte
	for _, row := range rows {
		for _, value := range row {
			raw = m.appendInput(raw, value)
		}
	}
	return &inference.ModelInferRequest{
		ModelName: m.Model,
		Inputs: []*inference.ModelInferRequest_InferInputTensor{{
			Name: m.Input.Name, Datatype: m.Input.Datatype, Shape: []int64{int64(len(rows)), int64(len(rows[0]))},
		}},
		RawInputContents: [][]byte{raw},
	}
}

func (m modelCase) appendInput(raw []byte, value float64) []byte {
	if m.Input.Datatype == "FP64" {
		return binary.LittleEndian.AppendUint64(raw, math.Float64bits(value))
	}
	return binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(value)))
}

// check compares the answers to all rows, in order, with the library's.
func (m modelCase) check(answers []*inference.ModelInferResponse) error {
	labels, err := output(answers, m.Label.Name)
	if err != nil {
		return err
	}
	if len(labels) != len(m.Label.Values) {
		return fmt.Errorf("%d labels for %d rows", len(labels), len(m.Label.Values))
	}
	for row, want := range m.Label.Values {
		if labels[row] != float64(want) {
			return fmt.Errorf("row %d: label %v, the library says %d", row, labels[row], want)
		}
	}
	if m.Probabilities.Name == "" {
		return nil
	}
	return m.checkProbabilities(answers)
}

func (m modelCase) checkProbabilities(answers []*inference.ModelInferResponse) error {
	got, err := output(answers, m.Probabilities.Name)
	if err != nil {
		return err
	}
	for row, classes := range m.Probabilities.Values {
		if len(got) < len(classes) {
			return fmt.Errorf("row %d: no probabilities", row)
		}
		for class, want := range classes {
			if math.Abs(got[class]-want) > relativeErrorMax*want+absoluteErrorMax {
				return fmt.Errorf("row %d: probability of class %d is %v, the library says %v", row, class, got[class], want)
			}
		}
		got = got[len(classes):]
	}
	if len(got) > 0 {
		return fmt.Errorf("%d probabilities after the last row", len(got))
	}
	return nil
}

// output joins the values of one output over all answers.
func output(answers []*inference.ModelInferResponse, name string) ([]float64, error) {
	var values []float64
	for _, answer := range answers {
		found := false
		for i, out := range answer.Outputs {
			if out.Name != name {
				continue
			}
			found = true
			var err error
			if values, err = appendValues(values, out.Datatype, answer.RawOutputContents[i]); err != nil {
				return nil, fmt.Errorf("output %q: %w", name, err)
			}
		}
		if !found {
			return nil, fmt.Errorf("an answer lacks output %q", name)
		}
	}
	return values, nil
}

func appendValues(values []float64, datatype string, raw []byte) ([]float64, error) {
	width := map[string]int{"INT64": 8, "FP32": 4, "FP64": 8}[datatype]
	if width == 0 || len(raw)%width != 0 {
		return nil, fmt.Errorf("%d bytes of %s", len(raw), datatype)
	}
	for ; len(raw) > 0; raw = raw[width:] {
		switch datatype {
		case "INT64":
			values = append(values, float64(int64(binary.LittleEndian.Uint64(raw))))
		case "FP32":
			values = append(values, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))))
		case "FP64":
			values = append(values, math.Float64frombits(binary.LittleEndian.Uint64(raw)))
		}
	}
	return values, nil
}
