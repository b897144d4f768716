// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"fmt"

	"github.com/millrace-ml/millrace/bench/kernels/boost"
	"github.com/millrace-ml/millrace/bench/models"
	"github.com/millrace-ml/millrace/bench/workload"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// servedForest is the name under which an ensemble is served.
const servedForest = "forest"

// servedRequests is how many different rows are sent.
const servedRequests = 1024

// WriteForest puts the ensemble of 100 trees of 31 leaves into a model repository, to be
// run by the native engine.
func (l *Lab) WriteForest(repository string) error {
	m, err := l.forests().models[0].ONNX(servedForest)
	if err != nil {
		return err
	}
	if err := zoo.Write(repository, servedForest, 1, m); err != nil {
		return err
	}
	return zoo.WriteConfig(repository, servedForest,
		fmt.Sprintf("backend: %q\nmax_batch_size: %d\ndynamic_batching { }\n", modelconfig.BackendNative, models.BatchSizeMax))
}

// ForestWorkload is requests of one row for that model, with the answers of the trees
// walked one by one.
func (l *Lab) ForestWorkload() (*workload.Workload, error) {
	g := l.forests()
	w := workload.New(servedForest, "", 1)
	for i := range servedRequests {
		row := g.tests.X[i*boost.Features:][:boost.Features]
		if err := w.Add([]tensor.Tensor{floats(boost.Input, row, 1, boost.Features)}); err != nil {
			return nil, err
		}
		y := g.models[0].Predict(row)
		w.Expect("1", i, []tensor.Tensor{floats(boost.Output, []float32{y}, 1, 1)})
	}
	return w, nil
}
