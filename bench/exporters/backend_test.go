// SPDX-License-Identifier: Apache-2.0

package exporters

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/millrace-ml/millrace/bench/foreigntest"
	"github.com/millrace-ml/millrace/proto/inference"
)

// backend is one way to serve the models.
type backend struct {
	name string
	// refuses gives, for a part of a model's name, the operator for which the backend
	// may refuse to load it. What it does load must be right.
	refuses map[string]string
}

var (
	onnxRuntime = backend{name: "onnxruntime"}
	native      = backend{name: "native", refuses: map[string]string{
		"torch_gru_":  "GRU",
		"torch_lstm_": "LSTM",
	}}
)

// mayRefuse reports whether the backend may refuse a model with this error.
func (b backend) mayRefuse(model string, err error) bool {
	for part, operator := range b.refuses {
		if strings.Contains(model, part) && strings.Contains(err.Error(), operator) {
			return true
		}
	}
	return false
}

// unknownTo reports whether an error says that the server has no such backend.
func (b backend) unknownTo(err error) bool {
	return strings.Contains(err.Error(), fmt.Sprintf("no backend '%s' in this server", b.name))
}

// repository returns a model repository with the models of folder for the backend.
// That of ONNX Runtime is the folder itself, as models without a configuration are
// its own already.
func (b backend) repository(t *testing.T, folder string) string {
	t.Helper()
	if b.name == onnxRuntime.name {
		return folder
	}
	models, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	repository := t.TempDir()
	for _, m := range models {
		from, to := filepath.Join(folder, m.Name()), filepath.Join(repository, m.Name())
		if err := os.CopyFS(to, os.DirFS(from)); err != nil {
			t.Fatal(err)
		}
		config, err := os.ReadFile(filepath.Join(from, "config.pbtxt"))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		config = append([]byte("backend: \""+b.name+"\"\n"), config...)
		if err := os.WriteFile(filepath.Join(to, "config.pbtxt"), config, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return repository
}

// serve runs the binary on the models of folder and checks all cases.
func (b backend) serve(t *testing.T, binary, folder string, cases []modelCase, bits *firstAnswers) {
	server := foreigntest.Serve(t, binary, b.repository(t, folder), "--model-control-mode=explicit")
	conn, err := grpc.NewClient(server.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := inference.NewGRPCInferenceServiceClient(conn)
	for _, m := range cases {
		_, err := client.RepositoryModelLoad(t.Context(), &inference.RepositoryModelLoadRequest{ModelName: m.Model})
		if err != nil && b.unknownTo(err) {
			t.Skipf("the binary has no backend %s", b.name)
		}
		t.Run(m.Model, func(t *testing.T) {
			switch {
			case err != nil && b.mayRefuse(m.Model, err):
				t.Skip(err)
			case err != nil:
				t.Fatal(err)
			}
			checkModel(t, client, m, bits)
		})
	}
}
