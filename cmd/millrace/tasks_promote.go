// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/orchestrator"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
	"github.com/millrace-ml/millrace/training"
)

// promoteWith is what a promote task is told.
type promoteWith struct {
	// Model is its name in the repository.
	Model string `json:"model"`
	// Swap says what to do about a server: "if_running" (the default) swaps where one
	// answers, "required" fails without one, "never" only adds the version to the repository.
	Swap string `json:"swap"`
	// Server is its gRPC address; empty is the project's.
	Server string `json:"server"`
	// WithoutReport promotes what nobody has judged; the record says so.
	WithoutReport bool `json:"without_report"`
}

// How a promotion deals with a server.
const (
	swapIfRunning = "if_running"
	swapRequired  = "required"
	swapNever     = "never"
)

// promotion is the record of a decision to deploy, or not to.
type promotion struct {
	Time time.Time `json:"time"`
	// ProjectTime is what the project's clock said, where a replay moves it.
	ProjectTime time.Time `json:"project_time,omitzero"`

	Model    string `json:"model"`
	Decision string `json:"decision"` // promoted or kept; unchanged is not recorded
	// Version is the new one, Previous what was served before; 0 for none.
	Version  int64 `json:"version,omitempty"`
	Previous int64 `json:"previous,omitempty"`
	// By is who or what began the Run of the pipeline, and Alarm the id of the alarm if one did.
	By    string `json:"by"`
	Alarm string `json:"alarm,omitempty"`
	Run   string `json:"run"`
	// Report is the SHA-256 of report.json, Verdict what it says, Reasons why not.
	Report  string   `json:"report,omitempty"`
	Verdict string   `json:"verdict"`
	Reasons []string `json:"reasons,omitempty"`
	// SHA256 is that of model.onnx.
	SHA256 string `json:"sha256"`
	// Served says whether a server was told, and Rollback how to go back.
	Served   string `json:"served,omitempty"`
	Rollback string `json:"rollback,omitempty"`
}

const (
	decisionPromoted = "promoted"
	decisionKept     = "kept"
	// The model is the one that is served, and how it came there is on record.
	decisionUnchanged = "unchanged"
)

// promotionsFile is where the records are, in the state folder: a line of JSON each.
const promotionsFile = "promotions.jsonl"

func (h *taskHost) promoteKind() orchestrator.Kind {
	return orchestrator.Kind{
		Name: "promote", Doc: "puts a model that passed into the repository and into service, and records the decision", Version: taskVersion, Uncached: true,
		Inputs: []orchestrator.Port{
			{Name: "model", Doc: "a folder with model.onnx"},
			{Name: "report", Optional: true, Doc: "the report that decides, as evaluate writes it"},
			{Name: "reference", Optional: true, Doc: "what monitors compare production with, as reference writes it"},
		},
		Outputs: []orchestrator.Port{{Name: "record", File: "record.json", Optional: true, Doc: "the decision, as JSON"}},
		Decode: func(with []byte) (orchestrator.Task, error) {
			w := promoteWith{Swap: swapIfRunning}
			if err := decodeWith(with, &w); err != nil {
				return nil, err
			}
			if err := checkModelName(w.Model); err != nil {
				return nil, fmt.Errorf("with.model: %w", err)
			}
			if w.Swap != swapIfRunning && w.Swap != swapRequired && w.Swap != swapNever {
				return nil, fmt.Errorf("with.swap: %q is none of %s, %s, %s", w.Swap, swapIfRunning, swapRequired, swapNever)
			}
			return orchestrator.TaskFunc(func(ctx context.Context, c *orchestrator.Call) error { return h.promote(ctx, c, &w) }), nil
		},
	}
}

// checkModelName refuses what is no folder right within a repository of models.
func checkModelName(name string) error {
	switch {
	case name == "":
		return errors.New("it is missing: the name of the model in the repository")
	case !filepath.IsLocal(name) || name == "." || strings.ContainsAny(name, "/\\\x00"):
		return fmt.Errorf("%q is no name of a model: it names a folder in the repository", name)
	}
	return nil
}

func (h *taskHost) promote(ctx context.Context, c *orchestrator.Call, w *promoteWith) error {
	p := &promotion{Time: time.Now().UTC(), Model: w.Model, Run: c.Run, Decision: decisionKept, Verdict: "no report"}
	if h.now != nil {
		p.ProjectTime = h.now().UTC()
	}
	p.begunBy(h.by, c.Trigger)
	model, err := os.ReadFile(filepath.Join(c.Inputs["model"], "model.onnx"))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(model)
	p.SHA256 = hex.EncodeToString(sum[:])
	if err := p.judge(c.Inputs["report"], w); err != nil {
		return err
	}
	switch {
	case len(p.Reasons) > 0:
	case h.dry:
		p.Reasons = []string{"this is a trial: nothing is promoted"}
	default:
		if err := h.deploy(ctx, c, w, p); err != nil {
			return err
		}
	}
	if !h.dry && p.Decision != decisionUnchanged {
		if err := h.record(p); err != nil {
			return err
		}
	}
	return p.tell(c)
}

// begunBy says what began the run: somebody, unless it was a trigger or a schedule.
func (p *promotion) begunBy(who string, trigger map[string]any) {
	p.By = who
	switch on, _ := trigger["on"].(string); on {
	case "alarm":
		p.By = on
		if ids := orchestrator.AlarmsOf(trigger); len(ids) > 0 {
			p.Alarm = ids[0]
		}
	case "schedule", "file", "labels", "webhook", "backfill":
		p.By = on
	}
}

// judge reads the report. Without one, or with one that does not pass, the reasons say why
// nothing is promoted.
func (p *promotion) judge(dir string, w *promoteWith) error {
	if dir == "" {
		if !w.WithoutReport {
			p.Reasons = []string{"there is no report; set without_report to promote all the same"}
		}
		return nil
	}
	path := filepath.Join(dir, "report.json")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(text)
	p.Report = hex.EncodeToString(sum[:])
	r, err := report.ReadJSON(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.Verdict = string(r.Verdict)
	if r.Model.SHA256 == "" {
		return fmt.Errorf("%w: the report judges %s, and does not say which model that is", orchestrator.ErrPermanent, r.Model.Name)
	}
	if r.Model.SHA256 != p.SHA256 {
		return fmt.Errorf("%w: the report judges the model %.12s, this one is %.12s", orchestrator.ErrPermanent, r.Model.SHA256, p.SHA256)
	}
	for _, g := range r.Gates {
		if !g.Holds && !g.Warning {
			p.Reasons = append(p.Reasons, g.Name+": "+g.Reason)
		}
	}
	if r.Verdict == report.NoGates && !w.WithoutReport {
		p.Reasons = append(p.Reasons, "the evaluation has no gates, so nothing was decided")
	} else if r.Verdict == report.Fail && len(p.Reasons) == 0 {
		p.Reasons = []string{"the report's verdict is fail"}
	}
	return nil
}

// deploy adds the version to the repository and swaps it in. A swap that fails takes the
// version out again.
func (h *taskHost) deploy(ctx context.Context, c *orchestrator.Call, w *promoteWith, p *promotion) error {
	dir := filepath.Join(h.project.Models, w.Model)
	address := cmp.Or(w.Server, h.grpcAddress())
	previous, err := h.servedVersion(ctx, address, w.Model)
	if err != nil {
		if previous, err = highestModelVersion(dir); err != nil {
			return err
		}
	}
	installed, fresh, err := installVersion(c.Inputs["model"], c.Inputs["reference"], dir, p.SHA256)
	if err != nil {
		return err
	}
	p.Version = installed
	if previous != installed {
		p.Previous = previous
	} else {
		known, err := h.promotedBefore(p)
		if err != nil {
			return err
		}
		if known {
			p.Decision, p.Reasons = decisionUnchanged, []string{fmt.Sprintf("version %d of %s is this model, and is served", installed, w.Model)}
			return nil
		}
		if p.Previous, err = versionBelow(dir, installed); err != nil { // this run did it, and was killed before it was recorded
			return err
		}
	}
	p.Served = "not asked for"
	if w.Swap != swapNever {
		p.Served, err = h.swap(ctx, w, address, installed)
		if err != nil {
			if fresh {
				err = errors.Join(err, os.RemoveAll(filepath.Join(dir, strconv.FormatInt(installed, 10))))
			}
			return fmt.Errorf("version %d of %s was not put into service: %w", installed, w.Model, err)
		}
	}
	p.Decision = decisionPromoted
	if p.Previous > 0 {
		p.Rollback = fmt.Sprintf("millrace models swap %s --version %d", w.Model, p.Previous)
		if !isDefaultServer(address) {
			p.Rollback += " --url " + address
		}
	}
	fmt.Fprintf(c.Log, "%s version %d: %s\n", w.Model, installed, p.Served)
	return nil
}

// promotedBefore says whether another run has put this very model into service.
func (h *taskHost) promotedBefore(p *promotion) (bool, error) {
	all, err := readPromotions(h.project.State)
	return slices.ContainsFunc(all, func(old promotion) bool {
		return old.Model == p.Model && old.SHA256 == p.SHA256 && old.Version == p.Version && old.Decision == decisionPromoted && old.Run != p.Run
	}), err
}

// versionBelow is the highest version of a model below another one, 0 if there is none.
func versionBelow(dir string, number int64) (int64, error) {
	all, err := modelVersions(dir)
	below := int64(0)
	for _, n := range all {
		if n < number {
			below = max(below, n)
		}
	}
	return below, err
}

// installVersion copies a model into a repository as the next version, with the reference
// for its monitors unless that is empty. A version that is there already, as after a crash
// behind this step, is taken as it is, but for a reference that it lacks.
func installVersion(from, reference, dir, digest string) (number int64, fresh bool, err error) {
	highest, err := highestModelVersion(dir)
	if err != nil {
		return 0, false, err
	}
	if highest > 0 {
		path := filepath.Join(dir, strconv.FormatInt(highest, 10), "model.onnx")
		if text, err := os.ReadFile(path); err == nil {
			if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) == digest {
				have := filepath.Join(filepath.Dir(path), monitor.ReferenceFileName)
				if _, err := os.Stat(have); !errors.Is(err, fs.ErrNotExist) {
					return highest, false, err
				}
				return highest, false, copyReference(reference, filepath.Dir(path))
			}
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return 0, false, err
	}
	if err := training.RemoveStaged(dir, time.Now()); err != nil {
		return 0, false, err
	}
	stage, err := os.MkdirTemp(dir, ".staged-")
	if err != nil {
		return 0, false, err
	}
	if err = errors.Join(os.Chmod(stage, 0o755), copyFolder(from, stage), copyReference(reference, stage), syncDir(stage)); err == nil {
		err = os.Rename(stage, filepath.Join(dir, strconv.FormatInt(highest+1, 10)))
	}
	if err != nil {
		return 0, false, errors.Join(err, os.RemoveAll(stage))
	}
	return highest + 1, true, syncDir(dir)
}

// syncDir makes the names in a folder durable.
func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// copyFolder copies plain files, durably.
func copyFolder(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() {
			return fmt.Errorf("%s: %s is no plain file", from, e.Name())
		}
		text, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if err := writeSynced(filepath.Join(to, e.Name()), text, os.O_CREATE|os.O_EXCL); err != nil {
			return err
		}
	}
	return nil
}

// copyReference copies a reference beside a model, durably.
func copyReference(from, dir string) error {
	if from == "" {
		return nil
	}
	text, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return replaceSynced(filepath.Join(dir, monitor.ReferenceFileName), text)
}

func writeSynced(path string, text []byte, flags int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|flags, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// askServer calls the admin service of the project's server.
func (h *taskHost) askServer(ctx context.Context, address string, call func(context.Context, server) error) error {
	o := clientOptions{url: address, timeout: time.Minute, token: tokenOptions{secret: h.tokenFor(address)}}
	ctx, conn, done, err := o.connect(ctx)
	if err != nil {
		return err
	}
	defer done()
	return call(ctx, newServer(conn))
}

// servedVersion is the version of a model that is in service.
func (h *taskHost) servedVersion(ctx context.Context, address, model string) (number int64, err error) {
	err = h.askServer(ctx, address, func(ctx context.Context, s server) error {
		answer, err := s.admin.ListModels(ctx, &millracev1.ListModelsRequest{Model: model})
		if err != nil {
			return err
		}
		for _, v := range answer.Versions {
			if v.Current {
				number = v.Version
			}
		}
		return nil
	})
	return number, err
}

// swap puts a version into service, and says what came of it.
func (h *taskHost) swap(ctx context.Context, w *promoteWith, address string, number int64) (string, error) {
	err := h.askServer(ctx, address, func(ctx context.Context, s server) error {
		_, err := s.admin.SwapVersion(ctx, &millracev1.SwapVersionRequest{Model: w.Model, Version: number, KeepOld: true})
		return err
	})
	switch {
	case err == nil:
		return "swapped in by the server at " + address, nil
	case status.Code(err) == codes.Unavailable && w.Swap == swapIfRunning:
		// A version that somebody rolled back to must not keep this one from service.
		if err := repository.Unpin(filepath.Join(h.project.State, servedFile), w.Model); err != nil {
			return "", err
		}
		return "no server answers at " + address + "; it is served from the next start on", nil
	case status.Code(err) == codes.Unauthenticated || status.Code(err) == codes.PermissionDenied:
		return "", fmt.Errorf("%w: %s: %s; %s", orchestrator.ErrPermanent, address, status.Convert(err).Message(), tokenAdvice)
	}
	return "", err
}

// isDefaultServer says whether an address is what commands here ask by default.
func isDefaultServer(address string) bool {
	host, port, err := net.SplitHostPort(address)
	return err == nil && (host == "localhost" || host == "127.0.0.1") && port == strconv.Itoa(defaultGRPCPort)
}

// record appends the decision to the project's records. After a crash behind it the same
// run does not record it twice.
func (h *taskHost) record(p *promotion) error {
	all, err := readPromotions(h.project.State)
	if err != nil {
		return err
	}
	for _, old := range all {
		if old.Run == p.Run && old.Model == p.Model && old.SHA256 == p.SHA256 && old.Decision == p.Decision {
			return nil
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(h.project.State, 0o755); err != nil {
		return err
	}
	path := filepath.Join(h.project.State, promotionsFile)
	if torn, err := endsTorn(path); err != nil {
		return err
	} else if torn { // by a crash: what follows is a line of its own
		text = append([]byte{'\n'}, text...)
	}
	return writeSynced(path, append(text, '\n'), os.O_CREATE|os.O_APPEND)
}

// endsTorn says whether a file ends within a line.
func endsTorn(path string) (bool, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	last := make([]byte, 1)
	_, err = f.ReadAt(last, info.Size()-1)
	return last[0] != '\n', err
}

// readPromotions reads the records, the oldest first. A line that a crash cut short is
// left out.
func readPromotions(state string) ([]promotion, error) {
	f, err := os.Open(filepath.Join(state, promotionsFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	var all []promotion
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p promotion
		if json.Unmarshal(lines.Bytes(), &p) == nil {
			all = append(all, p)
		}
	}
	return all, lines.Err()
}

// tell writes the record where the pipeline can use it.
func (p *promotion) tell(c *orchestrator.Call) error {
	for _, reason := range p.Reasons {
		fmt.Fprintf(c.Log, "not promoted: %s\n", reason)
	}
	values := map[string]any{"promoted": p.Decision == decisionPromoted, "decision": p.Decision, "version": p.Version}
	if err := setAll(c, values); err != nil {
		return err
	}
	if c.Outputs["record"] == "" {
		return nil
	}
	text, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.Outputs["record"], append(text, '\n'), 0o644)
}
