// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/evaluation"
	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/training"
)

// trainWith is what a train task is told.
type trainWith struct {
	// Training is one of the project's.
	Training string `json:"training"`
	// Seed takes the place of the training's.
	Seed *uint64 `json:"seed"`
}

func (h *taskHost) trainKind() orchestrator.Kind {
	return orchestrator.Kind{
		Name: "train", Doc: "trains candidates, chooses the best and writes it as ONNX with its card and manifest", Version: taskVersion,
		Inputs:  []orchestrator.Port{{Name: "data", Doc: "a training set"}},
		Outputs: []orchestrator.Port{{Name: "model", Doc: "a folder with model.onnx, manifest.json, card.md and card.html"}},
		Decode: func(with []byte) (orchestrator.Task, error) {
			var w trainWith
			if err := decodeWith(with, &w); err != nil {
				return nil, err
			}
			if w.Training == "" {
				return nil, errors.New("with.training is missing: the name of a training of the project")
			}
			return orchestrator.TaskFunc(func(ctx context.Context, c *orchestrator.Call) error { return h.train(ctx, c, &w) }), nil
		},
		Fingerprint: h.trainFingerprint,
	}
}

// trainFingerprint stands for the training, and for the files that its programs are.
func (h *taskHost) trainFingerprint(ctx context.Context, f *orchestrator.Fingerprint) (string, error) {
	var w trainWith
	if err := decodeWith(f.With, &w); err != nil {
		return "", err
	}
	s, err := h.training(&w)
	if err != nil {
		return "", err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return "", err
	}
	hash := version + "\n" + string(text)
	for i := range s.Candidates {
		line, _ := s.Candidates[i].Parameters["program"].(string)
		for _, word := range strings.Fields(line) { // what a word with a blank names is not found
			word = strings.Trim(word, `"'`)
			if info, err := os.Stat(word); err != nil || !info.Mode().IsRegular() || info.Size() > programBytesMax {
				continue
			}
			digest, err := f.Hash(ctx, word)
			if err != nil {
				return "", err
			}
			hash += "\n" + digest
		}
	}
	return hash, nil
}

// programBytesMax bounds the files of a program that are looked at: larger ones are data.
const programBytesMax = 64 << 20

func (h *taskHost) training(w *trainWith) (*training.Spec, error) {
	if len(h.project.Trainings) == 0 {
		return nil, fmt.Errorf("the project has no trainings: name their files in %s, such as trainings: [training.yaml]", projectFile)
	}
	specs, err := training.Load(h.project.Trainings...)
	if err != nil {
		return nil, err
	}
	s := specs[w.Training]
	if s == nil {
		return nil, fmt.Errorf("with.training: there is no training %q%s", w.Training, didYouMean(w.Training, slices.Sorted(maps.Keys(specs))))
	}
	if w.Seed != nil {
		s.Seed = *w.Seed
	}
	return s, nil
}

func (h *taskHost) train(ctx context.Context, c *orchestrator.Call, w *trainWith) (err error) {
	s, err := h.training(w)
	if err != nil {
		return fmt.Errorf("%w: %w", orchestrator.ErrPermanent, err)
	}
	data, err := dataPath(c.Inputs["data"])
	if err != nil {
		return err
	}
	metrics, err := trainingMetrics(s)
	if err != nil {
		return fmt.Errorf("%w: %w", orchestrator.ErrPermanent, err)
	}
	log := slog.New(slog.NewTextHandler(c.Log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	o := training.Options{
		Spec: s, Data: data, DataName: c.InputDigests["data"] + "/" + training.DataFile, Output: filepath.Join(c.Work, "model"), Metrics: metrics, Backend: modelBackend(log),
		Version: version, Workers: h.workers, Logger: log,
		Progress: func(phase string, done, total int) { c.Progress(int64(done), int64(total), phase) },
	}
	if o.Runs, err = h.runsStore(ctx); err != nil {
		return err
	}
	defer closing(&err, o.Runs.Close)
	r, err := training.Build(ctx, o)
	if err != nil {
		return err
	}
	shown := *r
	shown.Path = "model.onnx" // where it is now it does not stay
	if err := (&trainOptions{}).print(c.Log, &shown); err != nil {
		return err
	}
	if err := os.Rename(r.Path, c.Outputs["model"]); err != nil {
		return err
	}
	values := map[string]any{"chosen": r.Chosen, "metric": r.Metric, "sha256": r.SHA256, "run": r.Run, "warnings": len(r.Warnings)}
	if !math.IsNaN(r.Value) {
		values["value"] = r.Value
	}
	return setAll(c, values)
}

func setAll(c *orchestrator.Call, values map[string]any) error {
	var err error
	for _, name := range slices.Sorted(maps.Keys(values)) {
		err = errors.Join(err, c.Set(name, values[name]))
	}
	return err
}

// evaluateWith is what an evaluate task is told.
type evaluateWith struct {
	// Evaluation is one of the project's.
	Evaluation string `json:"evaluation"`
	// Against is a model of the repository to compare with: the version that the server
	// serves, else the highest; NAME@VERSION is another. Empty is what the evaluation says.
	Against string `json:"against"`
	// Seed takes the place of that of the evaluation's bootstrap.
	Seed *uint64 `json:"seed"`
}

func (h *taskHost) evaluateKind() orchestrator.Kind {
	return orchestrator.Kind{
		Name: "evaluate", Doc: "judges a model, compares it with the one that is served, and decides by gates", Version: taskVersion,
		Inputs: []orchestrator.Port{
			{Name: "model", Doc: "a folder with model.onnx"}, {Name: "data", Doc: "rows with their truth"},
			{Name: "train", Optional: true, Doc: "what was learnt from, to look for leaks"},
		},
		Outputs: []orchestrator.Port{{Name: "report", Doc: "a folder with report.json, report.html, report.md and report.xml"}},
		Decode: func(with []byte) (orchestrator.Task, error) {
			var w evaluateWith
			if err := decodeWith(with, &w); err != nil {
				return nil, err
			}
			if w.Evaluation == "" {
				return nil, errors.New("with.evaluation is missing: the name of an evaluation of the project")
			}
			return orchestrator.TaskFunc(func(ctx context.Context, c *orchestrator.Call) error { return h.evaluate(ctx, c, &w) }), nil
		},
		Fingerprint: h.evaluateFingerprint,
	}
}

// evaluateFingerprint stands for the evaluation and the champion.
func (h *taskHost) evaluateFingerprint(ctx context.Context, f *orchestrator.Fingerprint) (string, error) {
	var w evaluateWith
	if err := decodeWith(f.With, &w); err != nil {
		return "", err
	}
	var hash strings.Builder
	hash.WriteString(version)
	for _, file := range h.project.Evaluations {
		digest, err := f.Hash(ctx, file)
		if err != nil {
			return "", err
		}
		hash.WriteString("\n" + digest)
	}
	champion, err := h.champion(ctx, w.Against)
	if err == nil && w.Against == "" {
		champion, err = h.namedChampion(w.Evaluation)
	}
	if err != nil || champion == "" {
		return hash.String(), err
	}
	digest, err := f.Hash(ctx, champion)
	return hash.String() + "\n" + digest, err
}

// namedChampion is the folder or file of the champion that an evaluation names itself: the
// folder of all versions where it does not say which one.
func (h *taskHost) namedChampion(name string) (string, error) {
	s, err := h.evaluationSpec(name)
	if err != nil {
		return "", err
	}
	path, _, _ := strings.Cut(s.Against, "@")
	return path, nil
}

func (h *taskHost) evaluationSpec(name string) (*evaluation.Spec, error) {
	var names []string
	for _, file := range h.project.Evaluations {
		specs, err := evaluation.LoadSpecs(file)
		if err != nil {
			return nil, err
		}
		if s, ok := specs[name]; ok {
			return &s, nil
		}
		names = append(names, slices.Sorted(maps.Keys(specs))...)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the project has no evaluations: name their files in %s, such as evaluations: [evaluation.yaml]", projectFile)
	}
	return nil, fmt.Errorf("with.evaluation: there is no evaluation %q%s", name, didYouMean(name, names))
}

func (h *taskHost) evaluate(ctx context.Context, c *orchestrator.Call, w *evaluateWith) error {
	s, err := h.evaluationSpec(w.Evaluation)
	if err != nil {
		return fmt.Errorf("%w: %w", orchestrator.ErrPermanent, err)
	}
	s.Model = filepath.Join(c.Inputs["model"], "model.onnx")
	if w.Seed != nil {
		s.Bootstrap.Seed = *w.Seed
	}
	if s.Data, err = dataPath(c.Inputs["data"]); err != nil {
		return err
	}
	if train := c.Inputs["train"]; train != "" {
		if s.Leakage.Train, err = dataPath(train); err != nil {
			return err
		}
	}
	if w.Against != "" {
		champion, err := h.champion(ctx, w.Against)
		if err != nil {
			return err
		}
		if champion == "" {
			fmt.Fprintf(c.Log, "the repository has no version of %s yet: there is nothing to compare with\n", w.Against)
		}
		s.Against = champion
	}
	r, err := evaluation.Evaluate(ctx, evaluation.Options{
		Spec: *s, Backend: modelBackend(slog.New(slog.DiscardHandler)), Workers: h.workers, Version: version,
		Progress: func(phase string, done, total int64) { c.Progress(done, total, phase) },
	})
	if err != nil {
		return err
	}
	if err := writeReports(c.Outputs["report"], r); err != nil {
		return err
	}
	if err := report.WriteText(c.Log, r); err != nil {
		return err
	}
	values := map[string]any{"verdict": string(r.Verdict), "rows": r.Data.Rows}
	for _, m := range r.Metrics[:min(len(r.Metrics), 20)] {
		if name := valueName(m.Name); m.Value.Value != nil {
			values[name] = *m.Value.Value
		}
	}
	return setAll(c, values)
}

var notInNames = regexp.MustCompile(`[^A-Za-z0-9_]+`)

// valueName is a metric's name as conditions can write it: precision@100 is precision_100.
func valueName(metric string) string { return notInNames.ReplaceAllString(metric, "_") }

// writeReports writes a report in all its forms.
func writeReports(dir string, r *report.Report) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer, *report.Report) error{
		"report.json": report.WriteJSON, "report.html": report.WriteHTML, "report.md": report.WriteMarkdown, "report.xml": report.WriteJUnit,
	} {
		f, err := os.Create(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := errors.Join(write(f, r), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// champion is the folder of the version of a model that is served, or of the highest one
// in the repository where no server answers; empty if there is none.
func (h *taskHost) champion(ctx context.Context, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	model, text, explicit := strings.Cut(name, "@")
	if err := checkModelName(model); err != nil {
		return "", fmt.Errorf("%w: with.against: %w", orchestrator.ErrPermanent, err)
	}
	number := int64(0)
	if explicit {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return "", fmt.Errorf("%w: with.against %q: give MODEL or MODEL@VERSION", orchestrator.ErrPermanent, name)
		}
		number = n
	} else if served, err := h.servedVersion(ctx, h.grpcAddress(), model); err == nil {
		number = served
	}
	if number == 0 {
		highest, err := highestModelVersion(filepath.Join(h.project.Models, model))
		if err != nil || highest == 0 {
			return "", err
		}
		number = highest
	}
	dir := filepath.Join(h.project.Models, model, strconv.FormatInt(number, 10))
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("champion %s: %w", name, err)
	}
	return dir, nil
}

// httpAddress is the same of its HTTP port.
func (h *taskHost) httpAddress() string {
	if h.http != "" {
		return h.http
	}
	host := h.project.Server.Address
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	return fmt.Sprintf("%s:%d", host, cmp.Or(h.project.Server.HTTP, defaultHTTPPort))
}

// highestModelVersion is 0 if a model has none.
func highestModelVersion(dir string) (int64, error) {
	all, err := modelVersions(dir)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return slices.Max(all), nil
}

// modelVersions are the numbers of the versions in a model's folder, in no order.
func modelVersions(dir string) ([]int64, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var all []int64
	for _, e := range entries {
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && e.IsDir() && n > 0 {
			all = append(all, n)
		}
	}
	return all, nil
}

// grpcAddress is where the project's server is, as seen from this machine.
func (h *taskHost) grpcAddress() string {
	if h.server != "" {
		return h.server
	}
	host := h.project.Server.Address
	if host == "" || host == "0.0.0.0" || host == "::" {
		host = "localhost"
	}
	return fmt.Sprintf("%s:%d", host, cmp.Or(h.project.Server.GRPC, defaultGRPCPort))
}
