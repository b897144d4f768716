// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/proto/inference"
)

// TestConfigurationsNameWhatIsWritten keeps the configurations, the requests and
// the protocol together.
func TestConfigurationsNameWhatIsWritten(t *testing.T) {
	folder := t.TempDir()
	if err := run([]string{folder}); err != nil {
		t.Fatal(err)
	}
	configs, err := filepath.Glob("../*.json")
	if err != nil || len(configs) < 5 {
		t.Fatalf("configurations are %v, %v", configs, err)
	}
	for _, path := range configs {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var config struct {
			Proto       string
			BinaryFile  string `json:"binary-file"`
			Concurrency int
		}
		if err := json.Unmarshal(text, &config); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if _, err := os.Stat(filepath.Join("../../..", config.Proto)); err != nil || config.Concurrency < 1 {
			t.Errorf("%s: concurrency %d, proto %v", path, config.Concurrency, err)
		}
		encoded, err := os.ReadFile(filepath.Join(folder, filepath.Base(config.BinaryFile)))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var request inference.ModelInferRequest
		if err := proto.Unmarshal(encoded, &request); err != nil || request.ModelName == "" {
			t.Errorf("%s: request %v, %v", path, &request, err)
		}
	}
}

func TestFolderMustBeGiven(t *testing.T) {
	if err := run(nil); err == nil {
		t.Error("no folder was accepted")
	}
}
