// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"maps"
	"slices"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// TensorInfo describes an input or an output of a model as requests have it.
type TensorInfo struct {
	Name     string
	Datatype tensor.Datatype
	// Width is the number of elements of one row, -1 if it varies.
	Width int
	// Shape includes the dimension of rows, which is then the first, as -1; other
	// dimensions that vary are -1 too. It must not be changed.
	Shape tensor.Shape
	// Optional inputs may be left out.
	Optional bool
}

// byRows reports whether the first dimension counts rows.
func (i *TensorInfo) byRows() bool { return len(i.Shape) > 0 && i.Shape[0] == -1 }

func newTensorInfo(name string, datatype tensor.Datatype, shape tensor.Shape, optional bool) TensorInfo {
	info := TensorInfo{Name: name, Datatype: datatype, Shape: slices.Clone(shape), Optional: optional, Width: -1}
	row := shape
	if info.byRows() {
		row = shape[1:]
	}
	if width, err := row.Elements(); err == nil && row.Known() && width <= tensorWidthMax {
		info.Width = int(width)
	}
	return info
}

// tensorWidthMax is the most elements of a row that count as a width.
const tensorWidthMax = 1 << 40

// describeToCallers keeps what a Call and DescribeModel tell of the model.
func (m *servedModel) describeToCallers() {
	m.takes = make([]TensorInfo, 0, len(m.inputs))
	for i := range m.inputs {
		in := &m.inputs[i]
		m.takes = append(m.takes, newTensorInfo(in.name, in.datatype, in.shape, in.optional))
	}
	m.gives = make([]TensorInfo, 0, len(m.offered))
	for _, i := range m.offered {
		m.gives = append(m.gives, newTensorInfo(m.outputs[i].Name, m.outputs[i].Datatype, m.outputShape(m.version, i), false))
	}
}

// ModelSignature is what a version of a model takes and gives.
type ModelSignature struct {
	Model   string
	Version int64
	// MaxBatchSize is the most rows of one request, 0 if the model does not batch.
	MaxBatchSize int
	// Inputs and Outputs are in the model's order, as requests and answers have them.
	Inputs, Outputs []TensorInfo
}

// DescribeModel describes a version: a number, an alias, or empty for the current one.
// The error is an *Error: NotFound, Unavailable or InvalidArgument.
func (s *Server) DescribeModel(model, version string) (ModelSignature, error) {
	v, err := s.repository.Acquire(model, version)
	if err != nil {
		return ModelSignature{}, toError(err)
	}
	defer v.Release()
	m := v.Attachment.(*servedModel)
	return ModelSignature{
		Model: v.Model, Version: v.Number, MaxBatchSize: m.maxBatchSize,
		Inputs: slices.Clone(m.takes), Outputs: slices.Clone(m.gives),
	}, nil
}

// ModelVersions says which versions of a model answer requests.
type ModelVersions struct {
	// Current answers requests that name no version, 0 if none can.
	Current int64
	// Previous was current before the last swap or load, and can still be asked for by
	// its number; 0 if there is none. Without repository.Options.KeepPrevious that is the
	// rule, since a swap closes the version it replaces.
	Previous int64
	// Ready are all that can be asked for, in order.
	Ready   []int64
	Aliases map[string]int64
}

// ModelVersions lists the versions of a model. The error is an *Error: NotFound.
func (s *Server) ModelVersions(model string) (ModelVersions, error) {
	info, err := s.repository.Model(model)
	if err != nil {
		return ModelVersions{}, toError(err)
	}
	all := ModelVersions{Current: info.Current, Aliases: maps.Clone(info.Aliases)}
	for _, v := range info.Versions {
		if v.State == repository.StateReady {
			all.Ready = append(all.Ready, v.Number)
		}
	}
	if slices.Contains(all.Ready, info.Previous) {
		all.Previous = info.Previous
	}
	return all, nil
}

// PreviousVersion is ModelVersions.Previous alone, without a lock; 0 also for a model
// that nobody knows.
func (s *Server) PreviousVersion(model string) int64 { return s.repository.Previous(model) }
