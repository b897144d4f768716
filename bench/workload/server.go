// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// FromServer makes random requests for the inputs that the server says the model has.
func FromServer(ctx context.Context, client inference.GRPCInferenceServiceClient, spec Spec) (*Workload, error) {
	metadata, err := client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: spec.Model, Version: spec.Version})
	if err != nil {
		return nil, fmt.Errorf("ask for the metadata of model %q: %w", spec.Model, err)
	}
	if len(metadata.Inputs) == 0 {
		return nil, fmt.Errorf("%w: model %q has no inputs", ErrInvalidWorkload, spec.Model)
	}
	inputs := make([]Input, len(metadata.Inputs))
	for i, in := range metadata.Inputs {
		inputs[i] = Input{Name: in.Name, Datatype: tensor.ParseDatatype(in.Datatype), Shape: in.Shape}
	}
	return Random(inputs, spec)
}

// Learn sends each distinct request once, one at a time, and expects the answers it
// gets from then on. It shows as well that the server answers these requests at all.
func (w *Workload) Learn(ctx context.Context, client inference.GRPCInferenceServiceClient) error {
	for i, encoded := range w.Requests {
		var request inference.ModelInferRequest
		if err := proto.Unmarshal(encoded, &request); err != nil {
			return fmt.Errorf("%w: request %d for model %q: %w", ErrInvalidWorkload, i, w.Model, err)
		}
		response, err := client.ModelInfer(ctx, &request)
		if err != nil {
			return fmt.Errorf("try request %d of model %q before the load: %w", i, w.Model, err)
		}
		outputs, err := decodeOutputs(response)
		if err != nil {
			return err
		}
		w.Expect(response.ModelVersion, i, outputs)
	}
	return nil
}
