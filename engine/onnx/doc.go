// SPDX-License-Identifier: Apache-2.0

// Package onnx reads, checks, builds and writes ONNX model files. It decodes and
// encodes the protobuf wire format itself, so it needs no generated code and no
// C library.
//
// A file is a ModelProto. What matters to running a model is kept:
//
//	Model     ir_version, producer, domain, opset imports, metadata, functions
//	Graph     nodes, (sparse) initializers, inputs, outputs, value infos
//	Node      operator, domain, overload, inputs, outputs, attributes
//	Attribute every kind, subgraphs included
//	Tensor    dims, element type, raw, typed or external data
//
// Training information, quantization annotations, device configurations and doc
// strings below the graph are skipped; unknown fields are too.
//
// Invariants:
//
//   - R1: Parse returns a model or an error that wraps ErrCorrupt and names the
//     field at fault, as in: graph.node[3].attribute "to".type. It never panics.
//   - R2: memory taken by Parse is at most a constant times the input's length; the
//     number of messages and the depth of their nesting are bounded as well.
//   - R3: Marshal is deterministic, and Parse(Marshal(m)) gives m back.
//   - R4: external data is reached only inside the folder given by the caller.
//
// Raw tensor data and strings of attributes alias the bytes given to Parse, which
// must not change while the model is in use.
//
// Concurrency: a Model may be read from many goroutines. LoadExternal changes it
// and must be done before the model is shared. A Builder belongs to one goroutine.
package onnx
