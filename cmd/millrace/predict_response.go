// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// tableElementsMax is how many elements of an output a table shows.
const tableElementsMax = 16

// jsonResponse is a response in the REST form of the protocol.
type jsonResponse struct {
	ID           string       `json:"id,omitempty"`
	ModelName    string       `json:"model_name"`
	ModelVersion string       `json:"model_version"`
	Outputs      []jsonTensor `json:"outputs"`
}

type jsonTensor struct {
	Name     string          `json:"name"`
	Datatype string          `json:"datatype"`
	Shape    []int64         `json:"shape"`
	Data     json.RawMessage `json:"data"`
}

// printJSON writes a response as one line of JSON.
func printJSON(w io.Writer, response *inference.ModelInferResponse) error {
	line := jsonResponse{ID: response.Id, ModelName: response.ModelName, ModelVersion: response.ModelVersion, Outputs: []jsonTensor{}}
	for i, output := range response.Outputs {
		data, _, err := outputElements(response, i, -1)
		if err != nil {
			return err
		}
		line.Outputs = append(line.Outputs, jsonTensor{output.Name, output.Datatype, output.Shape, data})
	}
	return json.NewEncoder(w).Encode(line)
}

// printTable writes a response for a person, long outputs cut short.
func printTable(w io.Writer, response *inference.ModelInferResponse) error {
	fmt.Fprintf(w, "model %s version %s\n", response.ModelName, response.ModelVersion)
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "OUTPUT\tDATATYPE\tSHAPE\tDATA")
	for i, output := range response.Outputs {
		data, more, err := outputElements(response, i, tableElementsMax)
		if err != nil {
			return err
		}
		rest := ""
		if more {
			rest = " ... (--format json shows all)"
		}
		fmt.Fprintf(table, "%s\t%s\t%v\t%s%s\n", output.Name, output.Datatype, tensor.Shape(output.Shape), data, rest)
	}
	return table.Flush()
}

// outputElements writes the i-th output as a flat JSON array of at most elementsMax
// elements, or of all when that is negative, and reports whether there are more.
func outputElements(response *inference.ModelInferResponse, i, elementsMax int) (text []byte, more bool, err error) {
	output := response.Outputs[i]
	if i >= len(response.RawOutputContents) {
		return nil, false, fmt.Errorf("output %q: the server sent no raw contents for it", output.Name)
	}
	text, more, err = decodeElements(tensor.ParseDatatype(output.Datatype), response.RawOutputContents[i], elementsMax)
	if err != nil {
		return nil, false, fmt.Errorf("output %q: %w", output.Name, err)
	}
	return text, more, nil
}
