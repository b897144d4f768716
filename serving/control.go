// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"strings"

	"google.golang.org/grpc/codes"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/proto/inference"
)

// RepositoryIndex lists every model found, with the state of its versions.
func (i *inferenceService) RepositoryIndex(_ context.Context, q *inference.RepositoryIndexRequest) (*inference.RepositoryIndexResponse, error) {
	if err := checkRepositoryName(q.RepositoryName); err != nil {
		return nil, err
	}
	entries, err := i.server.repository.Index(q.Ready)
	if err != nil {
		return nil, toError(err)
	}
	answer := &inference.RepositoryIndexResponse{}
	for _, e := range entries {
		answer.Models = append(answer.Models, &inference.RepositoryIndexResponse_ModelIndex{Name: e.Name, Version: e.Version, State: e.State, Reason: e.Reason})
	}
	return answer, nil
}

// RepositoryModelLoad loads or reloads a model by its version policy.
func (i *inferenceService) RepositoryModelLoad(ctx context.Context, q *inference.RepositoryModelLoadRequest) (*inference.RepositoryModelLoadResponse, error) {
	if err := checkRepositoryName(q.RepositoryName); err != nil {
		return nil, err
	}
	override, err := loadOverride(q.Parameters)
	if err != nil {
		return nil, err
	}
	if err := i.server.repository.Load(ctx, q.ModelName, override); err != nil {
		return nil, toError(err)
	}
	return &inference.RepositoryModelLoadResponse{}, nil
}

// RepositoryModelUnload stops new requests to a model. It answers before the last
// request has left, as the protocol does; Admin.UnloadVersion waits.
func (i *inferenceService) RepositoryModelUnload(ctx context.Context, q *inference.RepositoryModelUnloadRequest) (*inference.RepositoryModelUnloadResponse, error) {
	if err := checkRepositoryName(q.RepositoryName); err != nil {
		return nil, err
	}
	if err := checkUnloadParameters(q.Parameters); err != nil {
		return nil, err
	}
	if err := i.server.repository.Unload(ctx, q.ModelName); err != nil {
		return nil, toError(err)
	}
	return &inference.RepositoryModelUnloadResponse{}, nil
}

func checkRepositoryName(name string) error {
	if name != "" {
		return &Error{codes.Unimplemented, "'repository_name' specification is not supported"}
	}
	return nil
}

// checkUnloadParameters accepts unload_dependents, which is without effect as long
// as no model is made of others.
func checkUnloadParameters(parameters map[string]*inference.ModelRepositoryParameter) error {
	for name, p := range parameters {
		if name != "unload_dependents" {
			return invalidArgument("unrecognized unload parameter '%s'.", name)
		}
		if _, ok := p.GetParameterChoice().(*inference.ModelRepositoryParameter_BoolParam); !ok {
			return invalidArgument("invalid value type for 'unload_dependents' parameter, expected bool_param.")
		}
	}
	return nil
}

// filePrefix begins the names of load parameters that are files.
const filePrefix = "file:"

// loadOverride reads what a load call brings along: a configuration, and files
// under "file:" and their path.
func loadOverride(parameters map[string]*inference.ModelRepositoryParameter) (repository.LoadOverride, error) {
	var override repository.LoadOverride
	for name, p := range parameters {
		path, isFile := strings.CutPrefix(name, filePrefix)
		switch {
		case isFile:
			content, ok := p.GetParameterChoice().(*inference.ModelRepositoryParameter_BytesParam)
			if !ok {
				return override, invalidArgument("invalid value type for load parameter '%s', expected bytes_param.", name)
			}
			if override.Files == nil {
				override.Files = map[string][]byte{}
			}
			override.Files[path] = content.BytesParam
		case name == "config":
			text, ok := p.GetParameterChoice().(*inference.ModelRepositoryParameter_StringParam)
			if !ok {
				return override, invalidArgument("invalid value type for load parameter '%s', expected string_param.", name)
			}
			override.ConfigJSON = text.StringParam
		default:
			return override, invalidArgument("unrecognized load parameter '%s'.", name)
		}
	}
	return override, nil
}
