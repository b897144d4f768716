// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// extensions are the protocol extensions that this server speaks.
var extensions = []string{"classification", "model_repository", "model_repository(unload_dependents)", "schedule_policy", "model_configuration", "parameters", "statistics"}

// ServerLive answers whether the process can answer at all.
func (i *inferenceService) ServerLive(context.Context, *inference.ServerLiveRequest) (*inference.ServerLiveResponse, error) {
	return &inference.ServerLiveResponse{Live: true}, nil
}

// ServerReady answers whether requests are accepted.
func (i *inferenceService) ServerReady(context.Context, *inference.ServerReadyRequest) (*inference.ServerReadyResponse, error) {
	return &inference.ServerReadyResponse{Ready: i.server.isReady()}, nil
}

// isReady: the initial load is over, no stop has begun and, with strict readiness,
// every model that should be served is.
func (s *Server) isReady() bool {
	return s.accepting.Load() && (!s.options.StrictReadiness || s.repository.Ready())
}

// ModelReady answers false, not an error, for a model that is unknown or unloaded:
// stock clients of the protocol rely on it.
func (i *inferenceService) ModelReady(_ context.Context, q *inference.ModelReadyRequest) (*inference.ModelReadyResponse, error) {
	ready, err := i.server.modelReady(q.Name, q.Version)
	if err != nil {
		return nil, toError(err)
	}
	return &inference.ModelReadyResponse{Ready: ready}, nil
}

// modelReady reports an error only for a version that is no version.
func (s *Server) modelReady(model, version string) (bool, error) {
	v, err := s.repository.Acquire(model, version)
	if err == nil {
		v.Release()
		return s.accepting.Load(), nil
	}
	if errors.Is(err, repository.ErrBadVersion) {
		return false, err
	}
	return false, nil
}

// ServerMetadata names the server and what it speaks.
func (i *inferenceService) ServerMetadata(context.Context, *inference.ServerMetadataRequest) (*inference.ServerMetadataResponse, error) {
	return i.server.serverMetadata(), nil
}

func (s *Server) serverMetadata() *inference.ServerMetadataResponse {
	return &inference.ServerMetadataResponse{Name: s.options.ID, Version: s.options.Version, Extensions: extensions}
}

// ModelMetadata describes what requests to a model must look like.
func (i *inferenceService) ModelMetadata(_ context.Context, q *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	m, err := i.server.modelMetadata(q.Name, q.Version)
	if err != nil {
		return nil, toError(err)
	}
	return m, nil
}

func (s *Server) modelMetadata(model, version string) (*inference.ModelMetadataResponse, error) {
	v, err := s.repository.Acquire(model, version)
	if err != nil {
		return nil, err
	}
	defer v.Release()
	m := v.Attachment.(*servedModel)
	answer := &inference.ModelMetadataResponse{Name: v.Model, Platform: v.Config.Platform}
	if answer.Platform == "" {
		answer.Platform = v.Config.Backend
	}
	if answer.Versions, err = s.readyVersions(model); err != nil {
		return nil, err
	}
	for i := range m.inputs {
		in := &m.inputs[i]
		answer.Inputs = append(answer.Inputs, tensorMetadata(in.name, in.datatype, in.shape))
	}
	for _, i := range m.offered {
		answer.Outputs = append(answer.Outputs, tensorMetadata(m.outputs[i].Name, m.outputs[i].Datatype, m.outputShape(v, i)))
	}
	return answer, nil
}

func (s *Server) readyVersions(model string) ([]string, error) {
	versions, err := s.repository.Versions(model)
	var ready []string
	for _, v := range versions {
		if v.State == repository.StateReady {
			ready = append(ready, strconv.FormatInt(v.Number, 10))
		}
	}
	return ready, err
}

// outputShape is the shape of output i as replies give it.
func (m *servedModel) outputShape(v *repository.Version, i int) tensor.Shape {
	for _, out := range v.Config.Output {
		if out.Name == m.outputs[i].Name {
			return wireShape(out.Dims, m.maxBatchSize > 0)
		}
	}
	return m.outputs[i].Shape
}

func tensorMetadata(name string, datatype tensor.Datatype, shape tensor.Shape) *inference.ModelMetadataResponse_TensorMetadata {
	return &inference.ModelMetadataResponse_TensorMetadata{Name: name, Datatype: datatype.String(), Shape: shape}
}

// ModelConfig answers the whole, completed configuration.
func (i *inferenceService) ModelConfig(_ context.Context, q *inference.ModelConfigRequest) (*inference.ModelConfigResponse, error) {
	config, err := i.server.modelConfig(q.Name, q.Version)
	if err != nil {
		return nil, toError(err)
	}
	answer := &inference.ModelConfig{}
	if err := protojson.Unmarshal(config, answer); err != nil {
		return nil, toError(err)
	}
	return &inference.ModelConfigResponse{Config: answer}, nil
}

// modelConfig is the completed configuration in the JSON form of the protocol.
func (s *Server) modelConfig(model, version string) ([]byte, error) {
	v, err := s.repository.Acquire(model, version)
	if err != nil {
		return nil, err
	}
	defer v.Release()
	return v.Config.Reported().JSON()
}
