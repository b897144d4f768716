// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"log/slog"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/batching"
	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/serving/stats"
)

// servedModel binds one version of a model to its batcher and its statistics. It
// is made when the version is loaded and closed when the last request has left it.
// All fields are fixed after that, except what instances own.
type servedModel struct {
	name         string
	version      *repository.Version
	maxBatchSize int
	inputs       []inputInfo
	outputs      []engine.TensorSpec
	// offered are the outputs that the configuration names, in the model's order.
	offered []int
	// outputDims are the declared inner dimensions of outputs that are reshaped,
	// nil for the others; outputInner are those the model itself gives.
	outputDims  []tensor.Shape
	outputInner []tensor.Shape
	// inputsRequired counts the inputs that are not optional.
	inputsRequired int
	// noInputs is what request.bound starts from.
	noInputs []boundInput
	// uniform: all requests have the same shape but for the number of rows.
	uniform bool
	// takes and gives describe inputs and offered outputs to callers in process.
	takes, gives []TensorInfo
	// head is the encoded start of every reply: model name and version.
	head []byte
	// replyBytesMax is the largest message that can be sent.
	replyBytesMax int
	decoupled     bool

	batcher   *batching.Batcher
	instances []instance
	streamers chan engine.Streamer // idle instances of a decoupled model
	stats     *stats.Model
	registry  *stats.Registry
	guard     panicGuard
}

// inputInfo is one input of the model as requests must send it.
type inputInfo struct {
	name string
	// nameText and datatypeText are the names as requests spell them.
	nameText, datatypeText []byte
	datatype               tensor.Datatype
	shape                  tensor.Shape // with the batch dimension as -1 where there is one
	reshape                tensor.Shape // what the model takes instead of the inner dimensions; nil for the same
	batched                bool
	optional               bool
}

// newServedModel binds a loaded version, for repository.Options.Attach.
func newServedModel(v *repository.Version, registry *stats.Registry, limits Limits, log *slog.Logger) (*servedModel, error) {
	m := &servedModel{
		name:          v.Model,
		version:       v,
		maxBatchSize:  int(v.Config.MaxBatchSize),
		outputs:       v.Signature.Outputs,
		uniform:       true,
		decoupled:     v.Config.TransactionPolicy != nil && v.Config.TransactionPolicy.Decoupled,
		registry:      registry,
		replyBytesMax: limits.MessageBytesMax,
		guard:         panicGuard{log: log},
	}
	m.head = appendBytesField(nil, replyModelName, v.Model)
	m.head = appendBytesField(m.head, replyVersion, strconv.FormatInt(v.Number, 10))
	m.describeInputs()
	m.describeOutputs()
	m.describeToCallers()
	m.stats = registry.Open(stats.ID{Model: v.Model, Version: v.Number, Tags: v.Config.MetricTags})
	m.stats.SetLoadDuration(v.LoadDuration)
	open := m.openBatcher
	if m.decoupled {
		open = m.openStreamers
	}
	if err := open(limits); err != nil {
		registry.Close(m.stats)
		return nil, err
	}
	return m, nil
}

// describeInputs derives what requests must send from configuration and signature.
func (m *servedModel) describeInputs() {
	config := m.version.Config
	for _, spec := range m.version.Signature.Inputs {
		info := inputInfo{
			name: spec.Name, nameText: []byte(spec.Name), datatype: spec.Datatype, datatypeText: []byte(spec.Datatype.String()),
			shape: spec.Shape, optional: spec.Optional, batched: m.maxBatchSize > 0,
		}
		for i := range config.Input {
			in := &config.Input[i]
			if in.Name != spec.Name {
				continue
			}
			info.optional = in.Optional
			info.shape = wireShape(in.Dims, info.batched)
			info.reshape = modelDims(in.Dims, in.Reshape, spec.Shape)
		}
		m.inputs = append(m.inputs, info)
		inner := info.shape
		if info.batched && len(inner) > 0 {
			inner = inner[1:]
		}
		if info.optional || !inner.Known() {
			m.uniform = false
		}
		if !info.optional {
			m.inputsRequired++
		}
	}
	m.noInputs = make([]boundInput, len(m.inputs))
}

// describeOutputs notes which outputs are answered in another shape than the
// model's own, and which are not answered because the configuration leaves them out.
func (m *servedModel) describeOutputs() {
	config := m.version.Config
	m.outputDims = make([]tensor.Shape, len(m.outputs))
	m.outputInner = make([]tensor.Shape, len(m.outputs))
	for i, spec := range m.outputs {
		for _, out := range config.Output {
			if out.Name != spec.Name {
				continue
			}
			m.offered = append(m.offered, i)
			if inner := modelDims(out.Dims, out.Reshape, spec.Shape); inner != nil {
				m.outputDims[i], m.outputInner[i] = out.Dims, inner
			}
		}
	}
}

// modelDims are the dimensions that the model itself has, without the batch, where
// they differ from the configured ones: as the configuration's reshape says, or none
// at all for a scalar, which configurations can only write as [1]. Otherwise nil.
func modelDims(dims []int64, reshape *modelconfig.Reshape, own tensor.Shape) tensor.Shape {
	if reshape != nil {
		return append(tensor.Shape{}, reshape.Shape...)
	}
	if len(own) == 0 && len(dims) == 1 && dims[0] == 1 {
		return tensor.Shape{}
	}
	return nil
}

// wireShape is dims as requests send them: with the batch dimension first.
func wireShape(dims []int64, batched bool) tensor.Shape {
	if !batched {
		return dims
	}
	return append(tensor.Shape{-1}, dims...)
}

// modelShape turns the shape a request sent into what the model takes. arena backs
// shapes that differ, so that they live as long as the request.
func (info *inputInfo) modelShape(sent tensor.Shape, arena *[]int64) tensor.Shape {
	if info.reshape == nil {
		return sent
	}
	from := len(*arena)
	variable := sent
	if info.batched {
		*arena = append(*arena, sent[0])
		variable = sent[1:]
	}
	next := 0
	for _, d := range info.reshape {
		if d < 0 {
			// The n-th variable extent of the reshape is the n-th of the request.
			for next < len(variable) && info.inner()[next] >= 0 {
				next++
			}
			d = variable[next]
			next++
		}
		*arena = append(*arena, d)
	}
	return tensor.Shape((*arena)[from:])
}

func (info *inputInfo) inner() tensor.Shape {
	if info.batched {
		return info.shape[1:]
	}
	return info.shape
}

// inputIndex finds an input by name; hint is where it stands in the request, which
// is nearly always where it stands in the model.
func (m *servedModel) inputIndex(name []byte, hint int) int {
	if hint < len(m.inputs) && m.inputs[hint].name == string(name) {
		return hint
	}
	for i := range m.inputs {
		if m.inputs[i].name == string(name) {
			return i
		}
	}
	return -1
}

// outputIndex finds an output that may be asked for.
func (m *servedModel) outputIndex(name []byte) int {
	for _, i := range m.offered {
		if m.outputs[i].Name == string(name) {
			return i
		}
	}
	return -1
}

// openBatcher makes the queue in front of the instances, with the settings the
// configuration gives and the latencies that warm-up measured.
func (m *servedModel) openBatcher(limits Limits) error {
	options, err := batcherOptions(m.version.Config, len(m.version.Instances), limits)
	if err != nil {
		return err
	}
	for _, i := range m.version.Instances {
		m.instances = append(m.instances, instance{engine: i, shapes: make([]tensor.Shape, len(m.inputs))})
	}
	var seed []batching.Observation
	for _, w := range m.version.Warmup {
		seed = append(seed, batching.Observation{Rows: w.Rows, Elapsed: w.Elapsed})
	}
	m.batcher, err = batching.New(options, m, seed)
	if err != nil {
		return err
	}
	m.stats.SetBatching(m.batchingSnapshot)
	return nil
}

// openStreamers collects the instances of a decoupled model.
func (m *servedModel) openStreamers(Limits) error {
	m.streamers = make(chan engine.Streamer, len(m.version.Instances))
	for _, i := range m.version.Instances {
		s, ok := i.(engine.Streamer)
		if !ok {
			return invalidArgument("model '%s' is configured as decoupled, but its backend '%s' gives exactly one response per request", m.name, m.version.Config.Backend)
		}
		m.streamers <- s
	}
	return nil
}

// Close implements repository.Attachment: it runs when no request is in flight.
func (m *servedModel) Close() {
	if m.batcher != nil {
		m.batcher.Close()
	}
	m.registry.Close(m.stats)
}

// timeoutOf converts a timeout parameter, bounded so that it cannot overflow.
func timeoutOf(micros uint64) time.Duration {
	const bound = uint64(24 * time.Hour / time.Microsecond)
	return time.Duration(min(micros, bound)) * time.Microsecond
}
