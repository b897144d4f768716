// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/millrace-ml/millrace/proto/inference"
)

// Control of the model repository over REST.

func (s *Server) restIndex(w http.ResponseWriter, q *http.Request) (restAnswer, error) {
	var body struct {
		Ready bool `json:"ready"`
	}
	if err := s.readJSON(w, q, &body); err != nil {
		return restAnswer{}, err
	}
	entries, err := s.repository.Index(body.Ready)
	if err != nil {
		return restAnswer{}, err
	}
	type row struct {
		Name    string `json:"name"`
		Version string `json:"version,omitempty"`
		State   string `json:"state,omitempty"`
		Reason  string `json:"reason,omitempty"`
	}
	rows := []row{}
	for _, e := range entries {
		rows = append(rows, row{e.Name, e.Version, e.State, e.Reason})
	}
	return jsonAnswer(rows)
}

// restLoad takes the parameters of a load: "config" as a string or an object, and
// files as base64 under "file:" and their path.
func (s *Server) restLoad(w http.ResponseWriter, q *http.Request) (restAnswer, error) {
	parameters, err := s.readControlParameters(w, q, loadParameter)
	if err != nil {
		return restAnswer{}, err
	}
	override, err := loadOverride(parameters)
	if err != nil {
		return restAnswer{}, err
	}
	return restAnswer{}, s.repository.Load(q.Context(), q.PathValue("model"), override)
}

func (s *Server) restUnload(w http.ResponseWriter, q *http.Request) (restAnswer, error) {
	parameters, err := s.readControlParameters(w, q, unloadParameter)
	if err != nil {
		return restAnswer{}, err
	}
	if err := checkUnloadParameters(parameters); err != nil {
		return restAnswer{}, err
	}
	return restAnswer{}, s.repository.Unload(q.Context(), q.PathValue("model"))
}

// readControlParameters reads {"parameters": {...}}, which may be left out, into the
// form that the gRPC calls have.
func (s *Server) readControlParameters(w http.ResponseWriter, q *http.Request, convert func(string, json.RawMessage) (*inference.ModelRepositoryParameter, error)) (map[string]*inference.ModelRepositoryParameter, error) {
	var body struct {
		Parameters map[string]json.RawMessage `json:"parameters"`
	}
	if err := s.readJSON(w, q, &body); err != nil {
		return nil, err
	}
	parameters := map[string]*inference.ModelRepositoryParameter{}
	for name, value := range body.Parameters {
		p, err := convert(name, value)
		if err != nil {
			return nil, err
		}
		parameters[name] = p
	}
	return parameters, nil
}

// loadParameter converts what loadOverride knows. Other parameters keep no value:
// it refuses them by their names.
func loadParameter(name string, value json.RawMessage) (*inference.ModelRepositoryParameter, error) {
	switch {
	case name == "config":
		var text string
		if err := json.Unmarshal(value, &text); err != nil {
			text = string(value) // an object in place of a string that holds one
		}
		return &inference.ModelRepositoryParameter{ParameterChoice: &inference.ModelRepositoryParameter_StringParam{StringParam: text}}, nil
	case strings.HasPrefix(name, filePrefix):
		var content []byte
		if err := json.Unmarshal(value, &content); err != nil {
			return nil, invalidArgument("load parameter '%s' must be a base64 string: %v", name, err)
		}
		return &inference.ModelRepositoryParameter{ParameterChoice: &inference.ModelRepositoryParameter_BytesParam{BytesParam: content}}, nil
	}
	return &inference.ModelRepositoryParameter{}, nil
}

// unloadParameter converts booleans, the only values that an unload takes.
func unloadParameter(_ string, value json.RawMessage) (*inference.ModelRepositoryParameter, error) {
	var flag bool
	if err := json.Unmarshal(value, &flag); err != nil {
		return &inference.ModelRepositoryParameter{}, nil
	}
	return &inference.ModelRepositoryParameter{ParameterChoice: &inference.ModelRepositoryParameter_BoolParam{BoolParam: flag}}, nil
}
