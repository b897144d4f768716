// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/engine/tensor/jsontensor"
)

// restRequest is an inference request in JSON.
type restRequest struct {
	ID         string                     `json:"id"`
	Parameters map[string]json.RawMessage `json:"parameters"`
	Inputs     boundedList[restInput]     `json:"inputs"`
	Outputs    boundedList[restOutput]    `json:"outputs"`
}

type restInput struct {
	Name       string                     `json:"name"`
	Datatype   string                     `json:"datatype"`
	Shape      []int64                    `json:"shape"`
	Parameters map[string]json.RawMessage `json:"parameters"`
	Data       json.RawMessage            `json:"data"`
}

type restOutput struct {
	Name       string                     `json:"name"`
	Parameters map[string]json.RawMessage `json:"parameters"`
}

// boundedList is a JSON list of at most requestTensorsMax elements. Elements take
// far more memory than they may take space, as in [{},{},{}].
type boundedList[T any] []T

func (l *boundedList[T]) UnmarshalJSON(text []byte) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	start, err := decoder.Token()
	if err != nil || start == nil { // null
		return err
	}
	if start != json.Delim('[') {
		return errors.New("inputs and outputs must be lists of objects")
	}
	for decoder.More() {
		if len(*l) == requestTensorsMax {
			return fmt.Errorf("more than %d inputs or outputs", requestTensorsMax)
		}
		var element T
		if err := decoder.Decode(&element); err != nil {
			return err
		}
		*l = append(*l, element)
	}
	return nil
}

// binaryHeader announces that tensors follow the JSON as bytes.
const binaryHeader = "Inference-Header-Content-Length"

var errBinaryData = &Error{codes.Unimplemented, "binary tensor data is not supported over REST yet: send \"data\" as JSON, or use gRPC"}

// restInfer answers an inference request in JSON, through the same chain as gRPC.
func (s *Server) restInfer(w http.ResponseWriter, q *http.Request) (restAnswer, error) {
	if q.Header.Get(binaryHeader) != "" {
		return restAnswer{}, errBinaryData
	}
	body, err := s.readBody(w, q)
	if err != nil {
		return restAnswer{}, err
	}
	r := newRequest()
	defer r.release()
	r.wantValues = true
	if err := r.decodeJSON(body, q.PathValue("model"), q.PathValue("version")); err != nil {
		return restAnswer{}, err
	}
	if err := s.infer(q.Context(), r); err != nil {
		return restAnswer{}, err
	}
	answer, err := r.encodeJSON()
	return restAnswer{body: answer}, err
}

// decodeJSON fills the request from its JSON form, with tensors in the wire layout.
func (r *request) decodeJSON(body []byte, model, version string) error {
	var q restRequest
	if err := parseJSON(body, &q); err != nil {
		return err
	}
	r.modelName, r.version, r.id = []byte(model), []byte(version), []byte(q.ID)
	for _, name := range slices.Sorted(maps.Keys(q.Parameters)) {
		p, err := jsonParameter(name, q.Parameters[name])
		if err != nil {
			return err
		}
		r.params.set(name, p)
	}
	for i := range q.Inputs {
		if err := r.addJSONInput(&q.Inputs[i]); err != nil {
			return err
		}
	}
	for i := range q.Outputs {
		if err := r.addJSONOutput(&q.Outputs[i]); err != nil {
			return err
		}
	}
	return nil
}

// addJSONInput adds an input with its data, if it has any.
func (r *request) addJSONInput(in *restInput) error {
	if len(in.Shape) > tensorRankMax {
		return invalidArgument("input '%s' has more than %d dimensions", in.Name, tensorRankMax)
	}
	if in.Parameters["binary_data_size"] != nil {
		return errBinaryData
	}
	if wantsSharedMemory(in.Parameters) {
		return errSharedMemory
	}
	datatype := tensor.ParseDatatype(in.Datatype)
	if datatype == tensor.Invalid {
		return invalidArgument("invalid datatype '%s' for input '%s'", in.Datatype, in.Name)
	}
	var data []byte
	if in.Data != nil {
		var err error
		if data, err = jsontensor.Parse(in.Data, datatype, in.Shape, nil); err != nil {
			return invalidArgument("Unable to parse 'data' of input '%s': %v", in.Name, err)
		}
	}
	from := len(r.dims)
	r.dims = append(r.dims, in.Shape...)
	r.inputs = append(r.inputs, requestInput{
		name: []byte(in.Name), datatypeName: []byte(in.Datatype), datatype: datatype,
		dimsFrom: from, dimsTo: len(r.dims), data: data, hasData: in.Data != nil,
	})
	return nil
}

// addJSONOutput adds an output that is asked for. That it be binary_data is a wish:
// clients read the JSON they get instead.
func (r *request) addJSONOutput(out *restOutput) error {
	if wantsSharedMemory(out.Parameters) {
		return errSharedMemory
	}
	added := requestOutput{name: []byte(out.Name)}
	if raw := out.Parameters["classification"]; raw != nil {
		p, err := jsonParameter("classification", raw)
		if err != nil {
			return err
		}
		if err := added.setClassification(p); err != nil {
			return err
		}
	}
	r.outputs = append(r.outputs, added)
	return nil
}

func wantsSharedMemory(parameters map[string]json.RawMessage) bool {
	for name := range parameters {
		if strings.HasPrefix(name, sharedMemoryPrefix) {
			return true
		}
	}
	return false
}

// jsonParameter reads a parameter: a boolean, an integer, a number or a string.
func jsonParameter(name string, raw json.RawMessage) (parameterValue, error) {
	var v any
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	if err := decoder.Decode(&v); err != nil {
		return parameterValue{}, invalidArgument("Unable to parse '%s': %v", name, err)
	}
	switch v := v.(type) {
	case bool:
		n := uint64(0)
		if v {
			n = 1
		}
		return parameterValue{choice: boolParam, number: n}, nil
	case string:
		return parameterValue{choice: stringParam, text: []byte(v)}, nil
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return parameterValue{choice: int64Param, number: uint64(n)}, nil
		}
		if n, err := strconv.ParseUint(v.String(), 10, 64); err == nil {
			return parameterValue{choice: uint64Param, number: n}, nil
		}
		return parameterValue{choice: doubleParam}, nil
	}
	return parameterValue{}, nil
}

// encodeJSON writes the answer in its JSON form.
func (r *request) encodeJSON() ([]byte, error) {
	b := []byte(`{`)
	if len(r.id) > 0 {
		b = appendMember(b, "id", string(r.id))
	}
	b = appendMember(b, "model_name", r.model.name)
	b = appendMember(b, "model_version", strconv.FormatInt(r.acquired.Number, 10))
	b = append(b, `"outputs":[`...)
	for i, t := range r.values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		b = appendMember(b, "name", t.Name)
		b = appendMember(b, "datatype", t.Datatype.String())
		b = append(b, `"shape":`...)
		b = append(b, t.Shape.String()...)
		b = append(b, `,"data":`...)
		var err error
		if b, err = jsontensor.Append(b, t); err != nil {
			return nil, jsonError(t.Name, err)
		}
		b = append(b, '}')
	}
	return append(b, "]}"...), nil
}

// jsonError says why an output has no JSON form. Bytes that are no text are the
// client's to ask for in another form.
func jsonError(output string, err error) error {
	code := codes.Internal
	if errors.Is(err, jsontensor.ErrNotText) {
		code = codes.InvalidArgument
	}
	return &Error{code, "output '" + output + "': " + err.Error()}
}

// appendMember appends a string member of an object and the comma behind it.
func appendMember(b []byte, name, value string) []byte {
	text, _ := json.Marshal(value) // a string always marshals
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	b = append(b, text...)
	return append(b, ',')
}
