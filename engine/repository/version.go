// SPDX-License-Identifier: Apache-2.0

package repository

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"golang.org/x/sys/cpu"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/internal/modelfile"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// Attachment is what the serving layer hangs on a version, such as its batcher.
// Close is called once, after the last request was released and before the
// instances are closed.
type Attachment interface{ Close() }

// Version is one loaded version of a model. Its exported fields are set before it
// becomes visible and never change; a holder that acquired it may read them and use
// its instances until Release.
type Version struct {
	Model        string
	Number       int64
	Config       *modelconfig.Config
	Labels       map[string][]string // by output, of those with a label file
	Signature    engine.Signature
	Instances    []engine.Instance
	Placements   []engine.Placement // of Instances, index by index
	Warmup       []engine.WarmupResult
	Attachment   Attachment
	LoadedAt     time.Time
	LoadDuration time.Duration
	// Steps says how long each part of the load took.
	Steps []Step

	model  engine.Model
	dir    string      // of the version
	folder *overlay    // files sent with the load, nil when read from the repository
	source fingerprint // the files it was read from

	drained  chan struct{} // closed when retired and no request holds it
	released chan struct{} // closed when what it held has been given back

	_        cpu.CacheLinePad // keeps the counter's writes away from the fields above
	inFlight atomic.Int64
	_        cpu.CacheLinePad
}

// The in-flight counter also tells whether the version still takes requests: it is
// negative once retired, and far below that once its drain was announced. Requests
// that come late raise and lower it again, so the announcement is made by the one
// that exchanges retired for announced.
const (
	retired   = math.MinInt64 / 2
	announced = math.MinInt64
)

// acquire counts a request in. It reports false when the version is retired.
func (v *Version) acquire() bool {
	if v.inFlight.Add(1) > 0 {
		return true
	}
	v.Release()
	return false
}

// Release ends a use begun by Acquire. It must be called exactly once for each.
func (v *Version) Release() {
	if v.inFlight.Add(-1) == retired {
		v.announceDrain()
	}
}

// retire refuses requests from now on. The drained channel is closed when those
// that hold the version have released it. It must be called once.
func (v *Version) retire() {
	if v.inFlight.Add(retired) == retired {
		v.announceDrain()
	}
}

func (v *Version) announceDrain() {
	if v.inFlight.CompareAndSwap(retired, announced) {
		close(v.drained)
	}
}

// ModelFile is the ONNX file that the version was loaded from, as far as the repository's
// files were not replaced since.
func (v *Version) ModelFile() (string, error) { return modelfile.Find(v.dir, v.Config) }

// InFlight is the number of requests that hold the version now.
func (v *Version) InFlight() int64 {
	n := v.inFlight.Load()
	switch {
	case n >= 0:
		return n
	case n >= retired:
		return n - retired
	default:
		return 0 // drained
	}
}

// close gives back all that the version holds, in reverse order of creation. The
// version must be drained, or never have been visible.
func (v *Version) close() error {
	var errs []error
	if v.Attachment != nil {
		v.Attachment.Close()
	}
	for i, instance := range v.Instances {
		if err := instance.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close instance %d: %w", i, err))
		}
	}
	if v.model != nil {
		if err := v.model.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close model: %w", err))
		}
	}
	errs = append(errs, v.folder.release())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("model %q version %d: %w", v.Model, v.Number, err)
	}
	return nil
}
