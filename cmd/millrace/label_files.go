// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"

	"github.com/millrace-ml/millrace/labeling"
	"github.com/millrace-ml/millrace/labeling/labelstudio"
)

// Formats of exports.
const (
	exportLabelStudio = "labelstudio"
	exportJSONL       = "jsonl"
	exportParquet     = "parquet"
)

// labelRow is what somebody said of a task, as exports have it. A task without anything
// said has none.
type labelRow struct {
	Project      string    `json:"project" parquet:"project,dict"`
	Task         string    `json:"task" parquet:"task"`
	PredictionID string    `json:"prediction_id,omitempty" parquet:"prediction_id"`
	ItemTime     time.Time `json:"item_time" parquet:"item_time,timestamp(microsecond)"`
	Status       string    `json:"status" parquet:"status,dict"`
	Annotator    string    `json:"annotator" parquet:"annotator,dict"`
	Kind         string    `json:"kind" parquet:"kind,dict"`
	Label        string    `json:"label,omitempty" parquet:"label,dict"`
	Value        rawJSON   `json:"value,omitempty" parquet:"value"`
	Final        string    `json:"final,omitempty" parquet:"final,dict"`
	At           time.Time `json:"at" parquet:"at,timestamp(microsecond)"`
	LeadMS       int64     `json:"lead_ms" parquet:"lead_ms"`
	Comment      string    `json:"comment,omitempty" parquet:"comment"`
	Gold         bool      `json:"gold" parquet:"gold"`
	Strategy     string    `json:"strategy,omitempty" parquet:"strategy,dict"`
	Propensity   *float64  `json:"propensity,omitempty" parquet:"propensity,optional"`
	Model        string    `json:"model,omitempty" parquet:"model,dict"`
	ModelVersion string    `json:"model_version,omitempty" parquet:"model_version,dict"`
	Prediction   string    `json:"prediction,omitempty" parquet:"prediction,dict"`
	Score        *float64  `json:"score,omitempty" parquet:"score,optional"`
	Data         rawJSON   `json:"data" parquet:"data"`
}

// rawJSON is JSON as it is, in Parquet a text.
type rawJSON string

// MarshalJSON is the text itself.
func (r rawJSON) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("null"), nil
	}
	return []byte(r), nil
}

// labelText is a value for people and columns: the label, the number, or JSON.
func labelText(v *labeling.Value) string {
	switch {
	case v == nil:
		return ""
	case len(v.Choices) == 1 && v.Number == nil && len(v.Spans) == 0:
		return v.Choices[0]
	case v.Number != nil:
		return number(*v.Number)
	}
	return v.Key()
}

// rowsOf are the rows of a task.
func rowsOf(project string, v *labeling.TaskView) (rows []labelRow) {
	t := &v.Task
	base := labelRow{Project: project, Task: t.ID, PredictionID: predictionOf(t.Data), ItemTime: t.At, Status: string(v.Status), Final: labelText(v.Final), Gold: t.Gold != nil, Data: rawJSON(t.Data)}
	if c := t.Chosen; c != nil {
		base.Strategy = c.Strategy
		if c.Propensity > 0 {
			base.Propensity = &c.Propensity
		}
	}
	if g := t.Prediction; g != nil {
		base.Model, base.ModelVersion, base.Prediction, base.Score = g.Model, g.Version, labelText(&g.Value), &g.Score
	}
	for i := range v.Annotations {
		a, row := &v.Annotations[i], base
		if a.Kind == labeling.KindPostpone {
			continue
		}
		row.Annotator, row.Kind, row.At, row.LeadMS, row.Comment = a.Annotator, a.Kind, a.At, a.Lead.Milliseconds(), a.Comment
		if a.Kind != labeling.KindSkip {
			row.Label, row.Value = labelText(&a.Value), rawJSON(a.Value.Key())
		}
		rows = append(rows, row)
	}
	return rows
}

// export writes all of a project, task by task.
func (a *labelAPI) export(w http.ResponseWriter, r *http.Request, p *labelingProject, _ string) error {
	format := cmp.Or(r.URL.Query().Get("format"), exportLabelStudio)
	var write func(io.Writer) error
	switch format {
	case exportLabelStudio:
		w.Header().Set("Content-Type", "application/json")
		write = func(out io.Writer) error {
			return labelstudio.Export(out, a.desk.store, p.Name, p.studio(r.URL.Query().Get("field")))
		}
	case exportJSONL:
		w.Header().Set("Content-Type", "application/x-ndjson")
		write = func(out io.Writer) error { return a.desk.exportLines(out, p.Name) }
	case exportParquet:
		w.Header().Set("Content-Type", "application/vnd.apache.parquet")
		write = func(out io.Writer) error { return a.desk.exportParquet(out, p.Name) }
	default:
		return fmt.Errorf("%w: format: %.40q is none of %s, %s, %s", errLabelRequest, format, exportLabelStudio, exportJSONL, exportParquet)
	}
	w.Header().Set("Trailer", exportTrailer)
	if err := write(w); err != nil { // the status is sent: the trailer says that the end is missing
		w.Header().Set(exportTrailer, err.Error())
		return nil
	}
	w.Header().Set(exportTrailer, "complete")
	return nil
}

// exportTrailer says whether all of an export came.
const exportTrailer = "Millrace-Export"

func (d *labelDesk) exportLines(w io.Writer, project string) error {
	b := bufio.NewWriter(w)
	e := json.NewEncoder(b)
	err := d.store.Each(project, func(v *labeling.TaskView) error {
		for _, row := range rowsOf(project, v) {
			if err := e.Encode(row); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, b.Flush())
}

// exportRowGroup is how many rows are in memory before they are written.
const exportRowGroup = 10_000

func (d *labelDesk) exportParquet(w io.Writer, project string) error {
	out := parquet.NewGenericWriter[labelRow](w, parquet.Compression(&parquet.Zstd), parquet.MaxRowsPerRowGroup(exportRowGroup))
	err := d.store.Each(project, func(v *labeling.TaskView) error {
		_, err := out.Write(rowsOf(project, v))
		return err
	})
	return errors.Join(err, out.Close())
}

// studio is the configuration of Label Studio for a project, which shows a field.
func (p *labelingProject) studio(field string) labelstudio.Config {
	return labelstudio.NewConfig(p.Labels, cmp.Or(field, p.Labels.Text, "prediction_id"))
}

func (a *labelAPI) studioConfig(w http.ResponseWriter, r *http.Request, p *labelingProject, _ string) error {
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	c := p.studio(r.URL.Query().Get("field"))
	_, err := io.WriteString(w, c.XML())
	return err
}

// importAnswer sums an import up.
type importAnswer struct {
	Tasks       int `json:"tasks"`
	New         int `json:"new"`
	Same        int `json:"same"`
	Annotations int `json:"annotations"`
	// Error is why the rest was not taken; what is before it is stored.
	Error string `json:"error,omitempty"`
}

// importFile takes a file of Label Studio's tasks as it comes in; it is never held as a
// whole.
func (a *labelAPI) importFile(w http.ResponseWriter, r *http.Request, p *labelingProject, _ string) error {
	c := p.studio("")
	c.From = r.URL.Query().Get("control") // empty takes the results of any
	sum, err := labelstudio.Import(r.Context(), a.desk.store, p.Name, http.MaxBytesReader(w, r.Body, labelImportMax), c)
	out := importAnswer{Tasks: sum.Tasks, New: sum.Added.New, Same: sum.Added.Same, Annotations: sum.Annotations}
	if err != nil {
		out.Error = err.Error()
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(labelStatus(err))
	}
	return answerLabel(w, out)
}

// studioTypes are the kinds of results that a project takes, for messages.
var studioTypes = map[labeling.Kind]string{labeling.Single: "Choices", labeling.Multiple: "Choices", labeling.Number: "Number", labeling.Spans: "Labels"}

// sameLabels says how a configuration of Label Studio differs from a project.
func (p *labelingProject) sameLabels(c *labelstudio.Config) error {
	names := func(all []labeling.Label) (out []string) {
		for _, l := range all {
			out = append(out, l.Name)
		}
		slices.Sort(out)
		return out
	}
	if c.Labels.Kind != p.Labels.Kind || !slices.Equal(names(c.Labels.Labels), names(p.Labels.Labels)) {
		return fmt.Errorf("%w: the configuration needs %s with the labels %v of project %s, and has %v", labelstudio.ErrFormat,
			studioTypes[p.Labels.Kind], names(p.Labels.Labels), p.Name, names(c.Labels.Labels))
	}
	return nil
}
