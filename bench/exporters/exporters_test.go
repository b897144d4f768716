// SPDX-License-Identifier: Apache-2.0

package exporters

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/millrace-ml/millrace/bench/foreigntest"
	"github.com/millrace-ml/millrace/proto/inference"
)

// dataEnv names the folder of data sets.
const dataEnv = "MILLRACE_DATA"

// predictions are the rows to ask for and what each model's library says of them.
type predictions struct {
	Rows  [][]float64
	Cases []modelCase
}

func TestExportedModels(t *testing.T) {
	if testing.Short() {
		t.Skip("trains models and builds the binary")
	}
	transactions := findTransactions(t)
	python := foreigntest.Python(t, "requirements.txt")
	folder := t.TempDir()
	foreigntest.Run(t, exec.CommandContext(t.Context(), python, "export.py", transactions, folder))
	expected := readPredictions(t, filepath.Join(folder, "cases.json"))
	server := foreigntest.Serve(t, foreigntest.Build(t), filepath.Join(folder, "models"))

	conn, err := grpc.NewClient(server.GRPC, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	client := inference.NewGRPCInferenceServiceClient(conn)
	for _, m := range expected.Cases {
		t.Run(m.Model, func(t *testing.T) { checkModel(t, client, m, expected.Rows) })
	}
}

// findTransactions returns the training data or skips the test.
func findTransactions(t *testing.T) string {
	t.Helper()
	folder := os.Getenv(dataEnv)
	if folder == "" {
		folder = filepath.Join(foreigntest.ModuleRoot(t), "..", "shared", "data")
	}
	file := filepath.Join(folder, "card-transactions", "transactions.parquet")
	if _, err := os.Stat(file); err != nil {
		t.Skipf("no training data: %v; %s may name the folder of data sets", err, dataEnv)
	}
	return file
}

func readPredictions(t *testing.T, file string) predictions {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var p predictions
	if err := json.Unmarshal(content, &p); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if len(p.Rows) == 0 || len(p.Cases) == 0 {
		t.Fatalf("%s: %d rows and %d models", file, len(p.Rows), len(p.Cases))
	}
	return p
}

// checkModel asks for all rows in requests of several sizes at once, so that the
// server batches them in ever new ways: each size by unary calls and on a stream.
func checkModel(t *testing.T, client inference.GRPCInferenceServiceClient, m modelCase, rows [][]float64) {
	config, err := client.ModelConfig(t.Context(), &inference.ModelConfigRequest{Name: m.Model})
	if err != nil {
		t.Fatal(err)
	}
	rowsMax := int(config.Config.MaxBatchSize)
	if rowsMax == 0 {
		rowsMax = len(rows) // a request is a batch of its own
	}
	var asking sync.WaitGroup
	for _, size := range []int{1, 2, 3, rowsMax} {
		for name, ask := range map[string]asker{"unary": askUnary, "stream": askStream} {
			asking.Go(func() {
				answers, err := ask(t.Context(), client, m.requests(rows, size))
				if err == nil {
					err = m.check(answers)
				}
				if err != nil {
					t.Errorf("%s, %d rows in a request: %v", name, size, err)
				}
			})
		}
	}
	asking.Wait()
}

// asker sends requests and returns their answers in the same order.
type asker func(context.Context, inference.GRPCInferenceServiceClient, []*inference.ModelInferRequest) ([]*inference.ModelInferResponse, error)

func askUnary(ctx context.Context, client inference.GRPCInferenceServiceClient, requests []*inference.ModelInferRequest) ([]*inference.ModelInferResponse, error) {
	var answers []*inference.ModelInferResponse
	for _, request := range requests {
		answer, err := client.ModelInfer(ctx, request)
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// askStream has all requests in flight before it takes the first answer.
func askStream(ctx context.Context, client inference.GRPCInferenceServiceClient, requests []*inference.ModelInferRequest) ([]*inference.ModelInferResponse, error) {
	stream, err := client.ModelStreamInfer(ctx)
	if err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	go func() {
		for _, request := range requests {
			if err := stream.Send(request); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	var answers []*inference.ModelInferResponse
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return answers, <-sent
		}
		if err == nil && answer.ErrorMessage != "" {
			err = errors.New(answer.ErrorMessage)
		}
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer.InferResponse)
	}
}
