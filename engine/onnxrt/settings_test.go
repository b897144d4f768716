// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

func parameters(pairs ...string) map[string]modelconfig.Parameter {
	m := make(map[string]modelconfig.Parameter)
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = modelconfig.Parameter{StringValue: pairs[i+1]}
	}
	return m
}

func TestDefaultSettings(t *testing.T) {
	s, err := readSettings(&modelconfig.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if s.parallel || !s.memArena || !s.memPattern || s.interThreads != 1 || s.graphLevel != 0 || len(s.cuda) != 0 {
		t.Errorf("defaults are %+v", s)
	}
	if want := map[string]string{"session.intra_op.allow_spinning": "0"}; !maps.Equal(s.entries, want) {
		t.Errorf("entries are %v, want %v", s.entries, want)
	}
	for placed, want := range map[int]int{0: 1, 1: 1, 6: 6} {
		if got := s.threads(engine.Placement{Threads: placed}); got != want {
			t.Errorf("placed on %d cores: %d threads, want %d", placed, got, want)
		}
	}
}

func TestReadSettings(t *testing.T) {
	s, err := readSettings(&modelconfig.Config{
		Parameters: parameters(
			"intra_op_thread_count", "3", "inter_op_thread_count", "2", "execution_mode", "1",
			"enable_mem_arena", "0", "enable_mem_pattern", "false",
			"session.intra_op.allow_spinning", "1", "optimization.x", "y", "unrelated", "z",
			"gpu_mem_limit", "1073741824", "cudnn_conv_algo_search", "1", "arena_extend_strategy", "kSameAsRequested",
		),
		Optimization: &modelconfig.Optimization{Graph: &modelconfig.GraphOptimization{Level: -1}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.intraThreads != 3 || s.interThreads != 2 || !s.parallel || s.memArena || s.memPattern || s.graphLevel != -1 {
		t.Errorf("settings are %+v", s)
	}
	if got := s.threads(engine.Placement{Threads: 8}); got != 3 {
		t.Errorf("%d threads, want the configuration's 3", got)
	}
	if want := map[string]string{"session.intra_op.allow_spinning": "1", "optimization.x": "y"}; !maps.Equal(s.entries, want) {
		t.Errorf("entries are %v, want %v", s.entries, want)
	}
	want := map[string]string{"gpu_mem_limit": "1073741824", "cudnn_conv_algo_search": "HEURISTIC", "arena_extend_strategy": "kSameAsRequested"}
	if !maps.Equal(s.cuda, want) {
		t.Errorf("CUDA options are %v, want %v", s.cuda, want)
	}
}

func TestBadSettingsAreAllReported(t *testing.T) {
	_, err := readSettings(&modelconfig.Config{
		Parameters: parameters(
			"intra_op_thread_count", "many", "inter_op_thread_count", "-1", "execution_mode", "2",
			"enable_mem_arena", "", "gpu_mem_limit", "9223372036854775807", "cudnn_conv_algo_search", "3",
		),
		Optimization: &modelconfig.Optimization{Graph: &modelconfig.GraphOptimization{Level: 3}},
	})
	if !errors.Is(err, engine.ErrInvalidModel) {
		t.Fatalf("got error %v", err)
	}
	for _, want := range []string{
		`intra_op_thread_count is "many"`, `inter_op_thread_count is "-1"`, `execution_mode is "2"`,
		`enable_mem_arena is ""`, `gpu_mem_limit is "9223372036854775807"`,
		`cudnn_conv_algo_search is "3": it must be one of EXHAUSTIVE, HEURISTIC, DEFAULT, or 0 to 2`,
		`optimization.graph.level is 3`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error does not say %q: %v", want, err)
		}
	}
}
