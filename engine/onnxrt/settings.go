// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// settings is what a model's configuration says about its session.
type settings struct {
	// intraThreads overrides the placement's number of threads where positive.
	intraThreads int
	// interThreads run independent nodes at once; it matters when parallel is set.
	interThreads int
	parallel     bool
	// graphLevel is optimization.graph.level: -1 basic, 0 all, 1 extended, 2 none.
	graphLevel int32
	memArena   bool
	memPattern bool
	// entries are the library's own session configuration, by key.
	entries map[string]string
	// cuda are the options of the CUDA execution provider, in its own words.
	cuda map[string]string
}

// threadsMax bounds the thread counts of a configuration: more is a slip of the
// hand, and the library would try to start them all.
const threadsMax = 1024

// spinningKey makes idle threads of a session's pool spin instead of sleep. The
// library's default is to spin, which burns the cores that other instances need.
const spinningKey = "session.intra_op.allow_spinning"

// readSettings reads the parameters that this backend knows. It reports all
// problems at once, wrapping engine.ErrInvalidModel.
func readSettings(config *modelconfig.Config) (settings, error) {
	r := parameterReader{parameters: config.Parameters}
	s := settings{
		intraThreads: r.number("intra_op_thread_count", 0, threadsMax, 0),
		interThreads: r.number("inter_op_thread_count", 0, threadsMax, 1),
		parallel:     r.flag("execution_mode", false),
		memArena:     r.flag("enable_mem_arena", true),
		memPattern:   r.flag("enable_mem_pattern", true),
		entries:      map[string]string{spinningKey: "0"},
		cuda:         r.cuda(),
	}
	if config.Optimization != nil && config.Optimization.Graph != nil {
		s.graphLevel = config.Optimization.Graph.Level
	}
	if s.graphLevel < -1 || s.graphLevel > 2 {
		r.problem(fmt.Errorf("optimization.graph.level is %d: it must be -1 (basic), 0 (all), 1 (extended) or 2 (none)", s.graphLevel))
	}
	for key, parameter := range config.Parameters {
		if strings.HasPrefix(key, "session.") || strings.HasPrefix(key, "optimization.") {
			s.entries[key] = parameter.StringValue
		}
	}
	if err := errors.Join(r.problems...); err != nil {
		return settings{}, fmt.Errorf("%w: %w", engine.ErrInvalidModel, err)
	}
	return s, nil
}

// threads is the number of cores of one run on a placement.
func (s settings) threads(placement engine.Placement) int {
	if s.intraThreads > 0 {
		return s.intraThreads
	}
	return max(1, placement.Threads)
}

// entryKeys lists the session configuration's keys in a fixed order.
func (s settings) entryKeys() []string {
	return slices.Sorted(maps.Keys(s.entries))
}

// parameterReader reads typed parameters and collects what is wrong with them.
type parameterReader struct {
	parameters map[string]modelconfig.Parameter
	problems   []error
}

func (r *parameterReader) problem(err error) { r.problems = append(r.problems, err) }

func (r *parameterReader) number(key string, least, most int64, missing int) int {
	p, ok := r.parameters[key]
	if !ok {
		return missing
	}
	n, err := strconv.ParseInt(strings.TrimSpace(p.StringValue), 10, 64)
	if err != nil || n < least || n > most {
		r.problem(fmt.Errorf("parameter %s is %q: it must be a whole number from %d to %d", key, p.StringValue, least, most))
		return missing
	}
	return int(n)
}

func (r *parameterReader) flag(key string, missing bool) bool {
	p, ok := r.parameters[key]
	if !ok {
		return missing
	}
	on, err := strconv.ParseBool(strings.TrimSpace(p.StringValue))
	if err != nil {
		r.problem(fmt.Errorf("parameter %s is %q: it must be 0 or 1", key, p.StringValue))
	}
	return on
}

// cudaChoices are the provider options that the configuration may give by number.
var cudaChoices = map[string][]string{
	"cudnn_conv_algo_search":    {"EXHAUSTIVE", "HEURISTIC", "DEFAULT"},
	"arena_extend_strategy":     {"kNextPowerOfTwo", "kSameAsRequested"},
	"do_copy_in_default_stream": {"0", "1"},
}

// cuda translates the parameters of the CUDA execution provider.
func (r *parameterReader) cuda() map[string]string {
	options := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(cudaChoices)) {
		if p, ok := r.parameters[key]; ok {
			options[key] = r.choice(key, strings.TrimSpace(p.StringValue), cudaChoices[key])
		}
	}
	if limit := r.number("gpu_mem_limit", 0, 1<<50, 0); limit > 0 {
		options["gpu_mem_limit"] = strconv.Itoa(limit)
	}
	return options
}

func (r *parameterReader) choice(key, value string, choices []string) string {
	if slices.Contains(choices, value) {
		return value
	}
	if i, err := strconv.Atoi(value); err == nil && i >= 0 && i < len(choices) {
		return choices[i]
	}
	r.problem(fmt.Errorf("parameter %s is %q: it must be one of %s, or 0 to %d",
		key, value, strings.Join(choices, ", "), len(choices)-1))
	return ""
}
