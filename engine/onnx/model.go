// SPDX-License-Identifier: Apache-2.0

package onnx

// Model is the content of an ONNX file.
type Model struct {
	IRVersion       int64
	ProducerName    string
	ProducerVersion string
	Domain          string
	ModelVersion    int64
	Doc             string
	Opsets          []OpsetImport
	Metadata        []Property
	Graph           *Graph
	Functions       []Function
}

// OpsetImport says which version of a domain's operators a model uses. The domain
// of the standard operators is empty.
type OpsetImport struct {
	Domain  string
	Version int64
}

// Property is one key and value of a model's metadata.
type Property struct {
	Key, Value string
}

// Graph is a list of nodes and the values that enter and leave it.
type Graph struct {
	Name               string
	Doc                string
	Nodes              []Node
	Initializers       []Tensor
	SparseInitializers []SparseTensor
	Inputs             []ValueInfo
	Outputs            []ValueInfo
	// ValueInfos describe values inside the graph; any may be left out.
	ValueInfos []ValueInfo
}

// Node applies one operator. An empty name among Inputs or Outputs stands for an
// optional one that is left out.
type Node struct {
	Name       string
	OpType     string
	Domain     string
	Overload   string
	Inputs     []string
	Outputs    []string
	Attributes []Attribute
}

// Function is an operator defined by the model itself as a list of nodes.
type Function struct {
	Name     string
	Domain   string
	Overload string
	Inputs   []string
	Outputs  []string
	// Attributes names the attributes without a default, Defaults holds the others.
	Attributes []string
	Defaults   []Attribute
	Nodes      []Node
	Opsets     []OpsetImport
}

// ValueInfo is a named value and its type.
type ValueInfo struct {
	Name string
	Type Type
}

// Opset is the version imported of a domain's operators, 0 when there is none.
// The standard domain may be called "" or "ai.onnx".
func (m *Model) Opset(domain string) int64 {
	for _, o := range m.Opsets {
		if standardDomain(o.Domain) == standardDomain(domain) {
			return o.Version
		}
	}
	return 0
}

func standardDomain(domain string) string {
	if domain == "ai.onnx" {
		return ""
	}
	return domain
}

// Inputs are the graph's inputs that a caller must give: those without an
// initializer to stand in for them.
func (m *Model) Inputs() []ValueInfo {
	initialized := make(map[string]bool, len(m.Graph.Initializers)+len(m.Graph.SparseInitializers))
	for i := range m.Graph.Initializers {
		initialized[m.Graph.Initializers[i].Name] = true
	}
	for i := range m.Graph.SparseInitializers {
		initialized[m.Graph.SparseInitializers[i].Values.Name] = true
	}
	var inputs []ValueInfo
	for _, v := range m.Graph.Inputs {
		if !initialized[v.Name] {
			inputs = append(inputs, v)
		}
	}
	return inputs
}

// Outputs are the graph's outputs.
func (m *Model) Outputs() []ValueInfo { return m.Graph.Outputs }

// Attribute finds a node's attribute by name; nil says that it is not set.
func (n *Node) Attribute(name string) *Attribute {
	for i := range n.Attributes {
		if n.Attributes[i].Name == name {
			return &n.Attributes[i]
		}
	}
	return nil
}
