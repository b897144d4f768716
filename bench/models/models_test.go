// SPDX-License-Identifier: Apache-2.0

package models

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/bench/workload"
)

func TestVersionsAnswerDifferently(t *testing.T) {
	w, err := Middle().Workload(2)
	if err != nil {
		t.Fatal(err)
	}
	first, err := w.SampleResponse("1")
	if err != nil {
		t.Fatal(err)
	}
	encode := func(version string) []byte {
		first.ModelVersion = version
		encoded, err := proto.Marshal(first)
		if err != nil {
			t.Fatal(err)
		}
		return encoded
	}
	if err := w.Check(0, encode("1")); err != nil {
		t.Errorf("version 1's answer: %v", err)
	}
	if err := w.Check(0, encode("2")); !errors.Is(err, workload.ErrWrongAnswer) {
		t.Errorf("version 1's answer passed for version 2's: %v", err)
	}
}

func TestRepositoryHoldsAllVersions(t *testing.T) {
	repository := t.TempDir()
	if err := Write(repository); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{
		"mlp_small/config.pbtxt", "mlp_small/1/model.onnx", "mlp_middle/1/model.onnx", "mlp_middle/2/model.onnx", "mlp_large/1/model.onnx",
	} {
		if info, err := os.Stat(filepath.Join(repository, path)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v, %v", path, info, err)
		}
	}
}
