// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/millrace-ml/millrace/bench/workload"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// testModel is a model that is served, with the network behind each version.
type testModel struct {
	name     string
	versions []*zoo.MLP
	config   string
}

// The models differ in what a request costs: of the small one, almost only the
// transport; of the middle one, transport and run alike; of the large one, the run.
var (
	small  = testModel{"mlp_small", []*zoo.MLP{zoo.SmallMLP()}, batching}
	middle = testModel{"mlp_middle", []*zoo.MLP{zoo.MiddleMLP(), zoo.NewMLP("mlp_middle", 12, 256, 512, 256, 1)}, batching}
	large  = testModel{"mlp_large", []*zoo.MLP{zoo.LargeMLP()}, batching}
)

// batchSizeMax is the largest batch, served or run directly.
const batchSizeMax = 256

const batching = "max_batch_size: 256\ndynamic_batching { }\n"

func writeModels(repository string) error {
	for _, m := range []testModel{small, middle, large} {
		for i, network := range m.versions {
			if err := zoo.Write(repository, m.name, int64(i+1), network.Model()); err != nil {
				return err
			}
		}
		if err := zoo.WriteConfig(repository, m.name, m.config); err != nil {
			return err
		}
	}
	return nil
}

// distinctRequests is small: the answers to all are computed by the slow reference.
const distinctRequests = 16

// workload makes requests of random rows, with the answers of every version.
func (m testModel) workload(rows int) (*workload.Workload, error) {
	random := rand.New(rand.NewPCG(1, uint64(rows)))
	w := workload.New(m.name, "", rows)
	for i := range distinctRequests {
		input := tensor.Tensor{
			Name: "input", Datatype: tensor.FP32, Shape: tensor.Shape{int64(rows), int64(m.versions[0].InputWidth())},
		}
		input.Data = workload.RandomData(input.Datatype, input.Shape, random)
		if err := w.Add([]tensor.Tensor{input}); err != nil {
			return nil, err
		}
		for v, network := range m.versions {
			w.Expect(strconv.Itoa(v+1), i, []tensor.Tensor{predict(network, input)})
		}
	}
	return w, nil
}

// predict is the reference's answer.
func predict(network *zoo.MLP, input tensor.Tensor) tensor.Tensor {
	rows, width := int(input.Shape[0]), network.InputWidth()
	output := tensor.Tensor{
		Name: "output", Datatype: tensor.FP32, Shape: tensor.Shape{int64(rows), int64(network.OutputWidth())},
	}
	row := make([]float32, width)
	for r := range rows {
		for i := range row {
			row[i] = math.Float32frombits(binary.LittleEndian.Uint32(input.Data[(r*width+i)*4:]))
		}
		for _, v := range network.Predict(row) {
			output.Data = binary.LittleEndian.AppendUint32(output.Data, math.Float32bits(float32(v)))
		}
	}
	return output
}
