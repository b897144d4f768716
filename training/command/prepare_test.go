// SPDX-License-Identifier: Apache-2.0

package command

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/training/learn"
)

// TestPrepare reads what a program finds, with another library.
func TestPrepare(t *testing.T) {
	dir := t.TempDir()
	table := tableOf(learn.Binary, 3)
	table.Values[0][1] = float32(math.NaN())
	trainer := trainerOf(t, "one", learn.Values{"parameters": `{"depth": 3}`}).(*trainer)
	_, err := trainer.prepare(dir, table, nil, learn.FitOptions{Seed: math.MaxUint64, Workers: 2})
	must(t, err)
	data, err := os.ReadFile(filepath.Join(dir, "task.json"))
	must(t, err)
	var task Task
	must(t, json.Unmarshal(data, &task))
	if task.Label != "_label" || task.Weight != "weight" || task.Valid != "" || task.Seed != math.MaxUint64 || task.Workers != 2 || len(task.Features) != 3 ||
		task.Features[0].Monotone != 1 || task.Features[1].Categories[1] != "pos" || task.Opset != learn.Opset {
		t.Errorf("the task is %s", data)
	}
	type row struct {
		Amount *float32 `parquet:"amount"`
		Kind   *float32 `parquet:"label"`
		Age    *float32 `parquet:"age"`
		Label  int64    `parquet:"_label"`
		Weight float32  `parquet:"weight"`
	}
	rows, err := parquet.ReadFile[row](task.Train)
	must(t, err)
	if len(rows) != 3 || rows[1].Amount != nil || *rows[2].Amount != table.Values[0][2] || *rows[1].Kind != 1 || *rows[0].Age != -2 || rows[1].Label != 1 || rows[1].Weight != 2 {
		t.Errorf("rows %+v", rows)
	}
}
