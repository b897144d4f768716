// SPDX-License-Identifier: Apache-2.0

package exporters

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/proto/inference"
)

// relativeErrorMax is how far a served float may be from the library's own, which it
// calculates in other precision and order than the exported graph. Each output has an
// absolute error on top: see STEP in suite/case.py.
const relativeErrorMax = 1e-5

// modelCase is a model, rows for it, and what its library says of them.
type modelCase struct {
	Model, Exporter string
	Rows            int
	// Exact says that the floats must be the same in every bit, whatever the batch,
	// the backend and the level of the CPU.
	Exact   bool
	Inputs  []caseInput
	Outputs []caseOutput
}

// caseInput is an input of all rows; Shape is that of one row.
type caseInput struct {
	Name, Datatype string
	Shape          []int64
	Values         elements
}

// caseOutput is what the library says of all rows. Outputs that the exported graph
// does not give as tensors are not among them.
type caseOutput struct {
	Name, Datatype string
	// Absolute bounds the error of a float that is zero.
	Absolute float64
	Values   elements
}

// requests asks for all rows in order, size of them at once; the last request has
// what is left.
func (m modelCase) requests(size int) []*inference.ModelInferRequest {
	var requests []*inference.ModelInferRequest
	for first := 0; first < m.Rows; first += size {
		requests = append(requests, m.request(first, min(first+size, m.Rows)))
	}
	return requests
}

func (m modelCase) request(first, end int) *inference.ModelInferRequest {
	request := &inference.ModelInferRequest{ModelName: m.Model}
	for _, in := range m.Inputs {
		width := in.Values.count() / m.Rows
		request.Inputs = append(request.Inputs, &inference.ModelInferRequest_InferInputTensor{
			Name: in.Name, Datatype: in.Datatype, Shape: append([]int64{int64(end - first)}, in.Shape...),
		})
		request.RawInputContents = append(request.RawInputContents, in.Values.encode(in.Datatype, first*width, end*width))
	}
	return request
}

// check compares the answers to all rows, in order, with the library's, and those of
// an exact model with the answers before. It may be called from many goroutines.
func (m modelCase) check(answers []*inference.ModelInferResponse, bits *firstAnswers) error {
	for _, want := range m.Outputs {
		got, err := output(answers, want)
		if err != nil {
			return err
		}
		if got.count() != want.Values.count() {
			return fmt.Errorf("output %q: %d elements for %d rows, the library gives %d", want.Name, got.count(), m.Rows, want.Values.count())
		}
		if err := want.compare(got, want.Values.count()/m.Rows); err != nil {
			return fmt.Errorf("output %q: %w", want.Name, err)
		}
		if !m.Exact || want.Datatype != "FP32" {
			continue
		}
		if err := bits.compare(m.Model+" "+want.Name, got.numbers); err != nil {
			return fmt.Errorf("output %q: %w", want.Name, err)
		}
	}
	return nil
}

// compare holds the answers to the library's.
func (c caseOutput) compare(got elements, width int) error {
	for i, want := range c.Values.strings {
		if got.strings[i] != want {
			return fmt.Errorf("row %d: %q, the library says %q", i/width, got.strings[i], want)
		}
	}
	exact := c.Datatype != "FP32" && c.Datatype != "FP64"
	for i, want := range c.Values.numbers {
		is := float64(got.numbers[i])
		// Written so that NaN is no answer.
		near := math.Abs(is-float64(want)) <= relativeErrorMax*math.Abs(float64(want))+c.Absolute
		if is != float64(want) && (exact || !near) {
			return fmt.Errorf("row %d, element %d: %v, the library says %v", i/width, i%width, is, want)
		}
	}
	return nil
}

// output joins the elements of one output over all answers.
func output(answers []*inference.ModelInferResponse, want caseOutput) (elements, error) {
	var all elements
	for _, answer := range answers {
		found := false
		for i, out := range answer.Outputs {
			if out.Name != want.Name {
				continue
			}
			found = true
			if out.Datatype != want.Datatype {
				return elements{}, fmt.Errorf("output %q is %s, the graph says %s", want.Name, out.Datatype, want.Datatype)
			}
			if err := all.decode(out.Datatype, answer.RawOutputContents[i]); err != nil {
				return elements{}, fmt.Errorf("output %q: %w", want.Name, err)
			}
		}
		if !found {
			return elements{}, fmt.Errorf("an answer lacks output %q", want.Name)
		}
	}
	return all, nil
}
