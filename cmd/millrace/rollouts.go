// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// rolloutsFile has the rollouts that run, in the state folder, so that a restart goes on
// with them; servedFile what was chosen by hand of models: the versions that swaps and
// rollbacks made current, and aliases (repository.Options.StateFile).
const (
	rolloutsFile   = "rollouts.json"
	servedFile     = "models.json"
	rolloutsFormat = 1
	// rolloutsBytesMax bounds the file that is read.
	rolloutsBytesMax = 4 << 20
	// settleEvery is how often it is looked whether a canary has become the current version.
	settleEvery = 500 * time.Millisecond
	// rolloutTimeout bounds one change: loading may take long, draining too.
	rolloutTimeout = 5 * time.Minute
)

// rollouts are the canaries and shadows that run beside the policies: their versions are
// loaded while they run, and unloaded after. Nil is none, where there are no decisions.
type rollouts struct {
	state  string // folder
	front  *frontend.Frontend
	models *repository.Repository
	audit  *auditTrail
	log    *slog.Logger
	// op is held during a change, which may take long; mu while saved is read or written.
	op sync.Mutex
	mu struct {
		sync.Mutex
		saved map[string]*savedRollout
	}
	recent   recentAnswers
	outcomes outcomeJoins
}

// savedRollout is a rollout with what a restart has to know.
type savedRollout struct {
	frontend.Rollout
	// By is who asked for it, Run the run of a pipeline that did, Installed that this run put
	// the canary's version into the repository.
	By        string `json:"by"`
	Run       string `json:"run,omitempty"`
	Installed bool   `json:"installed,omitempty"`
	// From is when the canary began, on the clock of the project, in microseconds.
	From int64 `json:"from,omitempty"`
	// Loaded are the versions that were loaded for it, to be unloaded after it.
	Loaded []int64 `json:"loaded,omitempty"`
	// fault is why it does not run although it should.
	fault string
}

type savedRollouts struct {
	Format   int                      `json:"format"`
	Rollouts map[string]*savedRollout `json:"rollouts"`
}

// openRollouts reads what ran at the last end.
func openRollouts(trail *auditTrail, front *frontend.Frontend, models *repository.Repository, log *slog.Logger) (*rollouts, error) {
	r := &rollouts{state: trail.state, front: front, models: models, audit: trail, log: log}
	r.outcomes.now = time.Now
	r.mu.saved = map[string]*savedRollout{}
	path := filepath.Join(r.state, rolloutsFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	} else if err != nil {
		return nil, err
	}
	if info.Size() > rolloutsBytesMax {
		return nil, fmt.Errorf("%s has %d bytes, at most %d are read; repair or remove it", path, info.Size(), rolloutsBytesMax)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var saved savedRollouts
	if err := json.Unmarshal(text, &saved); err != nil {
		return nil, fmt.Errorf("%s: %w; repair or remove it", path, err)
	}
	if saved.Format != rolloutsFormat {
		return nil, fmt.Errorf("%s: format %d is not known, expected %d; repair or remove it", path, saved.Format, rolloutsFormat)
	}
	for decision, one := range saved.Rollouts {
		if one != nil && one.Decision == decision {
			r.mu.saved[decision] = one
		}
	}
	return r, nil
}

// run goes on with what ran before once models are loaded, and ends canaries that were
// promoted, until ctx ends.
func (r *rollouts) run(ctx context.Context, ready <-chan struct{}) {
	if r == nil {
		return
	}
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	r.resume(ctx)
	var joining sync.WaitGroup
	defer joining.Wait()
	joining.Go(func() { r.followOutcomes(ctx) }) // ends when ctx does
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		r.recent.sample(time.Now(), r.front.Stats().Decisions)
		select {
		case <-tick.C:
			r.settle(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// resume runs what is saved. What cannot run stays saved, says why, and moves no traffic; but
// of a decision that the project has no more, which nobody could end.
func (r *rollouts) resume(ctx context.Context) {
	r.op.Lock()
	defer r.op.Unlock()
	for _, one := range r.list() {
		if _, err := r.modelOf(one.Decision); err != nil {
			_, end := r.endLocked(ctx, one.Decision)
			r.log.Warn("a rollout of the last start ends: the project has no such decision any more", "decision", one.Decision, "error", end)
			continue
		}
		next := one
		err := r.load(ctx, &next)
		if err == nil {
			err = r.front.SetRollout(next.Rollout)
		}
		if err != nil {
			next.fault = err.Error()
			r.log.Error("a rollout of the last start does not go on: end it, or make its version loadable and start again", "decision", one.Decision, "error", err)
		}
		r.mu.Lock()
		r.mu.saved[one.Decision] = &next
		r.mu.Unlock()
	}
}

// list copies what is saved, by name of the decision.
func (r *rollouts) list() []savedRollout {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []savedRollout
	for _, one := range r.mu.saved {
		all = append(all, *one)
	}
	slices.SortFunc(all, func(a, b savedRollout) int { return strings.Compare(a.Decision, b.Decision) })
	return all
}

// of is the rollout of a decision, nil for none.
func (r *rollouts) of(decision string) *savedRollout {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.mu.saved[decision]; one != nil {
		copied := *one
		return &copied
	}
	return nil
}

// current is the version of a model that serves, 0 for none.
func (r *rollouts) current(model string) int64 {
	v, err := r.models.Acquire(model, "")
	if err != nil {
		return 0
	}
	defer v.Release()
	return v.Number
}

// modelOf is the model that a decision's rollout splits unless it says another.
func (r *rollouts) modelOf(decision string) (string, error) {
	for _, p := range r.front.Policies() {
		if p.Name == decision {
			return p.Arms[0].Model.Name, nil
		}
	}
	return "", fmt.Errorf("decision %.128q: %w", decision, frontend.ErrUnknown)
}

// set starts a rollout, or changes the one there is. It is on disk when set returns.
func (r *rollouts) set(ctx context.Context, next savedRollout) (err error) {
	r.op.Lock()
	defer r.op.Unlock()
	if next.Model == "" {
		if next.Model, err = r.modelOf(next.Decision); err != nil {
			return err
		}
	}
	if current := r.current(next.Model); next.CanaryVersion > 0 && next.CanaryVersion == current {
		return fmt.Errorf("%w: version %d of %s serves already", frontend.ErrInvalid, current, next.Model)
	}
	was := r.of(next.Decision)
	if was != nil && was.Model == next.Model {
		next.Loaded = was.Loaded
		if was.CanaryVersion == next.CanaryVersion {
			next.From = was.From
		}
		next.Installed = next.Installed || was.Installed && was.CanaryVersion == next.CanaryVersion
	}
	if next.From == 0 && next.CanaryVersion > 0 {
		next.From = r.outcomes.now().UnixMicro()
	}
	if err = r.load(ctx, &next); err == nil {
		err = r.front.SetRollout(next.Rollout)
	}
	loaded := next.Loaded
	next.Loaded = slices.DeleteFunc(slices.Clone(loaded), func(number int64) bool {
		return number != next.CanaryVersion && number != next.ShadowVersion
	})
	if err == nil {
		if err = r.save(next.Decision, &next); err != nil {
			r.restore(was, next.Decision)
		}
	}
	if was != nil && was.Model != next.Model {
		err = errors.Join(err, r.unload(ctx, was.Model, was.Loaded))
	}
	return errors.Join(err, r.unload(ctx, next.Model, loaded))
}

// restore has the decision run what it ran before a change that could not be saved.
func (r *rollouts) restore(was *savedRollout, decision string) {
	if was == nil || was.fault != "" || r.front.SetRollout(was.Rollout) != nil {
		r.front.EndRollout(decision)
	}
}

// load loads the versions of a rollout beside the current one, and notes which.
func (r *rollouts) load(ctx context.Context, one *savedRollout) error {
	for _, number := range []int64{one.CanaryVersion, one.ShadowVersion} {
		if number <= 0 {
			continue
		}
		steps, err := r.models.LoadVersion(ctx, one.Model, number)
		if err != nil {
			return fmt.Errorf("model %s version %d: %w", one.Model, number, err)
		}
		if len(steps) > 0 && !slices.Contains(one.Loaded, number) {
			one.Loaded = append(slices.Clone(one.Loaded), number)
		}
	}
	return nil
}

// unload unloads versions that nothing needs any more.
func (r *rollouts) unload(ctx context.Context, model string, versions []int64) error {
	var faults []error
	for _, number := range versions {
		if r.isUsed(model, number) {
			continue
		}
		_, err := r.models.UnloadVersion(ctx, model, number)
		if gone := errors.Is(err, repository.ErrNotReady) || errors.Is(err, repository.ErrUnknownVersion) || errors.Is(err, repository.ErrUnknownModel); err != nil && !gone {
			faults = append(faults, fmt.Errorf("model %s version %d was not unloaded: %w", model, number, err))
		}
	}
	return errors.Join(faults...)
}

// isUsed says whether a version has to stay loaded.
func (r *rollouts) isUsed(model string, number int64) bool {
	if number == r.current(model) || number == r.models.Previous(model) {
		return true
	}
	if aliases, err := r.models.Aliases(model); err == nil {
		for _, named := range aliases {
			if named == number {
				return true
			}
		}
	}
	return slices.ContainsFunc(r.list(), func(one savedRollout) bool {
		return one.Model == model && (one.CanaryVersion == number || one.ShadowVersion == number)
	})
}

// save makes a change durable; nil removes the rollout of a decision.
func (r *rollouts) save(decision string, one *savedRollout) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.mu.saved[decision]
	if one == nil {
		delete(r.mu.saved, decision)
	} else {
		r.mu.saved[decision] = one
	}
	text, err := json.MarshalIndent(savedRollouts{Format: rolloutsFormat, Rollouts: r.mu.saved}, "", "  ")
	if err == nil {
		err = replaceSynced(filepath.Join(r.state, rolloutsFile), append(text, '\n'))
	}
	if err != nil {
		if delete(r.mu.saved, decision); was != nil {
			r.mu.saved[decision] = was
		}
		return fmt.Errorf("the rollout could not be kept over a restart: %w", err)
	}
	return nil
}

// end ends the rollout of a decision and unloads what was loaded for it. It returns what
// ran; nil for nothing.
func (r *rollouts) end(ctx context.Context, decision string) (*savedRollout, error) {
	r.op.Lock()
	defer r.op.Unlock()
	return r.endLocked(ctx, decision)
}

// endLocked needs r.op held.
func (r *rollouts) endLocked(ctx context.Context, decision string) (*savedRollout, error) {
	was := r.of(decision)
	if was == nil {
		return nil, nil
	}
	if err := r.save(decision, nil); err != nil {
		return was, err
	}
	r.front.EndRollout(decision)
	return was, r.unload(ctx, was.Model, was.Loaded)
}

// promote makes the canary of a decision the current version, without loading it again,
// and ends the rollout.
func (r *rollouts) promote(ctx context.Context, decision string) (from, to int64, err error) {
	r.op.Lock()
	defer r.op.Unlock()
	was := r.of(decision)
	if was == nil || was.CanaryVersion == 0 {
		return 0, 0, fmt.Errorf("decision %s has no canary", decision)
	}
	result, err := r.models.SwapVersion(ctx, was.Model, was.CanaryVersion, true)
	if err != nil {
		return 0, 0, err
	}
	_, err = r.endLocked(ctx, decision)
	return result.From, result.To, err
}

// hold keeps the version of a decision's model that serves, whatever is put into the
// repository, and returns it.
func (r *rollouts) hold(ctx context.Context, decision, model string) (number int64, err error) {
	if model == "" {
		if model, err = r.modelOf(decision); err != nil {
			return 0, err
		}
	}
	return r.models.Pin(ctx, model)
}

// settle ends canaries whose version became the current one, by a promotion or a swap, and
// loads versions again that a load of the whole model took out of service.
func (r *rollouts) settle(ctx context.Context) {
	for _, one := range r.list() {
		if one.fault == "" && (!r.isReady(one.Model, one.CanaryVersion) || !r.isReady(one.Model, one.ShadowVersion)) {
			r.reload(ctx, one.Decision)
		}
		if one.CanaryVersion == 0 || one.CanaryVersion != r.current(one.Model) {
			continue
		}
		if err := r.settleOne(ctx, one.Decision); err != nil {
			r.log.Error("a canary that was promoted could not be ended; it is tried again", "decision", one.Decision, "error", err)
		}
	}
}

func (r *rollouts) isReady(model string, number int64) bool {
	if number == 0 {
		return true
	}
	v, err := r.models.Acquire(model, strconv.FormatInt(number, 10))
	if err != nil {
		return false
	}
	v.Release()
	return true
}

// reload loads the versions of a rollout again. What cannot be loaded is said once, and the
// current version answers in its place, degraded, until the rollout is ended or set anew.
func (r *rollouts) reload(ctx context.Context, decision string) {
	r.op.Lock()
	defer r.op.Unlock()
	one := r.of(decision)
	if one == nil || ctx.Err() != nil {
		return
	}
	if err := r.load(ctx, one); err != nil {
		one.fault = err.Error()
		r.log.Error("the version of a rollout is gone", "decision", decision, "error", err)
	}
	r.mu.Lock()
	r.mu.saved[decision] = one
	r.mu.Unlock()
}

func (r *rollouts) settleOne(ctx context.Context, decision string) error {
	r.op.Lock()
	defer r.op.Unlock()
	one := r.of(decision) // it may have changed
	if one == nil || one.CanaryVersion == 0 || one.CanaryVersion != r.current(one.Model) {
		return nil
	}
	r.log.Info("the canary is the current version now", "decision", decision, "model", one.Model, "version", one.CanaryVersion)
	if one.ShadowVersion == 0 || one.ShadowVersion == one.CanaryVersion {
		_, err := r.endLocked(ctx, decision)
		return err
	}
	one.CanaryVersion, one.Share = 0, 0
	if err := r.front.SetRollout(one.Rollout); err != nil {
		return err
	}
	return r.save(decision, one)
}

// note puts a change into the audit trail, in the words of console.
func (r *rollouts) note(e console.Entry) error {
	e.Time = time.Now().UTC()
	return r.audit.Append(e)
}

// replaceSynced writes a file beside path, makes it durable and puts it in place.
func replaceSynced(path string, text []byte) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // the error that led here matters more
		}
	}()
	_, err = file.Write(text)
	if err = errors.Join(err, file.Chmod(0o644), file.Sync(), file.Close()); err != nil {
		return err
	}
	if err = os.Rename(file.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
