// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"time"

	"github.com/millrace-ml/millrace/serving"
)

// Models runs models in process. The model server is one; tests bring others.
type Models interface {
	// NewCall returns memory for runs, for one goroutine at a time.
	NewCall() Call
	// Previous is the version that was current before the last swap and can still run; 0
	// for none.
	Previous(model string) int64
}

// Call is one run after another: Begin, fill the inputs, Run, read outputs, Release.
type Call interface {
	// Begin takes hold of a version: a number, an alias, or empty for the current one.
	Begin(model, version string) error
	// Version is the version taken hold of.
	Version() int64
	// Inputs and Outputs describe it. The slices are the same as long as the version is.
	Inputs() []Tensor
	Outputs() []Tensor
	// ModelFile is the ONNX file that it was loaded from, there at least until Release.
	ModelFile() (string, error)
	// Input returns the memory of input i for a number of rows, to be filled with raw
	// little-endian values.
	Input(i, rows int) ([]byte, error)
	// InputTexts sets input i, of type BYTES, to texts.
	InputTexts(i int, texts []string) error
	// Run runs the model; it ends at the deadline, if that is not zero.
	Run(ctx context.Context, deadline time.Time) error
	// Output returns the raw little-endian values of output i, good until Release.
	Output(i int) ([]byte, error)
	// Release ends the use of the version; it does nothing without a Begin.
	Release()
}

// Tensor describes an input or output.
type Tensor = serving.TensorInfo

// InProcess runs the models of a server in this process.
func InProcess(s *serving.Server) Models { return inProcess{s} }

type inProcess struct{ server *serving.Server }

func (m inProcess) NewCall() Call               { return m.server.NewCall() }
func (m inProcess) Previous(model string) int64 { return m.server.PreviousVersion(model) }
