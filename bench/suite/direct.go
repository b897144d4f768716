// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"path/filepath"
	"runtime"

	"github.com/millrace-ml/millrace/bench/direct"
	"github.com/millrace-ml/millrace/bench/models"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// openDirect loads version 1 of a model into this process, with an instance per
// core, as many as the server has.
func (b *bench) openDirect(ctx context.Context, m models.Model) (*direct.Model, error) {
	return direct.Open(ctx, direct.Options{
		Backend:      b.Backend,
		Dir:          filepath.Join(b.repository, m.Name, "1"),
		Config:       &modelconfig.Config{Name: m.Name, Backend: b.Backend.Name(), MaxBatchSize: models.BatchSizeMax},
		Instances:    runtime.GOMAXPROCS(0),
		BatchSizeMax: models.BatchSizeMax,
	})
}
