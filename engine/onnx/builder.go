// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// What a Builder writes unless told otherwise: versions that every runtime of the
// last years loads.
const (
	defaultIRVersion = 8
	defaultOpset     = 17
)

// Builder puts a model together part by part. Faults are reported by Model and
// Marshal, which check the whole.
type Builder struct{ model Model }

// NewBuilder starts a model whose graph has the given name.
func NewBuilder(name string) *Builder {
	return &Builder{Model{
		IRVersion:    defaultIRVersion,
		ProducerName: "millrace",
		Opsets:       []OpsetImport{{Version: defaultOpset}},
		Graph:        &Graph{Name: name},
	}}
}

// Opset imports a version of a domain's operators, in place of the one before.
func (b *Builder) Opset(domain string, version int64) {
	for i := range b.model.Opsets {
		if standardDomain(b.model.Opsets[i].Domain) == standardDomain(domain) {
			b.model.Opsets[i].Version = version
			return
		}
	}
	b.model.Opsets = append(b.model.Opsets, OpsetImport{domain, version})
}

// Metadata adds an entry to the model's metadata.
func (b *Builder) Metadata(key, value string) {
	b.model.Metadata = append(b.model.Metadata, Property{key, value})
}

// Input adds an input of the graph.
func (b *Builder) Input(name string, datatype tensor.Datatype, dims ...Dim) {
	b.model.Graph.Inputs = append(b.model.Graph.Inputs, tensorValue(name, datatype, dims))
}

// Output names a value that nodes give as an output of the graph.
func (b *Builder) Output(name string, datatype tensor.Datatype, dims ...Dim) {
	b.model.Graph.Outputs = append(b.model.Graph.Outputs, tensorValue(name, datatype, dims))
}

func tensorValue(name string, datatype tensor.Datatype, dims []Dim) ValueInfo {
	return ValueInfo{Name: name, Type: TensorType(ElemTypeOf(datatype), dims...)}
}

// Initializer adds a constant. TensorOf makes one from a slice.
func (b *Builder) Initializer(t Tensor) {
	b.model.Graph.Initializers = append(b.model.Graph.Initializers, t)
}

// Node applies a standard operator.
func (b *Builder) Node(opType string, inputs, outputs []string, attributes ...Attribute) {
	b.DomainNode("", opType, inputs, outputs, attributes...)
}

// DomainNode applies an operator of another domain, such as ai.onnx.ml, whose opset
// must be imported by Opset.
func (b *Builder) DomainNode(domain, opType string, inputs, outputs []string, attributes ...Attribute) {
	b.model.Graph.Nodes = append(b.model.Graph.Nodes, Node{
		Name:       fmt.Sprintf("%s_%d", opType, len(b.model.Graph.Nodes)),
		OpType:     opType,
		Domain:     domain,
		Inputs:     inputs,
		Outputs:    outputs,
		Attributes: attributes,
	})
}

// Model checks what was built and gives it. The builder must not be used after.
func (b *Builder) Model() (*Model, error) {
	if err := b.check(); err != nil {
		return nil, fmt.Errorf("model %q: %w", b.model.Graph.Name, err)
	}
	return &b.model, nil
}

func (b *Builder) check() error {
	for i := range b.model.Graph.Initializers {
		t := &b.model.Graph.Initializers[i]
		if err := t.checkData(); err != nil {
			return fmt.Errorf("%w: initializer %q %w", ErrInvalidGraph, t.Name, err)
		}
	}
	return b.model.Check()
}

// Marshal checks what was built and writes it in the form of an ONNX file.
func (b *Builder) Marshal() ([]byte, error) {
	m, err := b.Model()
	if err != nil {
		return nil, err
	}
	return m.Marshal()
}
