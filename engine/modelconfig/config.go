// SPDX-License-Identifier: Apache-2.0

// Package modelconfig is the configuration of a model: what a config.pbtxt says,
// what the model file completes, and what is checked before anything is loaded.
//
// The field names in the tags are those of Triton's public model_config.proto; the
// text format (config.pbtxt) and the JSON form both use them. Types here are our
// own, so that the engine does not depend on the wire.
//
// A configuration goes through ParseText or ParseJSON; Normalize, after which its
// backend can inspect the model; Complete; and Validate. From then on it does not
// change and may be read by many goroutines; until then it belongs to one.
package modelconfig

import "github.com/millrace-ml/millrace/engine/tensor"

// Config is the configuration of one model. The zero value is an empty
// configuration, to be completed from the model file.
type Config struct {
	Name                 string               `pb:"name"`
	Platform             string               `pb:"platform"`
	Backend              string               `pb:"backend"`
	Runtime              string               `pb:"runtime"`
	VersionPolicy        *VersionPolicy       `pb:"version_policy"`
	MaxBatchSize         int32                `pb:"max_batch_size"`
	Input                []Input              `pb:"input"`
	Output               []Output             `pb:"output"`
	BatchInput           []BatchInput         `pb:"batch_input"`
	BatchOutput          []BatchOutput        `pb:"batch_output"`
	Optimization         *Optimization        `pb:"optimization"`
	DynamicBatching      *DynamicBatching     `pb:"dynamic_batching" oneof:"scheduling_choice"`
	SequenceBatching     *SequenceBatching    `pb:"sequence_batching" oneof:"scheduling_choice"`
	EnsembleScheduling   *EnsembleScheduling  `pb:"ensemble_scheduling" oneof:"scheduling_choice"`
	InstanceGroup        []InstanceGroup      `pb:"instance_group"`
	DefaultModelFilename string               `pb:"default_model_filename"`
	CCModelFilenames     map[string]string    `pb:"cc_model_filenames"`
	MetricTags           map[string]string    `pb:"metric_tags"`
	Parameters           map[string]Parameter `pb:"parameters"`
	ModelWarmup          []Warmup             `pb:"model_warmup"`
	ModelOperations      *Operations          `pb:"model_operations"`
	TransactionPolicy    *TransactionPolicy   `pb:"model_transaction_policy"`
	RepositoryAgents     *RepositoryAgents    `pb:"model_repository_agents"`
	ResponseCache        *ResponseCache       `pb:"response_cache"`
	ModelMetrics         *ModelMetrics        `pb:"model_metrics"`
}

// Datatype is an element type as configuration files spell it: TYPE_FP32, and
// TYPE_STRING for BYTES.
type Datatype struct{ tensor.Datatype }

// VersionPolicy says which versions found in the repository are served. At most
// one field is set; none means Latest{1}.
type VersionPolicy struct {
	Latest   *LatestVersions   `pb:"latest" oneof:"policy_choice"`
	All      *AllVersions      `pb:"all" oneof:"policy_choice"`
	Specific *SpecificVersions `pb:"specific" oneof:"policy_choice"`
}

// LatestVersions serves the highest versions.
type LatestVersions struct {
	NumVersions uint32 `pb:"num_versions"`
}

// AllVersions serves every version.
type AllVersions struct{}

// SpecificVersions serves the versions named.
type SpecificVersions struct {
	Versions []int64 `pb:"versions"`
}

// InputFormat is accepted and has no effect.
type InputFormat int32

// Formats of image inputs.
const (
	FormatNone InputFormat = iota
	FormatNHWC
	FormatNCHW
)

// Input is one input. Dims leaves out the batch dimension where MaxBatchSize > 0.
type Input struct {
	Name              string      `pb:"name"`
	DataType          Datatype    `pb:"data_type"`
	Format            InputFormat `pb:"format"`
	Dims              []int64     `pb:"dims"`
	Reshape           *Reshape    `pb:"reshape"`
	IsShapeTensor     bool        `pb:"is_shape_tensor"`
	AllowRaggedBatch  bool        `pb:"allow_ragged_batch"`
	Optional          bool        `pb:"optional"`
	IsNonLinearFormat bool        `pb:"is_non_linear_format_io"`
}

// Output is one output. Dims leaves out the batch dimension where MaxBatchSize > 0.
type Output struct {
	Name              string   `pb:"name"`
	DataType          Datatype `pb:"data_type"`
	Dims              []int64  `pb:"dims"`
	Reshape           *Reshape `pb:"reshape"`
	LabelFilename     string   `pb:"label_filename"`
	IsShapeTensor     bool     `pb:"is_shape_tensor"`
	IsNonLinearFormat bool     `pb:"is_non_linear_format_io"`
}

// Reshape is the shape the model itself takes or gives, where it differs from Dims.
type Reshape struct {
	Shape []int64 `pb:"shape"`
}

// Parameter is one entry of the free parameters map.
type Parameter struct {
	StringValue string `pb:"string_value"`
}

// Warmup is a request run before the model is declared ready.
type Warmup struct {
	Name      string                 `pb:"name"`
	BatchSize uint32                 `pb:"batch_size"`
	Inputs    map[string]WarmupInput `pb:"inputs"`
	Count     uint32                 `pb:"count"`
}

// WarmupInput is the data of one input of a warm-up request. Exactly one of
// ZeroData, RandomData and InputDataFile is set.
type WarmupInput struct {
	DataType      Datatype `pb:"data_type"`
	Dims          []int64  `pb:"dims"`
	ZeroData      bool     `pb:"zero_data" oneof:"input_data_type"`
	RandomData    bool     `pb:"random_data" oneof:"input_data_type"`
	InputDataFile string   `pb:"input_data_file" oneof:"input_data_type"`
}

// TransactionPolicy says whether one request may have any number of responses.
type TransactionPolicy struct {
	Decoupled bool `pb:"decoupled"`
}

// ResponseCache asks for equal requests to be answered from a cache.
type ResponseCache struct {
	Enable bool `pb:"enable"`
}

// Operations names libraries of custom operators.
type Operations struct {
	OpLibraryFilename []string `pb:"op_library_filename"`
}

// RepositoryAgents is accepted and has no effect.
type RepositoryAgents struct {
	Agents []RepositoryAgent `pb:"agents"`
}

// RepositoryAgent is one agent with its settings.
type RepositoryAgent struct {
	Name       string            `pb:"name"`
	Parameters map[string]string `pb:"parameters"`
}

// ModelMetrics holds choices for the metrics of one model.
type ModelMetrics struct {
	MetricControl []MetricControl `pb:"metric_control"`
}

// MetricControl chooses the options of one metric family.
type MetricControl struct {
	MetricIdentifier *MetricIdentifier `pb:"metric_identifier"`
	HistogramOptions *HistogramOptions `pb:"histogram_options" oneof:"metric_options"`
}

// MetricIdentifier names a metric family.
type MetricIdentifier struct {
	Family string `pb:"family"`
}

// HistogramOptions are the upper bounds of the buckets of a histogram.
type HistogramOptions struct {
	Buckets []float64 `pb:"buckets"`
}
