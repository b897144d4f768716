// SPDX-License-Identifier: Apache-2.0

package onnx

// The functions of this file and its neighbours decode one message each. They are
// free functions so that nested and repeated can take them as values.

func decodeModel(c *cursor, m *Model) {
	for c.next() {
		switch c.number {
		case 1:
			m.IRVersion = c.int("ir_version")
		case 2:
			m.ProducerName = c.string("producer_name")
		case 3:
			m.ProducerVersion = c.string("producer_version")
		case 4:
			m.Domain = c.string("domain")
		case 5:
			m.ModelVersion = c.int("model_version")
		case 6:
			m.Doc = c.string("doc_string")
		case 7:
			optional(c, "graph", &m.Graph, decodeGraph)
		case 8:
			repeated(c, "opset_import", &m.Opsets, decodeOpset)
		case 14:
			repeated(c, "metadata_props", &m.Metadata, decodeProperty)
		case 25:
			repeated(c, "function", &m.Functions, decodeFunction)
		}
	}
}

func decodeOpset(c *cursor, o *OpsetImport) {
	for c.next() {
		switch c.number {
		case 1:
			o.Domain = c.string("domain")
		case 2:
			o.Version = c.int("version")
		}
	}
}

func decodeProperty(c *cursor, p *Property) {
	for c.next() {
		switch c.number {
		case 1:
			p.Key = c.string("key")
		case 2:
			p.Value = c.string("value")
		}
	}
}

func decodeGraph(c *cursor, g *Graph) {
	for c.next() {
		switch c.number {
		case 1:
			repeated(c, "node", &g.Nodes, decodeNode)
		case 2:
			g.Name = c.string("name")
		case 5:
			repeated(c, "initializer", &g.Initializers, decodeTensor)
		case 10:
			g.Doc = c.string("doc_string")
		case 11:
			repeated(c, "input", &g.Inputs, decodeValueInfo)
		case 12:
			repeated(c, "output", &g.Outputs, decodeValueInfo)
		case 13:
			repeated(c, "value_info", &g.ValueInfos, decodeValueInfo)
		case 15:
			repeated(c, "sparse_initializer", &g.SparseInitializers, decodeSparseTensor)
		}
	}
}

// decodeNode leaves nodes to be named by index: their names are optional, and
// exporters repeat them.
func decodeNode(c *cursor, n *Node) {
	for c.next() {
		switch c.number {
		case 1:
			n.Inputs = append(n.Inputs, c.string("input"))
		case 2:
			n.Outputs = append(n.Outputs, c.string("output"))
		case 3:
			n.Name = c.string("name")
		case 4:
			n.OpType = c.string("op_type")
		case 5:
			repeated(c, "attribute", &n.Attributes, decodeAttribute)
		case 7:
			n.Domain = c.string("domain")
		case 8:
			n.Overload = c.string("overload")
		}
	}
}

func decodeFunction(c *cursor, f *Function) {
	c.named(&f.Name)
	for c.next() {
		switch c.number {
		case 1:
			f.Name = c.string("name")
		case 4:
			f.Inputs = append(f.Inputs, c.string("input"))
		case 5:
			f.Outputs = append(f.Outputs, c.string("output"))
		case 6:
			f.Attributes = append(f.Attributes, c.string("attribute"))
		case 7:
			repeated(c, "node", &f.Nodes, decodeNode)
		case 9:
			repeated(c, "opset_import", &f.Opsets, decodeOpset)
		case 10:
			f.Domain = c.string("domain")
		case 11:
			repeated(c, "attribute_proto", &f.Defaults, decodeAttribute)
		case 13:
			f.Overload = c.string("overload")
		}
	}
}

func decodeAttribute(c *cursor, a *Attribute) {
	c.named(&a.Name)
	for c.next() {
		switch c.number {
		case 1:
			a.Name = c.string("name")
		case 2:
			a.Float = c.float("f")
		case 3:
			a.Int = c.int("i")
		case 4:
			a.String = c.bytes("s")
		case 7:
			a.Floats = c.floats("floats", a.Floats)
		case 8:
			a.Ints = varints(c, "ints", a.Ints)
		case 9:
			a.Strings = append(a.Strings, c.bytes("strings"))
		case 20:
			a.Type = AttributeType(c.int("type"))
		case 21:
			a.Ref = c.string("ref_attr_name")
		default:
			decodeAttributeMessage(c, a)
		}
	}
	if a.Name == "" {
		c.d.fail("name", "is missing")
	}
	if a.Type < AttributeUndefined || a.Type > AttributeTypeProtos {
		c.d.fail("type", "%d is not a type of attribute", a.Type)
	}
}

func decodeAttributeMessage(c *cursor, a *Attribute) {
	switch c.number {
	case 5:
		optional(c, "t", &a.Tensor, decodeTensor)
	case 6:
		optional(c, "g", &a.Graph, decodeGraph)
	case 10:
		repeated(c, "tensors", &a.Tensors, decodeTensor)
	case 11:
		repeated(c, "graphs", &a.Graphs, decodeGraph)
	case 14:
		optional(c, "tp", &a.TypeProto, decodeType)
	case 15:
		repeated(c, "type_protos", &a.TypeProtos, decodeType)
	case 22:
		optional(c, "sparse_tensor", &a.SparseTensor, decodeSparseTensor)
	case 23:
		repeated(c, "sparse_tensors", &a.SparseTensors, decodeSparseTensor)
	}
}
