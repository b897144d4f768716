// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// ManifestSuffix ends the name of a manifest, behind that of its training set.
const ManifestSuffix = ".manifest.json"

// manifestFormat is the version of the format.
const manifestFormat = 1

// ErrManifest means that a file is no manifest of this version, or was changed.
var ErrManifest = errors.New("not a sound manifest")

// Manifest says what a training set was made of, so that it can be made again: equal
// manifests but for Output.Path mean equal bytes. Times are RFC 3339, hashes SHA-256 in
// hexadecimal.
type Manifest struct {
	Format int `json:"format"`
	// Version is that of the library.
	Version string `json:"version"`
	Service string `json:"service"`
	// ServiceHash and DefinitionsHash are of what the definitions mean.
	ServiceHash     string       `json:"service_hash"`
	DefinitionsHash string       `json:"definitions_hash"`
	Labels          LabelsAsked  `json:"labels"`
	From            string       `json:"from,omitempty"`
	To              string       `json:"to,omitempty"`
	AsOf            string       `json:"as_of,omitempty"`
	Hindsight       bool         `json:"hindsight,omitempty"`
	Sample          Sample       `json:"sample"`
	Inputs          []InputRead  `json:"inputs"`
	Log             *LogRead     `json:"log,omitempty"`
	Sources         []SourceRead `json:"sources"`
	Rows            Rows         `json:"rows"`
	Refused         []Refused    `json:"refused,omitempty"`
	Columns         []Column     `json:"columns"`
	Output          Output       `json:"output"`
	// PartOf is the Hash of the manifest of the training set that this is a part of, and Part
	// says which; see WritePart.
	PartOf string `json:"part_of,omitempty"`
	Part   string `json:"part,omitempty"`
	// Hash is of all of the above, as compact JSON with an empty Hash.
	Hash string `json:"hash"`
}

// LabelsAsked is Labels in a manifest.
type LabelsAsked struct {
	Labels
	Format string `json:"format,omitempty"`
}

// InputRead is a file or query that was read.
type InputRead struct {
	// Source is empty for a file of labels.
	Source string `json:"source,omitempty"`
	Format string `json:"format"`
	Path   string `json:"path,omitempty"`
	Query  string `json:"query,omitempty"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// LogRead says what was read of the event log: the records of the sources' streams before
// a place in the log.
type LogRead struct {
	Before  uint64 `json:"before"`
	Records int64  `json:"records"`
}

// Rows counts the rows of the labels.
type Rows struct {
	In  int64 `json:"in"`
	Out int64 `json:"out"`
	// Dropped counts those that are not in the training set, by reason.
	Dropped map[string]int64 `json:"dropped,omitempty"`
}

// Output is the training set.
type Output struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Rows   int64  `json:"rows"`
}

// stamp is a time in a manifest, empty for none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// manifest describes the run and writes it beside the output.
func (b *build) manifest(ctx context.Context) (*Manifest, error) {
	o := &b.o
	service, definitions := b.service.Hash(), o.Catalog.Hash
	m := &Manifest{
		Format: manifestFormat, Version: o.Version, Service: o.Service, ServiceHash: hex.EncodeToString(service[:]),
		DefinitionsHash: hex.EncodeToString(definitions[:]), Labels: LabelsAsked{Labels: o.Labels}, From: stamp(o.From), To: stamp(o.To),
		AsOf: stamp(o.AsOf), Hindsight: o.Hindsight, Sample: o.Sample, Sources: b.events.list(), Refused: b.events.refused.list(),
		Columns: b.output.names, Rows: Rows{In: b.labels.count.seen.Load(), Dropped: map[string]int64{}},
	}
	if b.from == nil {
		m.Labels.Format = o.Labels.Format.String()
	}
	for r := range b.labels.count.dropped {
		if n := b.labels.count.dropped[r].Load(); n > 0 {
			m.Rows.Dropped[reasonNames[r]] = n
		}
	}
	if o.Log != nil {
		m.Log = &LogRead{Before: b.before}
		for _, s := range m.Sources {
			m.Log.Records += s.Records
		}
	}
	var err error
	if m.Inputs, err = b.hashInputs(ctx); err != nil {
		return nil, err
	}
	for i := range m.Inputs {
		m.Inputs[i].Path = cmp.Or(o.Names[m.Inputs[i].Path], m.Inputs[i].Path)
	}
	sum, size, err := source.HashFile(ctx, o.Output)
	if err != nil {
		return nil, err
	}
	m.Output = Output{Path: filepath.Base(o.Output), Bytes: size, SHA256: hex.EncodeToString(sum[:]), Rows: b.rows}
	m.Rows.Out = b.rows
	m.Hash = m.hash()
	return m, m.write(o.Output + ManifestSuffix)
}

// hashInputs hashes all that was read.
func (b *build) hashInputs(ctx context.Context) (all []InputRead, err error) {
	if b.from == nil {
		in, err := hashInput(ctx, &definition.Source{Inputs: []definition.Input{{Format: b.o.Labels.Format, Path: b.o.Labels.Path}}}, 0)
		if err != nil {
			return nil, fmt.Errorf("labels: %w", err)
		}
		all = append(all, in)
	}
	for _, s := range b.events.sources(b.from) {
		if b.o.NoInputs {
			break
		}
		for i := range s.Inputs {
			in, err := hashInput(ctx, s, i)
			if err != nil {
				return nil, err
			}
			all = append(all, in)
		}
	}
	return all, nil
}

func hashInput(ctx context.Context, s *definition.Source, i int) (InputRead, error) {
	in := &s.Inputs[i]
	sum, size, err := source.Hash(ctx, s, i)
	return InputRead{Source: s.Name, Format: in.Format.String(), Path: in.Path, Query: in.Query, Bytes: size, SHA256: hex.EncodeToString(sum[:])}, err
}

// hash is the hash of everything but Hash.
func (m *Manifest) hash() string {
	c := *m
	c.Hash = ""
	text, err := json.Marshal(&c)
	if err != nil {
		panic(fmt.Sprintf("dataset: a manifest cannot be written: %v", err)) // it has plain fields only
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// write replaces the file in one step.
func (m *Manifest) write(path string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	file, err := os.Create(path + ".new")
	if err != nil {
		return err
	}
	_, err = file.Write(append(text, '\n'))
	if err = errors.Join(err, file.Sync(), file.Close()); err == nil {
		err = os.Rename(path+".new", path)
	}
	return err
}

// manifestBytesMax bounds the size of a manifest.
const manifestBytesMax = 64 << 20

// ReadManifest reads a manifest and checks that it is as it was written. Errors wrap
// ErrManifest.
func ReadManifest(path string) (*Manifest, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > manifestBytesMax {
		return nil, fmt.Errorf("%s: %w: it has %d bytes, at most %d", path, ErrManifest, info.Size(), manifestBytesMax)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	m := new(Manifest)
	if err := json.Unmarshal(text, m); err != nil {
		return nil, fmt.Errorf("%s: %w: %w", path, ErrManifest, err)
	}
	if m.Format != manifestFormat {
		return nil, fmt.Errorf("%s: %w: its format is %d, this version reads %d", path, ErrManifest, m.Format, manifestFormat)
	}
	if m.Hash != m.hash() {
		return nil, fmt.Errorf("%s: %w: its hash is that of other content: it was changed by hand", path, ErrManifest)
	}
	return m, nil
}

// Difference is a file that is not what it was.
type Difference struct {
	// What is output, or input and its source.
	What string
	Path string
	// Reason says what is different.
	Reason string
}

// Check compares the files that a manifest names with what they were, and the definitions
// unless catalog is nil. What is read from a database or the log is not compared. dir is
// where the output is.
func Check(ctx context.Context, m *Manifest, dir string, catalog *definition.Catalog) ([]Difference, error) {
	var all []Difference
	compare := func(what, path, want string, size int64) error {
		sum, n, err := source.HashFile(ctx, path)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			all = append(all, Difference{What: what, Path: path, Reason: err.Error()})
		case hex.EncodeToString(sum[:]) != want:
			all = append(all, Difference{What: what, Path: path, Reason: fmt.Sprintf("its SHA-256 is %x over %d bytes, it was %s over %d", sum, n, want, size)})
		}
		return nil
	}
	if err := compare("output", filepath.Join(dir, m.Output.Path), m.Output.SHA256, m.Output.Bytes); err != nil {
		return nil, err
	}
	for _, in := range m.Inputs {
		if in.Query != "" {
			continue
		}
		if err := checkInput(ctx, &in, compare); err != nil {
			return nil, err
		}
	}
	if catalog != nil {
		all = append(all, checkDefinitions(m, catalog)...)
	}
	return all, nil
}

func checkInput(ctx context.Context, in *InputRead, compare func(what, path, want string, size int64) error) error {
	what := "labels"
	if in.Source != "" {
		what = "input of source " + in.Source
	}
	if _, err := os.Stat(in.Path); err == nil {
		return compare(what, in.Path, in.SHA256, in.Bytes)
	}
	s := &definition.Source{Name: in.Source, Inputs: []definition.Input{{Format: formatOf(in.Format), Path: in.Path}}}
	sum, _, err := source.Hash(ctx, s, 0) // a pattern
	if err == nil && hex.EncodeToString(sum[:]) == in.SHA256 {
		return nil
	}
	return compare(what, in.Path, in.SHA256, in.Bytes)
}

func formatOf(name string) definition.Format {
	for _, f := range []definition.Format{definition.CSV, definition.Parquet, definition.JSONLines} {
		if f.String() == name {
			return f
		}
	}
	return 0
}

func checkDefinitions(m *Manifest, c *definition.Catalog) (all []Difference) {
	s := c.Service(m.Service)
	if s == nil {
		return []Difference{{What: "definitions", Reason: "there is no service " + m.Service + " any more"}}
	}
	if h := s.Hash(); hex.EncodeToString(h[:]) != m.ServiceHash {
		all = append(all, Difference{What: "definitions", Reason: "service " + m.Service + " means something else now"})
	}
	return all
}

// sink writes a training set.
func (b *build) sink() (*source.ParquetWriter, error) {
	var columns []source.ParquetColumn
	for i, c := range b.output.names {
		columns = append(columns, source.ParquetColumn{Name: c.Name, Type: b.output.columns[i].t, Float32: c.Type == float32Name})
	}
	service := b.service.Hash()
	return source.NewParquetWriter(b.o.Output, columns, source.WriterOptions{Workers: b.o.Workers, Notes: []source.Note{
		{Key: "millrace.service", Value: b.o.Service}, {Key: "millrace.service_hash", Value: hex.EncodeToString(service[:])},
	}})
}
