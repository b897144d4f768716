// SPDX-License-Identifier: Apache-2.0

package modelconfig

// TimeoutAction is what happens to a request whose time in the queue is over.
type TimeoutAction int32

// Reject answers with an error; Delay lets it wait behind all others.
const (
	Reject TimeoutAction = iota
	Delay
)

// QueuePolicy bounds the wait of requests.
type QueuePolicy struct {
	TimeoutAction              TimeoutAction `pb:"timeout_action"`
	DefaultTimeoutMicroseconds uint64        `pb:"default_timeout_microseconds"`
	AllowTimeoutOverride       bool          `pb:"allow_timeout_override"`
	MaxQueueSize               uint32        `pb:"max_queue_size"`
}

// DynamicBatching says how requests are combined into one run.
//
// An empty PreferredBatchSize and a zero delay mean that the user left the choice
// to the server; Complete keeps them so. Reported shows what such a model answers.
type DynamicBatching struct {
	PreferredBatchSize        []int32                `pb:"preferred_batch_size"`
	MaxQueueDelayMicroseconds uint64                 `pb:"max_queue_delay_microseconds"`
	PreserveOrdering          bool                   `pb:"preserve_ordering"`
	PriorityLevels            uint64                 `pb:"priority_levels"`
	DefaultPriorityLevel      uint64                 `pb:"default_priority_level"`
	DefaultQueuePolicy        *QueuePolicy           `pb:"default_queue_policy"`
	PriorityQueuePolicy       map[uint64]QueuePolicy `pb:"priority_queue_policy"`
}

// BatchInputKind is how the values of a BatchInput are computed.
type BatchInputKind int32

// Kinds of batch input.
const (
	BatchElementCount BatchInputKind = iota
	BatchAccumulatedElementCount
	BatchAccumulatedElementCountWithZero
	BatchMaxElementCountAsShape
	BatchItemShape
	BatchItemShapeFlatten
)

// BatchInput is an input that the server makes from the composition of a batch.
type BatchInput struct {
	Kind        BatchInputKind `pb:"kind"`
	TargetName  []string       `pb:"target_name"`
	DataType    Datatype       `pb:"data_type"`
	SourceInput []string       `pb:"source_input"`
}

// BatchOutputKind is how a BatchOutput is divided.
type BatchOutputKind int32

// BatchScatterWithInputShape divides an output by the shapes of an input.
const BatchScatterWithInputShape BatchOutputKind = 0

// BatchOutput is an output that is divided by the composition of a batch.
type BatchOutput struct {
	TargetName  []string        `pb:"target_name"`
	Kind        BatchOutputKind `pb:"kind"`
	SourceInput []string        `pb:"source_input"`
}

// SequenceBatching sends the requests of one sequence to one slot.
type SequenceBatching struct {
	Direct                      *SequenceDirect `pb:"direct" oneof:"strategy_choice"`
	Oldest                      *SequenceOldest `pb:"oldest" oneof:"strategy_choice"`
	MaxSequenceIdleMicroseconds uint64          `pb:"max_sequence_idle_microseconds"`
	ControlInput                []ControlInput  `pb:"control_input"`
	State                       []SequenceState `pb:"state"`
	IterativeSequence           bool            `pb:"iterative_sequence"`
}

// SequenceDirect gives every sequence a slot of its own.
type SequenceDirect struct {
	MaxQueueDelayMicroseconds uint64  `pb:"max_queue_delay_microseconds"`
	MinimumSlotUtilization    float32 `pb:"minimum_slot_utilization"`
}

// SequenceOldest batches the oldest requests of different sequences.
type SequenceOldest struct {
	MaxCandidateSequences     int32   `pb:"max_candidate_sequences"`
	PreferredBatchSize        []int32 `pb:"preferred_batch_size"`
	MaxQueueDelayMicroseconds uint64  `pb:"max_queue_delay_microseconds"`
	PreserveOrdering          bool    `pb:"preserve_ordering"`
}

// ControlInput is an input through which a model learns of its sequences.
type ControlInput struct {
	Name    string            `pb:"name"`
	Control []SequenceControl `pb:"control"`
}

// ControlKind is what a SequenceControl tells the model.
type ControlKind int32

// Kinds of sequence control.
const (
	ControlSequenceStart ControlKind = iota
	ControlSequenceReady
	ControlSequenceEnd
	ControlSequenceCorrID
)

// SequenceControl is one signal, with the values that stand for false and true.
type SequenceControl struct {
	Kind           ControlKind `pb:"kind"`
	Int32FalseTrue []int32     `pb:"int32_false_true"`
	FP32FalseTrue  []float32   `pb:"fp32_false_true"`
	BoolFalseTrue  []bool      `pb:"bool_false_true"`
	DataType       Datatype    `pb:"data_type"`
}

// SequenceState is state the server keeps between the requests of a sequence.
type SequenceState struct {
	InputName                   string         `pb:"input_name"`
	OutputName                  string         `pb:"output_name"`
	DataType                    Datatype       `pb:"data_type"`
	Dims                        []int64        `pb:"dims"`
	InitialState                []InitialState `pb:"initial_state"`
	UseSameBufferForInputOutput bool           `pb:"use_same_buffer_for_input_output"`
	UseGrowableMemory           bool           `pb:"use_growable_memory"`
}

// InitialState is a SequenceState before the first request.
type InitialState struct {
	DataType Datatype `pb:"data_type"`
	Dims     []int64  `pb:"dims"`
	ZeroData bool     `pb:"zero_data" oneof:"state_data"`
	DataFile string   `pb:"data_file" oneof:"state_data"`
	Name     string   `pb:"name"`
}

// EnsembleScheduling makes a model of a graph of other models.
type EnsembleScheduling struct {
	Step                []EnsembleStep `pb:"step"`
	MaxInflightRequests uint32         `pb:"max_inflight_requests"`
}

// EnsembleStep runs one model of an ensemble.
type EnsembleStep struct {
	ModelName      string            `pb:"model_name"`
	ModelVersion   int64             `pb:"model_version"`
	InputMap       map[string]string `pb:"input_map"`
	OutputMap      map[string]string `pb:"output_map"`
	ModelNamespace string            `pb:"model_namespace"`
}
