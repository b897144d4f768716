// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// ControlMode says when models are loaded.
type ControlMode uint8

const (
	// ModeNone loads every model at start and looks at the files no more.
	ModeNone ControlMode = iota
	// ModePoll loads every model at start and follows changes of the files.
	ModePoll
	// ModeExplicit loads what Options.LoadModels names, then by call.
	ModeExplicit
)

// Defaults and limits of Options.
const (
	defaultLoadThreads  = 4
	maxLoadThreads      = 256
	defaultMaxBatchSize = 4
	defaultPollInterval = 15 * time.Second
)

// Options configures a Repository.
type Options struct {
	// Paths are the folders that hold models, at least one. A model found in two of
	// them is not loaded.
	Paths []string
	Mode  ControlMode
	// PollInterval is the time between two looks at the files in ModePoll; 0 means
	// 15 s.
	PollInterval time.Duration
	// LoadModels are loaded at start in ModeExplicit, and must be empty in the other
	// modes. "*" stands for every model.
	LoadModels []string
	// LoadThreads bounds the versions that are opened at the same time, 1 to 256; 0
	// means 4.
	LoadThreads int
	// DisableAutoComplete refuses configurations that leave out what the model file
	// could tell.
	DisableAutoComplete bool
	// DefaultMaxBatchSize is given to models that can batch and whose configuration
	// does not say how far; 0 means 4.
	DefaultMaxBatchSize int
	// Backends run the models; a configuration chooses one by name.
	Backends []engine.Backend
	// GPUs are the indices of the devices that KIND_GPU and KIND_AUTO may use.
	GPUs []int
	// Attach is called for each version after its warm-up and before it becomes
	// visible. An error fails the load. It may be nil.
	Attach func(*Version) (Attachment, error)
	// OnChange is called after the set of ready versions, or Ready, changed. It must not block
	// and must not call the repository. It may be nil.
	OnChange func()
	// Logger is where loads and their failures are reported; nil means
	// slog.Default().
	Logger *slog.Logger
	// KeepPrevious keeps the version that was current before a swap or a load loaded
	// beside the new one, for requests that name it, until the next: a model then holds
	// the memory of two versions. After a restart there is none until the first swap.
	KeepPrevious bool
	// StateFile keeps aliases and pinned versions over a restart. Empty means that
	// they are forgotten.
	StateFile string
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.LoadThreads == 0 {
		o.LoadThreads = defaultLoadThreads
	}
	if o.DefaultMaxBatchSize == 0 {
		o.DefaultMaxBatchSize = defaultMaxBatchSize
	}
	if o.PollInterval == 0 {
		o.PollInterval = defaultPollInterval
	}
	if o.Attach == nil {
		o.Attach = func(*Version) (Attachment, error) { return nil, nil }
	}
	if o.OnChange == nil {
		o.OnChange = func() {}
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
}

// Validate reports every option that cannot be used.
func (o *Options) Validate() error {
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	refuse(len(o.Paths) == 0, "no model repository: name at least one folder")
	refuse(o.Mode > ModeExplicit, "unknown control mode %d", o.Mode)
	refuse(o.PollInterval < 0, "poll interval %s is negative", o.PollInterval)
	refuse(o.LoadThreads < 1 || o.LoadThreads > maxLoadThreads, "load threads must be 1 to %d, got %d", maxLoadThreads, o.LoadThreads)
	refuse(o.DefaultMaxBatchSize < 0 || o.DefaultMaxBatchSize > math.MaxInt32, "default max batch size must be 1 to %d, got %d", math.MaxInt32, o.DefaultMaxBatchSize)
	refuse(len(o.LoadModels) > 0 && o.Mode != ModeExplicit, "models to load at start are named, which takes the explicit control mode")
	refuse(len(o.Backends) == 0, "no backends")
	seen := make(map[string]bool)
	for _, b := range o.Backends {
		refuse(seen[b.Name()], "two backends are named %q", b.Name())
		seen[b.Name()] = true
	}
	return errors.Join(errs...)
}

// completion is what the completion of a model's configuration depends on.
func (o *Options) completion(model string) modelconfig.Options {
	return modelconfig.Options{ModelName: model, DefaultMaxBatchSize: int32(o.DefaultMaxBatchSize), GPUs: o.GPUs}
}
