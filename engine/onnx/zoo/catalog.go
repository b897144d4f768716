// SPDX-License-Identifier: Apache-2.0

package zoo

import (
	"strings"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Entry is a model as a model repository holds it.
type Entry struct {
	Name string
	// Config is the text of config.pbtxt. Inputs and outputs are left to be completed
	// from the graph.
	Config string
	// Versions make the model's versions, the first one version 1.
	Versions []func() *onnx.Model
}

// Catalog is every model of the zoo under the name that clients know it by.
func Catalog() []Entry {
	var entries []Entry
	entries = append(entries, networks()...)
	entries = append(entries, examples()...)
	entries = append(entries, identities()...)
	entries = append(entries, awkward()...)
	return entries
}

// Configurations: batches as the example clients expect them, larger ones for the
// networks, and requests taken one by one.
const (
	batched   = "max_batch_size: 8\ndynamic_batching { }\n"
	unbatched = "max_batch_size: 0\n"
	wide      = "max_batch_size: 64\ndynamic_batching { }\n"
)

func networks() []Entry {
	return []Entry{
		entry("mlp_small", wide, func() *onnx.Model { return SmallMLP().Model() }),
		entry("mlp_middle", wide, func() *onnx.Model { return MiddleMLP().Model() }),
		entry("mlp_large", wide, func() *onnx.Model { return LargeMLP().Model() }),
		entry("convnet", wide, func() *onnx.Model { return NewConvNet(4).Model() }),
	}
}

// examples are the models of the example clients.
func examples() []Entry {
	swappable := "onnx_int32_int32_int32"
	straight := func() *onnx.Model { return SumDifference(swappable, tensor.Int32, false) }
	swapped := func() *onnx.Model { return SumDifference(swappable, tensor.Int32, true) }
	return []Entry{
		entry("simple", batched, func() *onnx.Model { return SumDifference("simple", tensor.Int32, false) }),
		entry("simple_int8", batched, func() *onnx.Model { return SumDifference("simple_int8", tensor.Int8, false) }),
		entry("simple_string", batched, func() *onnx.Model { return SumDifference("simple_string", tensor.Bytes, false) }),
		entry("simple_identity", batched, func() *onnx.Model {
			return Identity("simple_identity", tensor.Bytes, onnx.Symbol("batch"), onnx.Symbol("n"))
		}),
		entry(swappable, batched+"version_policy { specific { versions: [ 1, 3 ] } }\n", straight, swapped, swapped),
		entry("onnx_nobatch_int32_int32_int32", unbatched, func() *onnx.Model {
			return SumDifferenceUnbatched("onnx_nobatch_int32_int32_int32", tensor.Int32)
		}),
		// Its only dimension would pass for a batch if it were left to be completed.
		entry("identity_fp32", unbatched+`input { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] }
`, func() *onnx.Model {
			return Identity("identity_fp32", tensor.FP32, onnx.Symbol("n"))
		}),
		entry("dummy", unbatched, func() *onnx.Model { return Increment("dummy") }),
	}
}

// identities holds one model for each datatype that examples leaves out, named
// identity_fp16 and the like.
func identities() []Entry {
	var entries []Entry
	for _, d := range []tensor.Datatype{
		tensor.Bool, tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64,
		tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64,
		tensor.FP16, tensor.BF16, tensor.FP64, tensor.Bytes,
	} {
		name := "identity_" + strings.ToLower(d.String())
		entries = append(entries, entry(name, batched, func() *onnx.Model {
			return Identity(name, d, onnx.Symbol("batch"), onnx.Symbol("n"))
		}))
	}
	return entries
}

func awkward() []Entry {
	return []Entry{
		entry("add", batched, func() *onnx.Model { return Add("add") }),
		entry("repeat", batched, func() *onnx.Model { return Repeat("repeat") }),
		entry("nonzero", unbatched, func() *onnx.Model { return NonZero("nonzero") }),
		entry("lookup", batched, func() *onnx.Model { return Lookup("lookup") }),
	}
}

// PlatformLine of a configuration has the model run by ONNX Runtime, as the example
// clients expect to read it there.
const PlatformLine = "platform: \"onnxruntime_onnx\"\n"

func entry(name, config string, versions ...func() *onnx.Model) Entry {
	text := "name: \"" + name + "\"\n" + PlatformLine + config
	return Entry{Name: name, Config: text, Versions: versions}
}
