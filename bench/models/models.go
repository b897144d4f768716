// SPDX-License-Identifier: Apache-2.0

// Package models holds the models that the benchmarks serve, the requests for them,
// and the answers they should get.
//
// The models differ in what a request costs: of the small one, almost only the
// transport; of the middle one, transport and run alike; of the large one, the run.
//
// Everything here is made anew from fixed seeds and changed by nobody.
package models

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"

	"github.com/millrace-ml/millrace/bench/workload"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Model is a model that is served, with the network behind each version.
type Model struct {
	Name     string
	versions []*zoo.MLP
}

// Small is 32-64-32-1.
func Small() Model { return Model{"mlp_small", []*zoo.MLP{zoo.SmallMLP()}} }

// Middle is 256-512-256-1, in two versions that answer differently.
func Middle() Model {
	const name, seed = "mlp_middle", 12
	return Model{name, []*zoo.MLP{zoo.MiddleMLP(), zoo.NewMLP(name, seed, 256, 512, 256, 1)}}
}

// Large is 1024-2048-2048-1.
func Large() Model { return Model{"mlp_large", []*zoo.MLP{zoo.LargeMLP()}} }

// BatchSizeMax is the largest batch, served or run directly.
const BatchSizeMax = 256

// Write puts the models into a model repository.
func Write(repository string) error {
	config := fmt.Sprintf("max_batch_size: %d\ndynamic_batching { }\n", BatchSizeMax)
	for _, m := range []Model{Small(), Middle(), Large()} {
		for i, network := range m.versions {
			if err := zoo.Write(repository, m.Name, int64(i+1), network.Model()); err != nil {
				return err
			}
		}
		if err := zoo.WriteConfig(repository, m.Name, config); err != nil {
			return err
		}
	}
	return nil
}

// distinctRequests is small: the answers to all are computed by the slow reference.
const distinctRequests = 16

// Workload makes requests of random rows, with the answers of every version.
func (m Model) Workload(rows int) (*workload.Workload, error) {
	random := rand.New(rand.NewPCG(1, uint64(rows)))
	w := workload.New(m.Name, "", rows)
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
