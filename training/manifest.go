// SPDX-License-Identifier: Apache-2.0

package training

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"

	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/training/learn"
)

// ManifestFile is the name of a manifest within its version's folder.
const ManifestFile = "manifest.json"

// ErrManifest means that a file is no sound manifest, or that something is not as it says.
var ErrManifest = errors.New("not as the manifest says")

const manifestVersion = 1

// Manifest says what a model was made of, so that it can be made again, byte for byte. It
// has no time of day.
type Manifest struct {
	Version int   `json:"version"`
	Spec    *Spec `json:"spec"`
	// Candidate was chosen, with its Method and Parameters.
	Candidate  string       `json:"candidate"`
	Method     string       `json:"method"`
	Parameters learn.Values `json:"parameters"`
	Data       ManifestData `json:"data"`
	// Versions are those of the program, the compiler and the libraries that compute; CPU is
	// the level whose kernels ran, since rounding may differ between levels.
	Versions map[string]string `json:"versions"`
	CPU      string            `json:"cpu"`
	Model    ManifestFileEntry `json:"model"`
	// Candidates are how all did.
	Candidates []CandidateScore `json:"candidates"`
	// Hash is of all of the above, as compact JSON with an empty Hash.
	Hash string `json:"hash"`
}

// ManifestData is what was learnt from.
type ManifestData struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Bytes  int64  `json:"bytes"`
	Rows   int    `json:"rows"`
	// Manifest is the hash of the training set's own manifest.
	Manifest string `json:"manifest,omitempty"`
}

// ManifestFileEntry is a file of the artefact.
type ManifestFileEntry struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Bytes  int    `json:"bytes"`
}

// libraries are those whose versions change what a fit computes.
var libraries = []string{
	"gonum.org/v1/gonum", "gorgonia.org/gorgonia", "gorgonia.org/tensor", "github.com/c-bata/goptuna",
	"github.com/parquet-go/parquet-go",
}

func versionsOf(program string) map[string]string {
	versions := map[string]string{"millrace": program, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return versions
	}
	for _, setting := range info.Settings {
		if setting.Key == "vcs.revision" || setting.Key == "vcs.modified" {
			versions[setting.Key] = setting.Value
		}
	}
	for _, dependency := range info.Deps {
		for _, name := range libraries {
			if dependency.Path == name {
				versions[name] = dependency.Version
			}
		}
	}
	return versions
}

func (b *builder) manifest(r *Result, methodName string) *Manifest {
	m := &Manifest{
		Version: manifestVersion, Spec: b.Spec, Candidate: r.Chosen, Method: methodName, Parameters: r.Parameters,
		Data:     ManifestData{Path: b.DataName, SHA256: b.data.SHA256, Bytes: b.data.Bytes, Rows: b.data.Table.Rows()},
		Versions: versionsOf(b.Version), CPU: cpu.Active().String(),
		Model: ManifestFileEntry{Path: modelFile, SHA256: r.SHA256, Bytes: r.Bytes},
	}
	for _, c := range r.Candidates {
		c.Seconds = 0 // differs from run to run
		m.Candidates = append(m.Candidates, c)
	}
	if b.fixed != nil {
		m.Candidates = b.fixed.Candidates
	}
	m.Data.Manifest = b.data.manifestHash()
	return m
}

// seal computes the hash.
func (m *Manifest) seal() error {
	sum, err := m.sum()
	m.Hash = sum
	return err
}

func (m *Manifest) sum() (string, error) {
	c := *m
	c.Hash = ""
	data, err := json.Marshal(&c)
	return digestOf(data), err
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// ReadManifest reads a manifest and checks that it is as it was written.
func ReadManifest(path string) (*Manifest, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := &Manifest{}
	if err := json.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrManifest, err)
	}
	if m.Version != manifestVersion || m.Spec == nil {
		return nil, fmt.Errorf("%s: %w: version %d is not read by this program", path, ErrManifest, m.Version)
	}
	sum, err := m.sum()
	if err == nil && sum != m.Hash {
		err = fmt.Errorf("%s: %w: the file was changed after it was written", path, ErrManifest)
	}
	return m, err
}

// checkData refuses another training set than that of the manifest.
func (m *Manifest) checkData(d *Data) error {
	if d.SHA256 != m.Data.SHA256 {
		return fmt.Errorf("%w: %s has the hash %.12s; the model was made of %.12s", ErrManifest, d.Path, d.SHA256, m.Data.SHA256)
	}
	if hash := d.manifestHash(); hash != m.Data.Manifest {
		return fmt.Errorf("%w: the manifest beside %s has the hash %.12q; that of the training set had %.12q", ErrManifest, d.Path, hash, m.Data.Manifest)
	}
	return nil
}

// manifestHash is that of the training set's own manifest, empty if it has none.
func (d *Data) manifestHash() string {
	if d.Manifest == nil {
		return ""
	}
	return d.Manifest.Hash
}

// Reproduce makes the model of a manifest again: the chosen candidate is fitted on the
// same data. The error wraps ErrManifest if the model's bytes differ, and says what else
// does. Of o, Data may name another place of the training set; Spec is the manifest's.
func Reproduce(ctx context.Context, m *Manifest, o Options) (*Result, error) {
	o.Spec, o.fixed = m.Spec, m
	if o.Data == "" {
		o.Data = m.Data.Path
	}
	o.Metrics = append(o.Metrics, Metric{Name: m.Spec.Metric}) // named only: nothing is judged
	r, err := Build(ctx, o)
	if err != nil || r.SHA256 == m.Model.SHA256 {
		return r, err
	}
	problem := fmt.Errorf("%w: the model has the hash %.12s, it had %.12s", ErrManifest, r.SHA256, m.Model.SHA256)
	versions := versionsOf(o.Version)
	for _, name := range slices.Sorted(maps.Keys(versions)) {
		if version := versions[name]; m.Versions[name] != version {
			problem = fmt.Errorf("%w; %s is %s, it was %s", problem, name, version, m.Versions[name])
		}
	}
	if level := cpu.Active().String(); level != m.CPU {
		problem = fmt.Errorf("%w; the CPU level is %s, it was %s (MILLRACE_CPU sets it)", problem, level, m.CPU)
	}
	return r, problem
}

// manifestPath is that of a version's folder.
func manifestPath(dir string) string { return filepath.Join(dir, ManifestFile) }
