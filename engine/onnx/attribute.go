// SPDX-License-Identifier: Apache-2.0

package onnx

// AttributeType says which field of an Attribute holds its value.
type AttributeType int32

// The types of attributes, numbered as in the file.
const (
	AttributeUndefined     AttributeType = 0
	AttributeFloat         AttributeType = 1
	AttributeInt           AttributeType = 2
	AttributeString        AttributeType = 3
	AttributeTensor        AttributeType = 4
	AttributeGraph         AttributeType = 5
	AttributeFloats        AttributeType = 6
	AttributeInts          AttributeType = 7
	AttributeStrings       AttributeType = 8
	AttributeTensors       AttributeType = 9
	AttributeGraphs        AttributeType = 10
	AttributeSparseTensor  AttributeType = 11
	AttributeSparseTensors AttributeType = 12
	AttributeTypeProto     AttributeType = 13
	AttributeTypeProtos    AttributeType = 14
)

// Attribute is a named constant of a node. Only the field that Type selects is
// meaningful. String and Strings alias the bytes that were parsed.
type Attribute struct {
	Name string
	Type AttributeType
	// Ref, inside a function, names the function's attribute that gives the value.
	Ref           string
	Float         float32
	Int           int64
	String        []byte
	Tensor        *Tensor
	Graph         *Graph
	SparseTensor  *SparseTensor
	TypeProto     *Type
	Floats        []float32
	Ints          []int64
	Strings       [][]byte
	Tensors       []Tensor
	Graphs        []Graph
	SparseTensors []SparseTensor
	TypeProtos    []Type
}

// FloatAttribute makes an attribute of type float.
func FloatAttribute(name string, value float32) Attribute {
	return Attribute{Name: name, Type: AttributeFloat, Float: value}
}

// IntAttribute makes an attribute of type int.
func IntAttribute(name string, value int64) Attribute {
	return Attribute{Name: name, Type: AttributeInt, Int: value}
}

// StringAttribute makes an attribute of type string.
func StringAttribute(name, value string) Attribute {
	return Attribute{Name: name, Type: AttributeString, String: []byte(value)}
}

// TensorAttribute makes an attribute of type tensor.
func TensorAttribute(name string, value Tensor) Attribute {
	return Attribute{Name: name, Type: AttributeTensor, Tensor: &value}
}

// GraphAttribute makes an attribute that holds a subgraph.
func GraphAttribute(name string, value *Graph) Attribute {
	return Attribute{Name: name, Type: AttributeGraph, Graph: value}
}

// FloatsAttribute makes an attribute that is a list of floats.
func FloatsAttribute(name string, values ...float32) Attribute {
	return Attribute{Name: name, Type: AttributeFloats, Floats: values}
}

// IntsAttribute makes an attribute that is a list of ints.
func IntsAttribute(name string, values ...int64) Attribute {
	return Attribute{Name: name, Type: AttributeInts, Ints: values}
}

// StringsAttribute makes an attribute that is a list of strings.
func StringsAttribute(name string, values ...string) Attribute {
	a := Attribute{Name: name, Type: AttributeStrings}
	for _, v := range values {
		a.Strings = append(a.Strings, []byte(v))
	}
	return a
}

// subgraphs are the graphs that the attribute holds.
func (a *Attribute) subgraphs() []*Graph {
	if a.Graph == nil && a.Graphs == nil {
		return nil
	}
	var graphs []*Graph
	if a.Graph != nil {
		graphs = append(graphs, a.Graph)
	}
	for i := range a.Graphs {
		graphs = append(graphs, &a.Graphs[i])
	}
	return graphs
}
